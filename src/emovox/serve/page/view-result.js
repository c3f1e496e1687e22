// One recording: what it says in a sentence, over time, in sums, segment by segment, as files.

import { button, dialog, h, icon, save } from "./dom.js";
import { answer, Looks, UNSURE } from "./emotions.js";
import { FORMATS, write } from "./export.js";
import { labelsOf, sentence, summary, tracks } from "./result.js";
import { Player } from "./sound.js";
import { clock, count, percent, span, stem } from "./text.js";
import { Timeline } from "./timeline.js";

/** Rows of the table that are shown at a time. */
const PAGE = 100;

/** A letter on its colour; hatched where it is no answer. */
export function chip(look, abstained = false) {
  const chip = h(abstained ? "span.chip.unsure" : "span.chip", { ariaHidden: "true" }, abstained ? "?" : look.letter);
  chip.style.setProperty("--colour", look.colour);
  chip.style.setProperty("--on", look.ink);
  return chip;
}

/** A bar of so much of the whole; the part of it that is no answer is hatched. */
export function bar(share, look, unsure = 0) {
  const part = (kind, width) => {
    const fill = h(kind);
    fill.style.width = `${100 * width}%`;
    fill.style.setProperty("--colour", look.colour);
    return width > 0 && fill;
  };
  return h("span.meter", { ariaHidden: "true" }, part("span.fill", share - unsure), part("span.fill.unsure", unsure));
}

export class ResultView {
  /**
   * @param {object} entry Of the library.
   * @param {{result: object, peaks: Uint8Array[] | null}} details
   * @param {Blob | undefined} sound
   * @param {string[]} labels In the model's order.
   */
  constructor(entry, { result, peaks }, sound, labels) {
    Object.assign(this, { entry, result, sound });
    const known = labelsOf(result);
    this.labels = known.length && known.every((label) => labels.includes(label)) ? labels : known;
    this.looks = new Looks(this.labels);
    this.player = new Player();
    this.player.load(sound);
    this.player.addEventListener("change", () => this.#playing());
    this.player.addEventListener("unplayable", () => this.#mute("This browser cannot play this kind of file."));
    this.timeline = new Timeline({ onPick: (index) => this.play(index), onSeek: (time) => this.#seek(time) });
    this.timeline.onSelect = (index) => this.#choose(index);
    this.page = 0;
    this.element = h("article.result", this.#head(), this.#picture(), this.#sums(), this.#table(), this.#about());
    this.timeline.show(result, peaks, this.labels);
    if (!sound) this.#mute("The sound is not in this browser, so there is nothing to hear.");
  }

  close() {
    this.player.unload();
    this.timeline.close();
  }

  /** Play a segment; the same one again stops it. */
  play(index) {
    const one = this.result.predictions[index];
    if (this.player.playing && this.current === index) return this.player.pause();
    this.#choose(index);
    this.timeline.select(index);
    this.current = index;
    this.player.play(one.start, one.end);
  }

  #seek(time) {
    this.current = -1;
    if (this.player.playing) this.player.play(time);
    else this.player.seek(time);
    this.timeline.at(time);
  }

  #mute(why) {
    this.element?.classList.add("mute");
    this.whole.disabled = true;
    this.why.textContent = why;
  }

  #playing() {
    this.timeline.at(this.player.time);
    const sign = this.player.playing ? "Pause" : "Play all";
    if (this.whole.ariaLabel !== sign) {
      this.whole.replaceWith((this.whole = this.#wholeButton(this.player.playing)));
    }
    for (const row of this.body.rows) row.classList.toggle("now", this.player.playing && Number(row.dataset.index) === this.current);
  }

  #wholeButton(playing) {
    const toggle = () => {
      this.current = -1;
      if (this.player.playing) this.player.pause();
      else this.player.play(this.player.time >= this.result.duration - 0.05 ? 0 : this.player.time);
    };
    return button(playing ? "pause" : "play", playing ? "Pause" : "Play all", toggle, { quiet: true, kind: "main" });
  }

  #head() {
    const { result, entry } = this;
    this.whole = this.#wholeButton(false);
    this.why = h("span.quiet");
    const notes = [...new Set(result.predictions.flatMap((one) => one.notes ?? []))];
    const unread = [...new Map(result.predictions.flatMap((one) => one.unread ?? []).map((one) => [one.start, one])).values()];
    const facts = [span(result.duration), count(result.predictions.length, "segment"), result.predictions[0]?.model && `model ${result.predictions[0].model}`, new Date(entry.created).toLocaleString([], { dateStyle: "medium", timeStyle: "short" })];
    return h(
      "header",
      h("div.title", this.whole, h("div", h("h1", entry.name), h("p.quiet", facts.filter(Boolean).join(" · "))), this.#downloads()),
      h("p.said", sentence(result)),
      this.why,
      notes.map((note) => h("p.note", note.replace("--channels each judges them one by one", "under Options, set Channels to “Each by itself”"))),
      unread.length > 0 && h("p.note", `Not all of it could be read: ${unread.map((one) => `${clock(one.start)} to ${clock(one.end)} (${one.reason})`).join(", ")}.`),
    );
  }

  #downloads() {
    const choose = () => {
      const made = Object.entries(FORMATS).map(([name, form]) =>
        button("down", form.title, () => {
          save(new Blob([write(name, [this.result])], { type: form.type }), stem(this.entry.name) + form.ending);
          open.close();
        }, { data: { format: name } }),
      );
      const sound = this.sound && button("down", "The sound itself", () => (save(this.sound, this.entry.name), open.close()));
      const open = dialog("Download", h("p.quiet", "The same files as emovox predict writes."), h("div.choices", made, sound));
    };
    return button("down", "Download", choose, { kind: "right" });
  }

  #picture() {
    const keys = this.looks.labels.map((label) => h("li", chip(this.looks.get(label)), label));
    const unsure = this.result.predictions.some((one) => one.abstained) && h("li", chip(this.looks.get(""), true), `${UNSURE}, in the colour of the best guess`);
    return h("section.card", { ariaLabel: "Over time" }, this.timeline.element, h("ul.keys", keys, unsure));
  }

  #sums() {
    if (!this.result.predictions.length) return null;
    const rows = tracks(this.result);
    const all = summary(this.result.predictions);
    return h(
      "div.sums",
      h("section.card", h("h2", "Shares of time"), rows.length > 1 ? rows.map((row) => [h("h3", row.name), this.#shares(summary(row.parts.map((part) => part.one)))]) : this.#shares(all)),
      h("section.card", h("h2", "Strongest moments"), this.#moments(all)),
      h("section.card", h("h2", "Changes"), this.#changes(all)),
    );
  }

  #shares(all) {
    const rows = all.share.map(({ label, share, seconds, unsure }) =>
      h("tr", h("th", { scope: "row" }, chip(this.looks.get(label)), label), h("td.wide", bar(share, this.looks.get(label), unsure)), h("td.number", percent(share)), h("td.number.quiet", span(seconds))),
    );
    return [
      h("table.sum", h("thead.hidden", h("tr", ["Emotion", "Bar", "Share", "Time"].map((name) => h("th", { scope: "col" }, name)))), h("tbody", rows)),
      all.abstained > 0 && h("p.quiet.small", `Not sure enough for an answer, hatched: ${percent(all.abstained)}.`),
    ];
  }

  #moments(all) {
    return h(
      "ul.plain",
      all.strongest.map((one) => {
        const index = this.result.predictions.indexOf(one);
        return h("li", button("play", `Play ${answer(one)} at ${clock(one.start)}`, () => this.play(index), { quiet: true }), chip(this.looks.get(one.label), one.abstained), h("span", one.label), h("span.number.quiet", `${percent(one.confidence)} at ${clock(one.start)}`));
      }),
    );
  }

  #changes(all) {
    if (!all.transitions.length) return h("p.quiet", "There are none.");
    const pills = all.transitions.slice(0, 12).map(({ from, to, count: times }) =>
      h("li", chip(this.looks.get(from)), h("span.arrow", { ariaHidden: "true" }, "→"), chip(this.looks.get(to)), h("span", `${from} to ${to}`), h("span.number.quiet", `${times}×`)),
    );
    return h("ul.pills", pills);
  }

  #table() {
    if (!this.result.predictions.length) return null;
    const ones = this.result.predictions;
    this.columns = {
      whose: ones.some((one) => one.channel || one.speaker),
      words: ones.some((one) => one.transcript != null),
      dimensions: Object.keys(ones[0].dimensions ?? {}),
    };
    const heads = ["Time", this.columns.whose && "Who", "Emotion", "Confidence", "Then", ...this.columns.dimensions, this.columns.words && "Words"];
    this.body = h("tbody");
    this.pager = h("p.pager");
    const table = h("table.segments", h("caption.hidden", "Segments"), h("thead", h("tr", heads.filter(Boolean).map((name) => h("th", { scope: "col" }, name)))), this.body);
    this.#fill();
    return h("section.card", h("h2", "Segments"), h("div.scroll", { tabIndex: 0, role: "region", ariaLabel: "Table of segments" }, table), this.pager);
  }

  #fill() {
    const ones = this.result.predictions;
    const first = this.page * PAGE;
    this.body.replaceChildren(...ones.slice(first, first + PAGE).map((one, place) => this.#row(one, first + place)));
    const pages = Math.ceil(ones.length / PAGE);
    if (pages < 2) return;
    const turn = (by) => {
      this.page += by;
      this.#fill();
      this.pager.querySelectorAll("button")[by < 0 ? 0 : 1].focus();
    };
    this.pager.replaceChildren(
      button(null, "Earlier", () => turn(-1), { disabled: this.page === 0 }),
      h("span", `${first + 1} to ${Math.min(first + PAGE, ones.length)} of ${ones.length}`),
      button(null, "Later", () => turn(1), { disabled: this.page === pages - 1 }),
    );
  }

  #row(one, index) {
    const { whose, words, dimensions } = this.columns;
    const ranked = Object.entries(one.probabilities).sort((a, b) => b[1] - a[1]);
    const time = `${clock(one.start)} – ${clock(one.end)}`;
    const said = (one.why ?? []).map((line) => h("div.quiet.small", line));
    return h(
      "tr",
      { data: { index }, className: index === this.timeline.selected ? "chosen" : "" },
      h("td", h("button.time", { type: "button", ariaLabel: `Play ${time}`, onclick: () => this.play(index) }, icon("play"), time)),
      whose && h("td", [one.channel && `channel ${one.channel}`, one.speaker].filter(Boolean).join(", ")),
      h("td.emotion", one.label ? [chip(this.looks.get(one.label), one.abstained), answer(one)] : "", said),
      h("td.number", bar(one.confidence, this.looks.get(one.label), one.abstained ? one.confidence : 0), percent(one.confidence)),
      h("td.quiet", ranked[1] ? `${ranked[1][0]} ${percent(ranked[1][1])}` : ""),
      dimensions.map((name) => h("td.number", (one.dimensions?.[name] ?? 0).toFixed(2))),
      words && h("td.words", one.transcript ?? ""),
    );
  }

  #choose(index) {
    const page = Math.floor(index / PAGE);
    this.timeline.selected = index;
    if (page !== this.page) this.page = page;
    this.#fill();
  }

  #about() {
    return h("p.quiet.small", "A label is the emotion that the voice expresses, as actors were asked to express it. ", h("a", { href: "#/about" }, "What it means and what it must not be used for"));
  }
}

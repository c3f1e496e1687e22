// The side: add recordings, see how far they are, find one again.

import { announce, button, dialog, h, icon, save } from "./dom.js";
import { Looks, UNSURE } from "./emotions.js";
import { FORMATS, Names, write } from "./export.js";
import { fitted, hatch } from "./timeline.js";
import { bytes, count, percent, span } from "./text.js";
import { chip } from "./view-result.js";
import { zipped } from "./zip.js";

const ACCEPT = "audio/*,video/*,.wav,.mp3,.flac,.ogg,.opus,.m4a,.aac,.aiff,.webm,.mp4,.wma,.amr";

export class ListView {
  #rows = new Map();
  #due = false;

  /**
   * @param {import("./library.js").Library} library
   * @param {import("./engine.js").Capabilities} about
   * @param {import("./options.js").Options} options
   */
  constructor(library, about, options) {
    Object.assign(this, { library, about, options });
    this.looks = new Looks(about.labels);
    this.input = h("input", { type: "file", multiple: true, accept: ACCEPT, hidden: true, onchange: () => this.#chosen() });
    this.input.id = "files";
    this.search = h("input", { type: "search", placeholder: "Name or emotion", ariaLabel: "Find a recording", oninput: () => this.draw() });
    this.rows = h("ul.recordings");
    this.head = h("div.listhead");
    this.element = h("div.side", this.#add(), this.head, this.rows);
    library.addEventListener("change", ({ detail }) => this.#later(detail));
    this.draw();
  }

  #add() {
    return h(
      "section.add",
      { ariaLabel: "Add recordings" },
      h("div.two", button("add", "Choose files", () => this.input.click(), { kind: "main" }), this.about.live && h("a.button", { href: "#/record" }, icon("mic"), "Record")),
      this.input,
      h("p.quiet.small.drophint", "or drop them anywhere"),
      this.options.element,
    );
  }

  async #chosen() {
    await this.take([...this.input.files]);
    this.input.value = "";
  }

  /** Take files that were chosen or dropped. */
  async take(files) {
    const { bytes: most } = this.about.limits;
    const fit = files.filter((file) => file.size <= most && file.size > 0);
    if (fit.length < files.length) {
      const names = files.filter((file) => !fit.includes(file)).map((file) => h("li", file.size ? `${file.name}: ${bytes(file.size)}, and ${bytes(most)} is the limit of one upload` : `${file.name} is empty`));
      dialog("Not taken", h("ul", names), h("p.quiet", "A compressed copy (MP3, Opus, FLAC) is much smaller than WAV."));
    }
    const added = await this.library.add(fit, this.options.now());
    if (added.length) announce(`${count(added.length, "recording")} added.`);
    if (added.length === 1) location.hash = `#/r/${added[0].id}`;
    return added;
  }

  /** Mark the recording that is shown. */
  mark(id) {
    this.marked = id;
    for (const [one, row] of this.#rows) {
      if (one === id) row.firstChild.setAttribute("aria-current", "true");
      else row.firstChild.removeAttribute("aria-current");
    }
  }

  #later(id) {
    if (id && this.#rows.has(id) && this.library.get(id)) {
      const row = this.#rows.get(id);
      const now = this.#row(this.library.get(id));
      const focused = row.contains(document.activeElement) ? document.activeElement.className : null;
      row.replaceWith(now);
      this.#rows.set(id, now);
      if (focused !== null) [...now.querySelectorAll("a,button")].find((one) => one.className === focused)?.focus();
      this.#drawHead();
      return;
    }
    if (this.#due) return;
    this.#due = true;
    requestAnimationFrame(() => {
      this.#due = false;
      this.draw();
    });
  }

  #found() {
    const wanted = this.search.value.trim().toLowerCase();
    const all = this.library.list();
    if (!wanted) return all;
    return all.filter((one) => one.name.toLowerCase().includes(wanted) || (one.brief?.labels ?? []).some((label) => (label || UNSURE).includes(wanted)));
  }

  draw() {
    const found = this.#found();
    const place = [...this.rows.children].findIndex((row) => row.contains(document.activeElement));
    this.#rows = new Map(found.map((one) => [one.id, this.#row(one)]));
    this.rows.replaceChildren(...this.#rows.values());
    if (!found.length && this.library.entries.size) this.rows.replaceChildren(h("li.quiet.pad", "Nothing is called that."));
    // Who has deleted one by keyboard is at the next.
    if (place >= 0) (this.rows.children[Math.min(place, this.rows.children.length - 1)]?.querySelector("a") ?? this.search).focus();
    this.#drawHead();
  }

  #drawHead() {
    const all = this.library.list();
    this.head.hidden = !all.length;
    document.body.classList.toggle("filled", all.length > 0);
    const open = all.filter((one) => one.state === "waiting" || one.state === "working").length;
    const text = open ? `${all.length - open} of ${count(all.length, "recording")} done` : count(all.length, "recording");
    if (!this.status) {
      this.status = h("h2");
      this.bar = h("progress", { ariaLabel: "All recordings", max: 1 });
      this.head.append(
        h("div.two", this.status, h("span.tools", button("down", "Download all", () => this.#download(), { quiet: true }), button("trash", "Delete all", () => this.#delete(), { quiet: true }))),
        this.bar,
        this.search,
      );
    }
    if (this.status.textContent !== text) this.status.textContent = text;
    if (this.open && !open) announce("All recordings are done.");
    this.open = open;
    this.bar.hidden = !open || all.length < 2;
    this.bar.max = all.length;
    this.bar.value = all.length - open;
  }

  #row(one) {
    const open = one.state === "waiting" || one.state === "working";
    const again = one.state === "failed" || one.state === "cancelled";
    const act = open
      ? button("close", `Cancel ${one.name}`, () => this.library.cancel(one.id), { quiet: true, kind: "act" })
      : button("trash", `Delete ${one.name}`, () => this.library.remove(one.id), { quiet: true, kind: "act" });
    const retry = again && !one.elsewhere && button("again", `Try ${one.name} again`, () => this.library.again(one.id), { quiet: true, kind: "retry" });
    const link = h("a.recording", { href: `#/r/${one.id}` }, h("span.name", one.name), this.#state(one));
    if (one.id === this.marked) link.setAttribute("aria-current", "true");
    return h("li", { data: { state: one.state, id: one.id } }, link, retry, act);
  }

  #state(one) {
    const length = Number.isFinite(one.duration) ? span(one.duration) : one.size ? bytes(one.size) : "";
    if (one.state === "done") return [this.#strip(one.brief), h("span.small.quiet.told", this.#told(one.brief), h("span", length))];
    if (one.state === "failed") return h("span.small.bad.told", h("span", one.error?.message ?? "It failed."));
    if (one.state === "cancelled") return h("span.small.quiet.told", h("span", "Cancelled"), h("span", length));
    const { state = "waiting", share } = one.progress ?? {};
    const words = { waiting: "Waiting", loading: "Fetching the model", sending: "Sending", queued: "Waiting for the server", running: "Listening" }[state];
    const text = share && state !== "queued" ? `${words} ${percent(share)}` : words;
    const bar = h("progress", { ariaLabel: `${one.name}: ${words}`, max: 1 });
    if (state === "waiting") bar.value = 0;
    else if (share !== undefined) bar.value = share;
    return [bar, h("span.small.quiet.told", h("span", text), h("span", length))];
  }

  #told(brief) {
    if (brief.label === null) return h("span", "Nobody speaks");
    const text = brief.label === "" ? UNSURE : brief.label;
    return h("span", chip(this.looks.get(brief.label), brief.label === ""), `${text} ${brief.segments > 1 ? percent(brief.share) : ""}`);
  }

  #strip(brief) {
    const canvas = h("canvas.strip", { ariaHidden: "true" });
    const [wide, tall] = [brief.slots.length * 6, 8];
    const pen = fitted(canvas, wide, tall);
    canvas.style.width = "100%";
    brief.slots.forEach((slot, place) => {
      if (!slot) return;
      const { colour } = this.looks.get(slot[0]);
      if (slot[1]) hatch(pen, place * 6, 0, 6, tall, colour);
      else {
        pen.fillStyle = colour;
        pen.fillRect(place * 6, 0, 6, tall);
      }
    });
    return canvas;
  }

  #download() {
    const done = this.#found().filter((one) => one.state === "done");
    if (!done.length) return dialog("Download all", h("p", "There is nothing yet."));
    const whole = async (format, archive) => {
      open.close();
      announce("The download is being made.");
      const results = [];
      for (const one of done.toReversed()) results.push((await this.library.details(one.id)).result);
      const form = FORMATS[format];
      if (!archive) return save(new Blob([write(format, results)], { type: form.type }), `emovox${form.ending}`);
      const names = new Names();
      const files = done.toReversed().map((one, place) => [names.get(one.name) + form.ending, write(format, [results[place]])]);
      save(await zipped(files), `emovox-${format}.zip`);
    };
    const made = Object.entries(FORMATS).map(([name, form]) => button("down", form.title, () => whole(name, true), { data: { format: name } }));
    const open = dialog(
      "Download all",
      h("p", `${count(done.length, "result")}${this.search.value ? " that were found" : ""}, a file for each, in a ZIP:`),
      h("div.choices", made),
      h("p", "Or all in one table:"),
      h("div.choices", button("down", "One CSV file", () => whole("csv", false), { data: { format: "csv-one" } })),
    );
    return open;
  }

  #delete() {
    const found = this.#found();
    const open = dialog(
      "Delete",
      h("p", `${count(found.length, "recording")}${this.search.value ? " that were found" : ""}: sound and results, here and where they were judged. This cannot be undone.`),
      h("div.actions", button(null, "Keep them", () => open.close()), button("trash", "Delete", async () => {
        open.close();
        for (const one of found) await this.library.remove(one.id);
        announce(`${count(found.length, "recording")} deleted.`);
        location.hash = "#/";
      }, { kind: "danger" })),
    );
  }
}

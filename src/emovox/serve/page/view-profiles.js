// Voices and settings: what a speaker or a room is ordinarily like, in three steps.

import { announce, button, dialog, h } from "./dom.js";
import { Recorder } from "./recorder.js";
import { bytes, count, span } from "./text.js";
import { Meter } from "./view-record.js";

const KINDS = {
  speakers: {
    title: "Voices",
    one: "voice",
    about: "A voice that is always high, hoarse or slow sounds emotional to a model that does not know it. Let it hear some calm speech, and it judges by the distance from that.",
    what: ["5 to 60 seconds of ordinary, calm speech", "of that person, and nobody else", "with the microphone of later use"],
    example: "anna",
    recordable: true,
  },
  settings: {
    title: "Settings",
    one: "setting",
    about: "Another microphone, room, telephone line or language shifts every answer. Let the model hear recordings of it as they come, and it takes that into account.",
    what: ["10 to 50 recordings, at least 3", "of several people, in all moods: nothing is selected", "no labels are needed"],
    example: "office",
    recordable: false,
  },
};
const NAME = /^[\p{L}\p{Nd}][\p{L}\p{M}\p{Nd}_-]{0,63}$/u;

export class ProfilesView {
  /**
   * @param {import("./engine.js").Engine} engine
   * @param {import("./engine.js").Capabilities} about
   * @param {(kind: string, names: string[]) => void} onNames Told which there are.
   */
  constructor(engine, about, onNames) {
    Object.assign(this, { engine, about, onNames });
    this.lists = new Map(about.profiles.map((kind) => [kind, h("ul.plain.profiles")]));
    this.element = h(
      "article.profilespage",
      h("h1", "Voices and settings"),
      h("p.quiet", "Numbers are kept, no sound: nobody can hear a voice from them."),
      about.profiles.map((kind) =>
        h("section.card", h("div.two", h("h2", KINDS[kind].title), button("add", `Add a ${KINDS[kind].one}`, () => new Wizard(this, kind), { kind: "main" })), h("p", KINDS[kind].about), this.lists.get(kind)),
      ),
    );
    for (const kind of about.profiles) this.load(kind);
  }

  async load(kind) {
    const list = this.lists.get(kind);
    let found;
    try {
      found = await this.engine.profiles(kind);
    } catch (error) {
      list.replaceChildren(h("li.bad", error.message));
      return;
    }
    this.onNames(kind, found.filter((one) => !one.problem).map((one) => one.name));
    const rows = found.map((one) =>
      h("li", h("strong", one.name), h("span.quiet", one.problem ? "cannot be read" : `${count(one.clips ?? one.heard ?? 0, "recording")}, ${span(one.seconds ?? 0)} of ${one.neutral ? "neutral " : ""}speech`),
        button("trash", `Delete ${one.name}`, () => this.remove(kind, one.name), { quiet: true })),
    );
    list.replaceChildren(...(rows.length ? rows : [h("li.quiet", "There are none yet.")]));
  }

  async remove(kind, name) {
    await this.engine.unenrol(kind, name).catch(() => {});
    announce(`${name} deleted.`);
    await this.load(kind);
  }

  close() {}
}

/** Name it, let it be heard, check and keep. */
class Wizard {
  files = [];
  name = "";
  neutral = false;
  step = 0;

  constructor(page, kind) {
    Object.assign(this, { page, kind, about: KINDS[kind] });
    this.steps = h("ol.steps", ["Name", "Sound", "Keep"].map((text) => h("li", text)));
    this.body = h("div.step");
    this.box = dialog(`Add a ${this.about.one}`, this.steps, this.body);
    this.box.addEventListener("close", () => this.recorder?.stop());
    this.go(0);
  }

  go(step) {
    this.step = step;
    [...this.steps.children].forEach((one, place) => (place === step ? one.setAttribute("aria-current", "step") : one.removeAttribute("aria-current")));
    this.body.replaceChildren(...[this.#naming, this.#hearing, this.#keeping][step].call(this).filter(Boolean));
    this.body.querySelector("[autofocus],button.main")?.focus();
  }

  #naming() {
    const wrong = h("p.bad.small", { role: "alert" });
    const input = h("input", { value: this.name, autofocus: true, autocomplete: "off", placeholder: this.about.example, required: true });
    const next = (event) => {
      event.preventDefault();
      this.name = input.value.trim().normalize("NFC");
      if (NAME.test(this.name)) this.go(1);
      else wrong.textContent = "Letters and digits of any script, - and _ make a name; it begins with a letter or a digit.";
    };
    return [h("form", { onsubmit: next }, h("label", h("span", `What is the ${this.about.one} called?`), input), wrong, h("div.actions", h("button.main", { type: "submit" }, "Next")))];
  }

  #hearing() {
    const list = h("ul.plain.heard");
    const next = button(null, "Next", () => this.go(2), { kind: "main" });
    const draw = () => {
      list.replaceChildren(...this.files.map((one, place) => h("li", h("span", one.name), h("span.quiet", bytes(one.blob.size)), button("trash", `Leave out ${one.name}`, () => (this.files.splice(place, 1), draw()), { quiet: true }))));
      next.disabled = !this.files.length;
    };
    const input = h("input", { type: "file", multiple: true, accept: "audio/*", hidden: true, onchange: () => {
      for (const file of input.files) this.files.push({ name: file.name, blob: file });
      draw();
    } });
    draw();
    const neutral = h("input", { type: "checkbox", checked: this.neutral, onchange: () => (this.neutral = neutral.checked) });
    return [
      h("ul.what", this.about.what.map((text) => h("li", text))),
      h("div.buttons", button("add", "Choose files", () => input.click()), this.about.recordable && this.#recording(draw)),
      input,
      this.meter?.element,
      this.meter?.told,
      list,
      this.kind === "speakers" && h("label.check", neutral, "All of it is neutral: read or said without emotion. It is believed at once, so leave this out where you are not sure."),
      h("div.actions", button(null, "Back", () => this.go(0)), next),
    ];
  }

  #recording(draw) {
    this.meter = new Meter();
    this.meter.element.hidden = this.meter.told.hidden = true;
    const toggle = async () => {
      if (this.recorder) {
        const seconds = this.recorder.seconds;
        const blob = await this.recorder.stop();
        this.recorder = null;
        if (blob) this.files.push({ name: `Recording of ${span(seconds)}.wav`, blob });
        this.meter.element.hidden = this.meter.told.hidden = true;
        one.lastChild.textContent = "Record";
        draw();
        return;
      }
      const recorder = new Recorder((_, level) => {
        this.meter.show(level);
        one.lastChild.textContent = `Stop, ${span(recorder.seconds)}`;
      });
      try {
        await recorder.start();
        this.recorder = recorder;
        this.meter.element.hidden = this.meter.told.hidden = false;
      } catch (error) {
        this.meter.told.hidden = false;
        this.meter.told.textContent = error.message;
      }
    };
    const one = button("mic", "Record", toggle);
    return one;
  }

  #keeping() {
    const wrong = h("p.bad.small", { role: "alert" });
    const agree = h("input", { type: "checkbox", onchange: () => (keep.disabled = !agree.checked) });
    const keep = button(null, "Keep", async () => {
      keep.disabled = true;
      wrong.textContent = "";
      keep.textContent = "One moment ...";
      try {
        await this.page.engine.enrol(this.kind, this.name, this.files, { neutral: this.neutral });
        announce(`${this.name} is known now.`);
        this.box.close();
        await this.page.load(this.kind);
      } catch (error) {
        wrong.textContent = error.message;
        keep.textContent = "Keep";
        keep.disabled = false;
      }
    }, { kind: "main", disabled: true });
    const who = this.kind === "speakers" ? "This person has" : "These people have";
    const sound = `${count(this.files.length, "recording")}${this.neutral ? ", all of it neutral" : ""}`;
    return [
      h("dl", h("dt", "Name"), h("dd", this.name), h("dt", "Sound"), h("dd", sound)),
      h("p.quiet.small", "A profile of that name is replaced. The sound is forgotten as soon as it was heard."),
      h("label.check", agree, `${who} agreed to it.`),
      wrong,
      h("div.actions", button(null, "Back", () => this.go(1)), keep),
    ];
  }
}

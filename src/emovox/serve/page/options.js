// What is asked about a recording: the few choices that people make, remembered in this browser.

import { h } from "./dom.js";

const PLACE = "emovox-options";

export class Options extends EventTarget {
  /** @param {import("./engine.js").Capabilities} about */
  constructor(about) {
    super();
    this.about = about;
    this.profiles = { speakers: [], settings: [] };
    try {
      this.chosen = JSON.parse(localStorage.getItem(PLACE)) ?? {};
    } catch {
      this.chosen = {};
    }
    this.element = h("details.options", h("summary", "Options"), (this.body = h("div.fields")));
    this.draw();
  }

  /** Learn which profiles there are. */
  know(kind, names) {
    this.profiles[kind] = names;
    this.draw();
  }

  /** What is asked now; what is not chosen is left to the engine. */
  now({ live = false } = {}) {
    const takes = (name) => this.about.options.includes(name) && !(live && ["channels", "merge", "text", "language", "speakers"].includes(name));
    const found = Object.entries(this.chosen).filter(([name, value]) => takes(name) && value !== "" && value !== false);
    return Object.fromEntries(found.filter(([name, value]) => this.#possible(name, value)));
  }

  #possible(name, value) {
    if (name === "speakers") return this.chosen.mode !== "interval"; // speakers are told apart by utterances
    if (name === "speaker") return this.profiles.speakers.includes(value);
    if (name === "setting") return value === "auto" || this.profiles.settings.includes(value);
    if (name === "model") return this.about.models.includes(value);
    return true;
  }

  draw() {
    const { models } = this.about;
    const named = (names) => names.map((name) => [name, name]);
    this.body.replaceChildren(
      ...[
        this.#select("mode", "Cut into", [["", "Utterances, between pauses"], ["interval", "Equal intervals of a second"]]),
        this.#select("channels", "Channels", [["", "All together"], ["each", "Each by itself"]]),
        this.#select("speakers", "Speakers", [["", "Not told apart"], ["auto", "Tell apart who speaks"]]),
        this.profiles.speakers.length > 0 && this.#select("speaker", "Voice", [["", "Unknown"], ...named(this.profiles.speakers)]),
        this.#select("setting", "Setting", [["", "Unknown"], ["auto", "This recording is its own"], ...named(this.profiles.settings)]),
        this.#select("threshold", "Where the model is not sure", [["", "It says “don't know”"], ["0", "It guesses all the same"]]),
        models.length > 1 && this.#select("model", "Model", [["", "The usual one"], ...named(models)]),
        this.about.words && this.#select("text", "Words", [["", "Not recognised"], ["true", "Recognise them, too"]]),
      ].filter(Boolean),
    );
  }

  #select(name, title, choices) {
    if (!this.about.options.includes(name)) return null;
    const change = ({ target }) => {
      const value = target.value;
      this.chosen[name] = value === "true" ? true : name === "threshold" && value ? Number(value) : value;
      localStorage.setItem(PLACE, JSON.stringify(this.chosen));
      this.dispatchEvent(new Event("change"));
    };
    const now = String(this.chosen[name] ?? "");
    const options = choices.map(([value, text]) => h("option", { value, selected: value === now }, text));
    return h("label", h("span", title), h("select", { name, onchange: change }, options));
  }
}

// Puts the page together: what is where, and who knows of whom.

import { announce, button, dialog, h, icon } from "./dom.js";
import { Library } from "./library.js";
import { Options } from "./options.js";
import { Store } from "./store.js";
import { bytes, percent } from "./text.js";
import { AboutView } from "./view-about.js";
import { ListView } from "./view-list.js";
import { ProfilesView } from "./view-profiles.js";
import { RecordView } from "./view-record.js";
import { ResultView } from "./view-result.js";

const THEME = "emovox-theme";
const KEY_PROBLEMS = new Set(["key_missing", "key_invalid"]);

/** @param {import("./engine.js").Engine} engine */
export async function start(engine) {
  theme(localStorage.getItem(THEME));
  const tools = document.querySelector("header.top");
  tools.append(h("span.tools", themeButton()));
  for (;;) {
    try {
      await new App(engine, await engine.capabilities()).run();
      return;
    } catch (error) {
      if (KEY_PROBLEMS.has(error.code) && engine.authorise) await askKey(engine, error);
      else await failed(error);
    }
  }
}

/** Tell why nothing works, and wait until the user wants to try again. */
function failed(error) {
  return new Promise((resolve) => {
    show(h("section.card.fail", { role: "alert" }, h("h1", error.code === "offline" ? "The server does not answer" : "The page cannot start"), h("p", error.message), button("again", "Try again", resolve, { kind: "main" })));
  });
}

function show(element) {
  document.getElementById("main").replaceChildren(element);
}

/** Ask for the key of the server; resolves when one was given. */
function askKey(engine, error) {
  return new Promise((resolve) => {
    const input = h("input", { type: "password", autocomplete: "off", required: true, autofocus: true, id: "key" });
    const keep = h("input", { type: "checkbox" });
    const done = (event) => {
      event.preventDefault();
      engine.authorise(input.value.trim(), keep.checked);
      resolve();
    };
    show(
      h("section.card.fail",
        h("h1", "This server asks for a key"),
        error.code === "key_invalid" && h("p.bad", { role: "alert" }, error.message),
        h("p.quiet", "Whoever runs it makes one with ", h("code", "emovox keys create"), "."),
        h("form", { onsubmit: done }, h("label", h("span", "Key"), input), h("label.check", keep, "Remember it in this browser"), h("div.actions", h("button.main", { type: "submit" }, "Enter")))),
    );
    input.focus();
  });
}

function theme(name) {
  if (name) document.documentElement.dataset.theme = name;
  else delete document.documentElement.dataset.theme;
  dispatchEvent(new Event("themechange"));
}

function themeButton() {
  const dark = () => (document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const made = () =>
    button(dark() ? "sun" : "moon", dark() ? "Light colours" : "Dark colours", () => {
      const next = dark() ? "light" : "dark";
      localStorage.setItem(THEME, next);
      theme(next);
      const now = made();
      document.activeElement?.replaceWith(now);
      now.focus();
    }, { quiet: true });
  return made();
}

class App {
  #view = null;

  constructor(engine, about) {
    Object.assign(this, { engine, about });
  }

  async run() {
    this.store = await Store.open();
    this.library = new Library(this.engine, this.store, this.about.parallel);
    this.options = new Options(this.about);
    this.list = new ListView(this.library, this.about, this.options);
    document.getElementById("side").replaceChildren(this.list.element);
    const link = document.querySelector('nav a[href="#/profiles"]');
    link.hidden = !this.about.profiles.length;
    this.#keyButton();
    this.#drops();
    addEventListener("hashchange", () => this.route());
    addEventListener("keydown", (event) => {
      if (event.key !== "/" || /INPUT|SELECT|TEXTAREA/.test(document.activeElement?.tagName)) return;
      event.preventDefault();
      this.list.search.focus();
    });
    this.library.addEventListener("change", ({ detail }) => {
      if (detail && detail === this.shown) this.#showEntry(detail);
    });
    await this.library.load();
    this.route();
    this.library.recall();
    for (const kind of this.about.profiles) {
      this.engine.profiles(kind).then((found) => this.options.know(kind, found.filter((one) => !one.problem).map((one) => one.name)), () => {});
    }
  }

  #keyButton() {
    if (!this.engine.authorise || !this.engine.authorised()) return;
    const forget = () => {
      const open = dialog("Key", h("p", "This page uses a key for the server."), h("div.actions", button(null, "Forget the key", () => {
        this.engine.authorise("", false);
        location.reload();
      }, { kind: "danger" }), button(null, "Keep it", () => open.close())));
    };
    document.querySelector("header.top .tools").prepend(button("key", "Key of the server", forget, { quiet: true }));
  }

  #drops() {
    let depth = 0;
    const mark = () => document.body.classList.toggle("dropping", depth > 0);
    const holds = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
    addEventListener("dragenter", (event) => holds(event) && (depth++, mark()));
    addEventListener("dragleave", (event) => holds(event) && (depth--, mark()));
    addEventListener("dragover", (event) => holds(event) && event.preventDefault());
    addEventListener("drop", (event) => {
      if (!holds(event)) return;
      event.preventDefault();
      depth = 0;
      mark();
      this.list.take([...event.dataTransfer.files]);
    });
  }

  route() {
    const [, page = "", id = ""] = location.hash.split("/");
    for (const link of document.querySelectorAll("header nav a")) {
      const own = link.getAttribute("href").split("/")[1];
      const here = own === page || (own === "" && ["r", "record"].includes(page));
      if (here) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    this.shown = page === "r" ? id : null;
    document.body.dataset.view = page || "home";
    this.list.mark(this.shown);
    if (page === "r") return this.#showEntry(id);
    const views = {
      record: () => new RecordView(this.engine, this.library, this.about, this.options),
      profiles: () => new ProfilesView(this.engine, this.about, (kind, names) => this.options.know(kind, names)),
      about: () => new AboutView(this.about, this.store.lasting),
    };
    return this.#open((views[page] ?? (() => this.#welcome()))());
  }

  #open(view) {
    this.#view?.close();
    this.#view = view;
    show(view.element);
    document.title = `${view.element.querySelector("h1")?.textContent ?? "emovox"} · emovox`;
    if (document.body.dataset.view !== "home") scrollTo(0, 0);
  }

  async #showEntry(id) {
    const entry = this.library.get(id);
    if (!entry) return this.#open({ element: h("section.card.fail", h("h1", "There is no such recording"), h("p.quiet", "It was deleted, or is in another browser."), h("a", { href: "#/" }, "All recordings")), close() {} });
    if (entry.state === "done") {
      if (this.#view instanceof ResultView && this.#view.entry.id === id) return;
      const [details, sound] = [await this.library.details(id), await this.library.sound(id)];
      if (this.shown !== id || !details) return;
      if (this.#view?.waiting === id) announce(`${entry.name} is done.`);
      this.#open(new ResultView(entry, details, sound, this.about.labels));
    } else this.#showOpen(entry);
  }

  /** Show a recording that has no result. */
  #showOpen(entry) {
    if (this.#view?.waiting === entry.id && this.#view.state === entry.state) {
      this.#view.update(entry);
      return;
    }
    this.#open(new OpenView(entry, this.library));
  }

  #welcome() {
    const samples = this.about.samples.map((one) =>
      h("li", button("play", one.name, () => this.#try(one), { kind: "sample" }), h("span.quiet", one.about)),
    );
    const element = h(
      "article.welcome",
      h("h1", "What emotion does a voice express, and when?"),
      h("p.lead", "Drop recordings anywhere on this page, or record yourself. You get every stretch of speech with its emotion, how sure the model is, and where it does not know."),
      h("div.dropzone", h("strong", "Drop recordings here"), h("p.quiet", limit(this.about.limits.bytes)), h("div.buttons", button("add", "Choose files", () => this.list.input.click(), { kind: "main" }), this.about.live && h("a.button", { href: "#/record" }, icon("mic"), "Record"))),
      h("section", h("h2", "Or try one of these"), h("ul.plain.samples", samples)),
      h("p.quiet", this.about.place === "server" ? "Recordings are judged by this server alone, which forgets their sound at once." : "Recordings do not leave this browser.", " ", h("a", { href: "#/about" }, "About the model, and what it must not be used for")),
    );
    return { element, close() {} };
  }

  async #try(sample) {
    const answer = await fetch(sample.address);
    const name = sample.address.split("/").pop();
    const file = new File([await answer.blob()], name, { type: "audio/flac" });
    const channels = name.startsWith("conversation") && this.about.options.includes("channels") ? { channels: "each" } : {};
    const [entry] = await this.library.add([file], { ...this.options.now(), ...channels });
    location.hash = `#/r/${entry.id}`;
  }
}

const limit = (most) => `WAV, MP3, FLAC, Ogg, M4A and others, as many as you like${Number.isFinite(most) ? `, up to ${bytes(most)} each` : ""}`;

/** A recording that is worked on, has failed, or was cancelled. */
class OpenView {
  constructor(entry, library) {
    this.waiting = entry.id;
    this.state = entry.state;
    this.bar = h("progress", { max: 1, ariaLabel: "Progress" });
    this.words = h("p.quiet", { role: "status" });
    const again = !entry.elsewhere && button("again", "Try again", () => library.again(entry.id), { kind: "main" });
    const gone = button("trash", "Delete", () => library.remove(entry.id).then(() => (location.hash = "#/")));
    const inner = {
      failed: () => [h("p.bad", { role: "alert" }, entry.error?.message), h("div.buttons", again, gone)],
      cancelled: () => [h("p.quiet", "It was cancelled."), h("div.buttons", again, gone)],
    }[entry.state];
    this.element = h("article.result", h("header", h("h1", entry.name)), inner ? h("section.card.fail", inner()) : h("section.card.skeleton", this.bar, this.words, h("div.ghost.tall"), h("div.ghost"), h("div.ghost.short")));
    this.update(entry);
  }

  update({ progress = {} }) {
    const { state = "waiting", share } = progress;
    const words = { waiting: "Waiting", loading: "Fetching the model", sending: "Sending", queued: "Waiting for the server", running: "Listening" }[state];
    const text = share && state !== "queued" ? `${words}: ${percent(share)}` : `${words} ...`;
    if (this.words.textContent !== text) this.words.textContent = text;
    if (share === undefined) this.bar.removeAttribute("value");
    else this.bar.value = share;
  }

  close() {}
}

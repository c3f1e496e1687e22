// Recording: the level, and what is heard while somebody speaks.

import { announce, button, h } from "./dom.js";
import { answer, Looks } from "./emotions.js";
import { Recorder } from "./recorder.js";
import { clock, percent } from "./text.js";
import { Timeline } from "./timeline.js";
import { bar, chip } from "./view-result.js";

/** Points a second of the waveform while recording. */
const DENSITY = 50;
/** Milliseconds from picture to picture at least, and the share of the time that drawing may take: hearing goes first. */
const EVERY = 80;
const DRAWING = 0.2;

/** A meter from -60 dB to full scale, with the loudest of the last second. */
export class Meter {
  #held = 0;
  #since = 0;

  constructor() {
    this.fill = h("span.fill");
    this.mark = h("span.mark");
    this.element = h("div.level", { role: "meter", ariaLabel: "Level", ariaValueMin: "-60", ariaValueMax: "0", ariaValueNow: "-60" }, this.fill, this.mark);
    this.told = h("p.small.quiet", "Speak as you do.");
  }

  show({ peak, rms }, now = performance.now()) {
    const share = (value) => Math.max(0, Math.min(1, (20 * Math.log10(value + 1e-6) + 60) / 60));
    if (peak >= this.#held || now - this.#since > 1000) [this.#held, this.#since] = [peak, now];
    this.fill.style.transform = `scaleX(${share(rms)})`;
    this.mark.style.left = `${100 * share(this.#held)}%`;
    this.element.classList.toggle("loud", this.#held > 0.99);
    this.element.setAttribute("aria-valuenow", String(Math.round(60 * share(rms) - 60)));
    const said = this.#held > 0.99 ? "Too loud: move away from the microphone." : this.#held < 0.02 ? "Very quiet: come closer to the microphone." : "The level is good.";
    if (this.told.textContent !== said) this.told.textContent = said;
  }
}

export class RecordView {
  #peaks = new Uint8Array(4096);
  #points = 0;
  #level = { peak: 0, rms: 0 };
  #next = 0;
  #block = { most: 0, frames: 0 };
  #parts = [];
  #pending = [];
  #broken = null;

  /**
   * @param {import("./engine.js").Engine} engine
   * @param {import("./library.js").Library} library
   * @param {import("./engine.js").Capabilities} about
   * @param {import("./options.js").Options} options
   */
  constructor(engine, library, about, options) {
    Object.assign(this, { engine, library, about, options });
    this.looks = new Looks(about.labels);
    this.meter = new Meter();
    this.time = h("p.clock", { role: "timer" }, "0:00.0");
    this.now = h("div.now", h("p.quiet", "The answer comes here while you speak."));
    this.status = h("p.quiet", { role: "status" });
    this.begin = button("mic", "Record", () => this.start(), { kind: "main big" });
    this.end = button("stop", "Stop and keep", () => this.stop(), { kind: "danger big", hidden: true });
    this.drop = button("trash", "Discard", () => this.discard(), { hidden: true });
    this.timeline = new Timeline({ live: true });
    this.timeline.element.hidden = true;
    this.leaving = (event) => event.preventDefault();
    this.element = h(
      "article.record",
      h("h1", "Record"),
      h("p.quiet", about.place === "server" ? "The sound is judged by the server while you speak, and kept in this browser until you delete it." : "Nothing leaves this browser."),
      h("section.card", h("div.two", h("div.buttons", this.begin, this.end, this.drop), this.time), this.meter.element, this.meter.told, this.status),
      h("section.card", h("h2", "Now"), this.now, this.timeline.element),
    );
  }

  async start() {
    this.begin.disabled = true;
    this.status.textContent = "";
    this.recorder = new Recorder((samples, level) => this.#hear(samples, level));
    try {
      await this.recorder.start();
      addEventListener("beforeunload", this.leaving);
      this.begin.hidden = true;
      this.end.hidden = this.drop.hidden = false;
      this.timeline.element.hidden = false;
      this.end.focus();
      announce("Recording.");
      await this.#connect();
    } catch (error) {
      if (this.recorder.frames || !this.begin.hidden === false) this.#lose(error);
      else this.status.textContent = error.message;
      this.begin.disabled = false;
    }
  }

  async #connect() {
    try {
      this.live = await this.engine.stream({ ...this.options.now({ live: true }), estimates: true }, this.recorder.rate, (event) => this.#told(event));
      for (const samples of this.#pending) this.live.push(samples);
      this.#pending = [];
    } catch (error) {
      this.#lose(error);
    }
  }

  #lose(error) {
    this.#broken = error;
    this.#pending = [];
    this.status.textContent = `${error.message} The recording goes on, and is judged when you stop.`;
  }

  #hear(samples, level) {
    if (this.live) this.live.push(samples);
    else if (!this.#broken) this.#pending.push(samples);
    this.#picture(samples);
    const now = performance.now();
    this.#level = { peak: Math.max(this.#level.peak, level.peak), rms: Math.max(this.#level.rms, level.rms) };
    if (now < this.#next) return;
    this.meter.show(this.#level, now);
    this.#level = { peak: 0, rms: 0 };
    this.time.textContent = clock(this.recorder.seconds);
    const latest = this.#estimate && this.#estimate.end > (this.#parts.at(-1)?.end ?? 0) ? [...this.#parts, this.#estimate] : this.#parts;
    this.timeline.show({ duration: this.recorder.seconds, predictions: latest }, [this.#peaks.subarray(0, this.#points)], this.about.labels);
    this.#next = now + Math.max(EVERY, (performance.now() - now) / DRAWING);
  }

  #estimate = null;

  #picture(samples) {
    const most = this.recorder.rate / DENSITY;
    for (const one of samples) {
      this.#block.most = Math.max(this.#block.most, Math.abs(one));
      if (++this.#block.frames >= most) {
        if (this.#points === this.#peaks.length) {
          const more = new Uint8Array(2 * this.#peaks.length);
          more.set(this.#peaks);
          this.#peaks = more;
        }
        this.#peaks[this.#points++] = this.#block.most >> 7;
        this.#block = { most: 0, frames: 0 };
      }
    }
  }

  #told(event) {
    if (event.type === "error") {
      if (!event.retryable) this.#lose({ message: event.detail });
      return;
    }
    if (event.type === "utterance.start") this.status.textContent = "Somebody speaks.";
    if (event.type === "utterance.end") this.status.textContent = "";
    if (!event.prediction) return;
    if (event.type === "result") {
      this.#parts.push(event.prediction);
      this.#estimate = null;
      announce(`${answer(event.prediction)} ${percent(event.prediction.confidence)}`);
    } else this.#estimate = event.prediction;
    this.#show(event.prediction);
  }

  #show(one) {
    const ranked = Object.entries(one.probabilities).sort((a, b) => b[1] - a[1]).slice(0, 4);
    this.now.replaceChildren(
      h("p.answer", chip(this.looks.get(one.label), one.abstained), answer(one)),
      h("ul.plain.bars", ranked.map(([label, share]) => h("li", h("span", label), bar(share, this.looks.get(label)), h("span.number", percent(share))))),
    );
  }

  /** Stop, and keep what was recorded. */
  async stop() {
    if (!this.recorder || this.recorder.stopped) return;
    this.end.disabled = this.drop.disabled = true;
    const seconds = this.recorder.seconds;
    const sound = await this.recorder.stop();
    removeEventListener("beforeunload", this.leaving);
    if (!sound) return this.discard();
    const name = `Recording ${new Date().toLocaleString("sv").replaceAll(":", ".")}.wav`;
    const file = new File([sound], name, { type: "audio/wav" });
    const options = this.options.now();
    this.status.textContent = "The last of it is judged.";
    let entry = null;
    // What only a whole recording has, such as speakers told apart, is asked when it is whole.
    const whole = Object.keys(options).some((name) => !(name in this.options.now({ live: true })));
    if (whole) this.live?.close().catch(() => {});
    else if (this.live && !this.#broken) {
      try {
        await this.live.close();
        const predictions = this.#parts.map((one) => ({ ...one, file: name }));
        entry = await this.library.addJudged(name, file, { file: name, duration: seconds, predictions }, options);
      } catch {
        entry = null; // it is judged as a file
      }
    }
    entry ??= (await this.library.add([file], options))[0];
    announce("Recorded.");
    location.hash = `#/r/${entry.id}`;
  }

  async discard() {
    removeEventListener("beforeunload", this.leaving);
    await this.recorder?.stop();
    this.live?.close().catch(() => {});
    location.hash = "#/";
  }

  close() {
    this.timeline.close();
    if (this.recorder && !this.recorder.stopped && this.recorder.frames) this.stop();
  }
}

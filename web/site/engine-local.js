// Answers by the model inside this browser; the sound goes to a worker of the page, and nowhere else.

import { decode, Emovox } from "emovox";

import { EngineError } from "@page/engine.js";

import { Profiles } from "./profiles.js";

/** Largest recording: a browser keeps it decoded, 700 MB for an hour in stereo. */
const LIMITS = { bytes: 500e6, seconds: 2 * 3600 };
/** Seconds of sound that may wait before estimates of what is going on are left out. */
const BEHIND = 0.5;
/** Names of a stream's events on the wire. */
const EVENTS = { start: "utterance.start", estimate: "estimate", result: "result", end: "utterance.end" };

/** @implements {import("@page/engine.js").Engine} */
export class LocalEngine {
  #about;
  #profiles = new Profiles(localStorage);
  #progress = [0, 0];

  /**
   * @param {object} setup
   * @param {object} setup.about What scripts/browser_about.py tells of the model.
   * @param {object[]} setup.samples Recordings to try.
   * @param {URL} setup.assets Where the model lies.
   * @param {Promise<unknown>} setup.ready What the model's files wait for.
   * @param {(loaded: number, total: number) => void} setup.onLoad
   */
  constructor({ about, samples, assets, ready, onLoad }) {
    this.#about = { ...about, samples };
    const told = (loaded, total) => {
      this.#progress = [loaded, total];
      onLoad(loaded, total);
    };
    /** @type {Promise<Emovox>} */
    this.loaded = ready.then(() => Emovox.load({ assets, onLoad: told }));
    this.loaded.catch(() => {});
  }

  async capabilities() {
    const options = ["mode", "window", "hop", "smooth", "merge", "channels", "threshold", "gate", "speaker", "setting"];
    const more = { options, words: false, profiles: ["speakers", "settings"], live: true, parallel: 1, limits: LIMITS };
    return { ...this.#about, place: "browser", models: [this.#about.model], ...more };
  }

  async predict(file, name, options, call) {
    const emovox = await this.#model(call);
    return told(async () => {
      const { channels, rate } = await decode(file, name);
      const numbers = channelsOf(options.channels ?? "mix", channels.length);
      const seconds = channels[0].length / rate;
      const request = { ...this.#request(options), name, signal: call.signal };
      const found = [];
      for (const [place, channel] of numbers.entries()) {
        const onProgress = (heard) => call.onProgress?.({ state: "running", share: (place + Math.min(1, heard / seconds)) / numbers.length });
        onProgress(0);
        found.push(await emovox.timeline(channels, rate, { ...request, channel, onProgress }));
      }
      const predictions = found.flatMap((one) => one.predictions);
      if (!predictions.length) {
        throw new EngineError("no_speech", `${name} holds no speech that can be judged in ${found[0].duration.toFixed(1)} s.`);
      }
      return { file: name, duration: found[0].duration, predictions };
    });
  }

  async stream(options, rate, onEvent) {
    const emovox = await this.loaded.catch((error) => Promise.reject(asEngineError(error)));
    return told(async () => {
      const { channels, ...rest } = this.#request(options);
      return new LocalLive(await emovox.stream({ ...rest, rate, estimates: options.estimates ?? true }), rate, onEvent);
    });
  }

  async forget() {}

  async remembered() {
    return [];
  }

  async result() {
    throw new EngineError("not_found", "There is no such recording.");
  }

  async profiles(kind) {
    const { fingerprint } = await this.loaded.catch((error) => Promise.reject(asEngineError(error)));
    return this.#profiles.all(kind).map((one) => (one.fingerprint === fingerprint ? one : { ...one, problem: "another model" }));
  }

  async enrol(kind, name, files, options) {
    const emovox = await this.loaded.catch((error) => Promise.reject(asEngineError(error)));
    return told(async () => {
      const clips = [];
      for (const one of files) {
        const { channels, rate } = await decode(one.blob, one.name);
        clips.push({ samples: channels, rate, name: one.name });
      }
      const profile = await emovox.enrol(kind.slice(0, -1), name, clips, options);
      this.#profiles.put(kind, profile);
      return profile;
    });
  }

  async unenrol(kind, name) {
    this.#profiles.remove(kind, name);
  }

  /** Wait for the model, and tell how far it is. */
  async #model(call) {
    const tell = () => {
      const [loaded, total] = this.#progress;
      call.onProgress?.({ state: "loading", share: total ? loaded / total : undefined });
    };
    tell();
    const timer = setInterval(tell, 250);
    try {
      const stopped = new Promise((_, reject) => {
        call.signal.addEventListener("abort", () => reject(new EngineError("cancelled", "It was cancelled.")));
      });
      return await Promise.race([this.loaded, stopped]);
    } catch (error) {
      throw asEngineError(error);
    } finally {
      clearInterval(timer);
    }
  }

  /** What the page asks, as the package takes it. */
  #request({ mode, window, hop, smooth, merge, threshold, gate, speaker, setting }) {
    const request = { mode, window, hop, smoothing: smooth, merge, threshold, gate: gate === false ? 0 : undefined };
    if (speaker) request.speaker = this.#profiles.get("speakers", speaker);
    if (setting) request.setting = setting === "auto" ? setting : this.#profiles.get("settings", setting);
    return Object.fromEntries(Object.entries(request).filter(([, value]) => value !== undefined));
  }
}

/** A live stream: one piece is on its way to the worker at a time, and holds all that has come meanwhile. */
class LocalLive {
  #stream;
  #rate;
  #onEvent;
  #waiting = [];
  #seconds = 0;
  #busy = null;

  constructor(stream, rate, onEvent) {
    this.#stream = stream;
    this.#rate = rate;
    this.#onEvent = onEvent;
  }

  push(samples) {
    this.#waiting.push(samples);
    this.#busy ??= this.#work();
  }

  async close() {
    await this.#busy;
    const { events, heard } = await this.#stream.finish();
    this.#tell(events);
    return { seconds: heard, reason: "client_request" };
  }

  async #work() {
    try {
      while (this.#waiting.length) {
        const piece = joined(this.#waiting.splice(0));
        this.#tell(await this.#stream.push(piece, piece.length < BEHIND * this.#rate));
      }
    } catch (error) {
      this.#onEvent({ type: "error", code: error.code ?? "internal_error", detail: error.message, retryable: false });
    }
    this.#busy = null;
  }

  #tell(events) {
    for (const { kind, prediction, ...rest } of events) {
      this.#onEvent({ type: EVENTS[kind], ...rest, ...(prediction ? { prediction } : {}) });
    }
  }
}

function joined(parts) {
  const all = new Int16Array(parts.reduce((sum, one) => sum + one.length, 0));
  let place = 0;
  for (const one of parts) {
    all.set(one, place);
    place += one.length;
  }
  return all;
}

/** The channels that are judged; null for all mixed. */
function channelsOf(wanted, count) {
  if (wanted === "mix" || (wanted === "each" && count === 1)) return [null];
  return wanted === "each" ? Array.from({ length: count }, (_, place) => place + 1) : [Number(wanted)];
}

/** Do something, with errors as the page knows them. */
async function told(work) {
  try {
    return await work();
  } catch (error) {
    throw asEngineError(error);
  }
}

function asEngineError(error) {
  if (error instanceof EngineError) return error;
  if (error.name === "AbortError") return new EngineError("cancelled", "It was cancelled.");
  return new EngineError(error.code ?? "internal_error", `${error.message[0].toUpperCase()}${error.message.slice(1)}.`);
}

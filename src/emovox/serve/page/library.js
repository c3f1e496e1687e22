// The recordings of the page, and the work on them: it goes on where it was when the page is opened again.

import { EngineError } from "./engine.js";
import { picture } from "./sound.js";

/** Stretches of the small picture of a recording. */
const SLOTS = 40;
const OPEN = new Set(["waiting", "working"]);

/**
 * A recording: id, name, created (ms), size, duration, state (waiting, working, done, failed or cancelled), options, token, error,
 * brief (what the list shows); while it is worked on `progress` ({state, share}).
 */
export class Library extends EventTarget {
  entries = new Map();
  #running = new Map();
  #parallel;

  /**
   * @param {import("./engine.js").Engine} engine
   * @param {import("./store.js").Store} store
   * @param {number} parallel
   */
  constructor(engine, store, parallel) {
    super();
    this.engine = engine;
    this.store = store;
    this.#parallel = parallel;
  }

  /** Read what there was in this browser, and go on. */
  async load() {
    for (const one of await this.store.all()) this.entries.set(one.id, one);
    this.#tell();
    this.#work();
  }

  /** Add what the engine remembers and this browser does not. */
  async recall() {
    // What was sent when the page was closed is known by its token only when it was sent again.
    while (this.list().some((one) => OPEN.has(one.state) && !one.token)) await new Promise((resolve) => setTimeout(resolve, 500));
    const known = new Set(this.list().map((one) => one.token).filter(Boolean));
    for (const one of await this.engine.remembered(known).catch(() => [])) {
      if (this.list().some((mine) => mine.token === one.token)) continue;
      const entry = { ...one, id: newId(), options: {}, state: one.state === "running" ? "waiting" : one.state, elsewhere: true };
      if (entry.state === "done") {
        try {
          await this.#finish(entry, await this.engine.result(entry.token));
        } catch {
          continue;
        }
      } else await this.#keep(entry);
    }
    this.#work();
  }

  /** The newest first. */
  list() {
    return [...this.entries.values()].sort((a, b) => b.created - a.created || (a.id < b.id ? 1 : -1));
  }

  get(id) {
    return this.entries.get(id);
  }

  sound(id) {
    return this.store.get("sounds", id);
  }

  /** @returns {Promise<{result: object, peaks: Uint8Array[] | null} | undefined>} */
  async details(id) {
    const [found, look] = [await this.store.get("results", id), await this.store.get("sounds", `${id}/look`)];
    return found && { result: found, peaks: look?.peaks ?? null };
  }

  /** Take recordings; their results come later. */
  async add(files, options) {
    const now = Date.now();
    const added = [];
    for (const [place, file] of [...files].entries()) {
      // The first of many is worked on, and listed, first.
      const entry = { id: newId(), name: file.name, created: now - place / 1000, size: file.size, state: "waiting", options };
      await this.store.put("sounds", entry.id, file);
      await this.#keep(entry);
      added.push(entry);
    }
    this.#work();
    return added;
  }

  /** Take a recording that is judged already. */
  async addJudged(name, blob, result, options) {
    const entry = { id: newId(), name, created: Date.now(), size: blob.size, state: "done", options };
    await this.store.put("sounds", entry.id, blob);
    const look = await picture(blob);
    await this.store.put("sounds", `${entry.id}/look`, look);
    await this.#finish(entry, result);
    return entry;
  }

  /** Stop working on a recording; it stays in the list. */
  async cancel(id) {
    const entry = this.entries.get(id);
    if (!entry || !OPEN.has(entry.state)) return;
    this.#running.get(id)?.abort();
    await this.#keep({ ...entry, state: "cancelled", token: null, progress: undefined });
    if (entry.token) this.engine.forget(entry.token).catch(() => {});
    this.#work();
  }

  /** Try again. */
  async again(id) {
    await this.#keep({ ...this.entries.get(id), state: "waiting", token: null, error: undefined });
    this.#work();
  }

  /** Forget a recording, here and where it was judged. */
  async remove(id) {
    const entry = this.entries.get(id);
    this.entries.delete(id);
    this.#running.get(id)?.abort();
    this.#tell();
    await this.store.remove(id);
    await this.store.remove(`${id}/look`);
    if (entry?.token) await this.engine.forget(entry.token).catch(() => {});
    this.#work();
  }

  #work() {
    for (const entry of this.list()) {
      if (this.#running.size >= this.#parallel) return;
      if (OPEN.has(entry.state) && !this.#running.has(entry.id)) {
        const control = new AbortController();
        this.#running.set(entry.id, control);
        this.#alone(entry, control.signal).finally(() => {
          this.#running.delete(entry.id);
          this.#work();
        });
      }
    }
  }

  /** Work on a recording unless another page does. */
  async #alone(entry, signal) {
    if (!navigator.locks) return this.#judge(entry.id, signal);
    return navigator.locks.request(`emovox ${entry.id}`, async () => {
      const now = await this.store.get("recordings", entry.id); // another page may have done it meanwhile
      if (now && !OPEN.has(now.state)) {
        this.entries.set(entry.id, now);
        this.#tell(entry.id);
      } else if (this.entries.has(entry.id)) await this.#judge(entry.id, signal);
    });
  }

  async #judge(id, signal) {
    // What was cancelled or deleted meanwhile stays so.
    const change = async (what) => {
      if (signal.aborted || !this.entries.has(id)) throw new EngineError("cancelled", "It was cancelled.");
      return this.#keep({ ...this.entries.get(id), ...what });
    };
    try {
      let entry = await change({ state: "working" });
      const sound = await this.sound(id);
      if (!sound && !entry.token) throw new EngineError("lost", "This browser no longer has the sound of it.");
      const look = sound ? await picture(sound) : { duration: entry.duration, peaks: null };
      await this.store.put("sounds", `${id}/look`, look);
      entry = await change({ duration: Number.isFinite(look.duration) ? look.duration : entry.duration });
      const call = {
        signal,
        id,
        duration: entry.duration,
        token: entry.token,
        onToken: (token) => void change({ token }).catch(() => {}),
        onProgress: (progress) => this.#progress(id, progress),
      };
      const result = await this.#patiently(signal, () => this.engine.predict(sound, entry.name, entry.options, call));
      if (!signal.aborted && this.entries.has(id)) await this.#finish(this.entries.get(id), result);
    } catch (error) {
      if (!signal.aborted && this.entries.has(id)) await this.#failed(this.entries.get(id), error);
    }
  }

  async #failed(entry, error) {
    if (error.code === "not_found" && entry.token && !entry.elsewhere) {
      await this.#keep({ ...entry, state: "waiting", token: null, progress: undefined }); // forgotten there: send it again
      return;
    }
    const { code, message } = error instanceof EngineError ? error : new EngineError("internal_error", `The page has failed: ${error.message}`);
    await this.#keep({ ...entry, state: code === "cancelled" ? "cancelled" : "failed", progress: undefined, error: { code, message } });
  }

  /** Come back when a server that is busy says so. */
  async #patiently(signal, work) {
    for (;;) {
      try {
        return await work();
      } catch (error) {
        if (!error.wait || signal.aborted) throw error;
        await new Promise((resolve) => setTimeout(resolve, 1000 * error.wait));
      }
    }
  }

  #progress(id, progress) {
    const entry = this.entries.get(id);
    if (!entry || entry.state !== "working") return;
    this.entries.set(id, { ...entry, progress });
    this.#tell(id);
  }

  async #finish(entry, result) {
    await this.store.put("results", entry.id, result);
    await this.#keep({ ...entry, state: "done", progress: undefined, error: undefined, duration: result.duration, brief: brief(result) });
  }

  async #keep(entry) {
    this.entries.set(entry.id, entry);
    this.#tell(entry.id);
    const { progress, ...lasting } = entry;
    await this.store.put("recordings", entry.id, lasting);
    return entry;
  }

  #tell(id) {
    this.dispatchEvent(new CustomEvent("change", { detail: id }));
  }
}

function newId() {
  return `r${Date.now().toString(36)}${[...crypto.getRandomValues(new Uint8Array(8))].map((one) => one.toString(16).padStart(2, "0")).join("")}`;
}

/** What the list shows of a result: its longest answer, "" where there is none, and what is where. */
function brief(result) {
  const time = new Map();
  for (const one of result.predictions) {
    const label = one.abstained ? "" : one.label;
    time.set(label, (time.get(label) ?? 0) + one.end - one.start);
  }
  const known = [...time].filter(([label]) => label).sort((a, b) => b[1] - a[1]);
  const top = known[0] ?? [...time][0];
  const judged = [...time.values()].reduce((sum, one) => sum + one, 0);
  const slots = Array.from({ length: SLOTS }, (_, place) => {
    const middle = ((place + 0.5) / SLOTS) * result.duration;
    const one = result.predictions.find((part) => part.start <= middle && middle < part.end);
    return one ? [one.label, one.abstained] : null;
  });
  return { label: top ? top[0] : null, share: top ? top[1] / judged : 0, segments: result.predictions.length, labels: [...time.keys()], slots };
}

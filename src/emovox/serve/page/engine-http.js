// Answers by `emovox serve`: a recording is a job of its own there, so that closing the page loses nothing.

import { EngineError } from "./engine.js";

const KEY = "emovox-key";
const PROTOCOL = "emovox.v1";
/** Uploads at a time; browsers open six connections to a server at most. */
const UPLOADS = 3;
/** Milliseconds between looks at the jobs, at first and at last. */
const LOOK = [150, 1000];
const FINISHED = new Set(["succeeded", "failed", "cancelled"]);

/** @implements {import("./engine.js").Engine} */
export class HttpEngine {
  #base;
  #key;
  #gate = new Gate(UPLOADS);
  #watched = new Map();
  #looking = false;

  /** @param {URL} base Where the server is; the page's own address. */
  constructor(base) {
    this.#base = base;
    this.#key = sessionStorage.getItem(KEY) ?? localStorage.getItem(KEY) ?? "";
  }

  async capabilities() {
    const about = await this.#json("about.json");
    const models = await this.#json("v1/models");
    const samples = about.samples.map((one) => ({ ...one, address: new URL(one.address, this.#base).href }));
    const limits = { bytes: about.limits.bytes ?? Infinity, seconds: about.limits.seconds ?? Infinity };
    // Well below the number of unfinished jobs that a server takes of one key, other pages of theirs included.
    const parallel = Math.max(1, Math.min(50, Math.floor(about.limits.jobs / 2)));
    return { ...about, place: "server", models: models.data.map((one) => one.id), live: true, parallel, limits, samples };
  }

  authorise(key, keep) {
    this.#key = key;
    localStorage.removeItem(KEY);
    sessionStorage.setItem(KEY, key);
    if (keep && key) localStorage.setItem(KEY, key);
  }

  authorised() {
    return this.#key !== "";
  }

  async predict(file, name, options, call) {
    let token = call.token;
    if (!token) {
      call.onProgress?.({ state: "sending", share: 0 });
      token = await this.#gate.through(() => this.#sent(file, name, options, call), call.signal);
      call.onToken?.(token);
    }
    try {
      const job = await this.#finished(token, call);
      if (job.state === "cancelled") throw new EngineError("cancelled", "It was cancelled.");
      return await this.result(`${token}/1`);
    } catch (error) {
      if (call.signal.aborted) await this.forget(token).catch(() => {});
      throw error;
    }
  }

  async result(token) {
    const [job, number = "1"] = token.split("/");
    const found = await this.#json(`v1/jobs/${job}/recordings/${number}?format=json`);
    delete found.request_id;
    return found;
  }

  async forget(token) {
    this.#watched.delete(token);
    const [job, number] = token.split("/");
    if (number) return; // one of many recordings of a job that was made elsewhere: only this page forgets it
    try {
      await this.#call("DELETE", `v1/jobs/${job}`);
    } catch (error) {
      if (error.code !== "not_found") throw error;
    }
  }

  async remembered(known) {
    const found = [];
    const { jobs } = await this.#json("v1/jobs?limit=50").catch((error) => {
      if (error.code === "scope_missing") return { jobs: [] };
      throw error;
    });
    for (const job of jobs) {
      if (known.has(job.id) || job.state === "cancelled") continue;
      const { recordings } = await this.#json(`v1/jobs/${job.id}/recordings?limit=100`);
      const single = recordings.length === 1;
      for (const one of recordings) {
        const token = single ? job.id : `${job.id}/${one.number}`;
        const state = { succeeded: "done", failed: "failed", cancelled: "failed" }[one.state] ?? "running";
        const error = one.problem && { code: one.problem.code, message: one.problem.detail };
        if (known.has(token) || (state === "running" && !single)) continue;
        found.push({ token, name: one.name, created: job.created * 1000, duration: one.duration, size: one.size, state, error });
      }
    }
    return found;
  }

  async profiles(kind) {
    return (await this.#json(`v1/${kind}`))[kind];
  }

  async enrol(kind, name, files, { neutral = false } = {}) {
    const form = new FormData();
    for (const one of files) form.append("file", one.blob, one.name);
    form.append("options", JSON.stringify({ name, replace: true, ...(neutral && { neutral }) }));
    return (await this.#call("POST", `v1/${kind}`, form)).json();
  }

  async unenrol(kind, name) {
    await this.#call("DELETE", `v1/${kind}/${encodeURIComponent(name)}`);
  }

  async stream(options, rate, onEvent) {
    const address = new URL("v1/stream", this.#base);
    address.protocol = address.protocol.replace("http", "ws");
    const live = new HttpLive(address, this.#key ? [PROTOCOL, this.#key] : [PROTOCOL], { ...options, encoding: "s16le", rate }, onEvent);
    await live.open();
    return live;
  }

  /** Send a recording; return the job's id. */
  #sent(file, name, options, call) {
    const form = new FormData();
    form.append("file", file, name);
    form.append("options", JSON.stringify({ ...options, timeline: true }));
    const request = new XMLHttpRequest(); // the only one that tells how far an upload is
    request.open("POST", new URL("v1/jobs", this.#base));
    for (const [header, value] of Object.entries(this.#headers())) request.setRequestHeader(header, value);
    request.setRequestHeader("Idempotency-Key", call.id);
    return new Promise((resolve, reject) => {
      let sent = false; // what has arrived becomes a job: its answer tells which one is to be forgotten
      const stop = () => sent || request.abort();
      request.upload.onload = () => (sent = true);
      call.signal.addEventListener("abort", stop);
      request.upload.onprogress = (event) => call.onProgress?.({ state: "sending", share: event.loaded / event.total });
      request.onabort = () => reject(new EngineError("cancelled", "It was cancelled."));
      request.onerror = () => reject(offline());
      request.onload = () => {
        if (request.status === 202) resolve(JSON.parse(request.responseText).id);
        else reject(problem(request.responseText, request.getResponseHeader("Retry-After"), request.status));
      };
      request.onloadend = () => call.signal.removeEventListener("abort", stop);
      request.send(form);
    });
  }

  /** Wait until a job has ended. */
  #finished(token, call) {
    return new Promise((resolve, reject) => {
      const stop = () => reject(new EngineError("cancelled", "It was cancelled."));
      if (call.signal.aborted) stop();
      call.signal.addEventListener("abort", stop);
      this.#watched.set(token, { call, resolve, reject });
      this.#look();
    });
  }

  /** Look at all jobs that somebody waits for, with one request a time. */
  async #look() {
    if (this.#looking) return;
    this.#looking = true;
    let pause = LOOK[0];
    while (this.#watched.size) {
      await new Promise((resolve) => setTimeout(resolve, pause));
      pause = Math.min(LOOK[1], pause * 1.5);
      try {
        const { jobs } = await this.#json(this.#watched.size === 1 ? `v1/jobs/${this.#watched.keys().next().value}` : "v1/jobs?limit=500")
          .then((found) => (found.jobs ? found : { jobs: [found] }));
        const seen = new Map(jobs.map((job) => [job.id, job]));
        for (const [token, watch] of [...this.#watched]) await this.#tell(token, watch, seen.get(token));
      } catch (error) {
        if (error.code === "offline" || error.wait) {
          pause = Math.max(2000, 1000 * (error.wait ?? 0));
          continue;
        }
        for (const [token, watch] of [...this.#watched]) {
          this.#watched.delete(token);
          watch.reject(error);
        }
      }
    }
    this.#looking = false;
  }

  async #tell(token, { call, resolve, reject }, job) {
    if (call.signal.aborted) this.#watched.delete(token);
    else if (!job || FINISHED.has(job.state)) {
      this.#watched.delete(token);
      if (job) resolve(job);
      else this.#json(`v1/jobs/${token}`).then((found) => (FINISHED.has(found.state) ? resolve(found) : this.#watched.set(token, { call, resolve, reject })), reject);
    } else {
      const share = call.duration ? Math.min(1, job.seconds / call.duration) : undefined;
      call.onProgress?.({ state: job.state, share });
    }
  }

  #headers() {
    return this.#key ? { Authorization: `Bearer ${this.#key}` } : {};
  }

  async #json(path) {
    return (await this.#call("GET", path)).json();
  }

  async #call(method, path, body) {
    let answer;
    try {
      answer = await fetch(new URL(path, this.#base), { method, body, headers: this.#headers() });
    } catch {
      throw offline();
    }
    if (!answer.ok) throw problem(await answer.text(), answer.headers.get("Retry-After"), answer.status);
    return answer;
  }
}

const offline = () => new EngineError("offline", "The server does not answer. Is it still running?");

/** Make an error of a problem (RFC 9457). */
function problem(text, wait, status) {
  const seconds = wait ? Number(wait) : undefined;
  try {
    const { code, detail } = JSON.parse(text);
    if (code) return new EngineError(code, detail, seconds);
  } catch {
    // a proxy's own page
  }
  return new EngineError("internal_error", `The server answered with status ${status}.`, seconds);
}

/** Lets so many through at a time. */
class Gate {
  #free;
  #waiting = [];

  constructor(width) {
    this.#free = width;
  }

  async through(work, signal) {
    if (this.#free) this.#free--;
    else await new Promise((resolve) => this.#waiting.push(resolve));
    try {
      if (signal.aborted) throw new EngineError("cancelled", "It was cancelled.");
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#free++;
    }
  }
}

/** A live stream; when its connection breaks it opens another one, and sends again what was not heard. */
class HttpLive {
  #pieces = []; // what was sent lately: [first frame, samples]
  #pushed = 0;
  #last = 0;
  #closed = null;
  #tries = 0;

  constructor(address, protocols, options, onEvent) {
    Object.assign(this, { address, protocols, options, onEvent });
  }

  open() {
    return new Promise((resolve, reject) => {
      const socket = new WebSocket(this.address, this.protocols);
      socket.binaryType = "arraybuffer";
      this.socket = socket;
      socket.onmessage = ({ data }) => this.#told(JSON.parse(data), resolve, reject);
      socket.onclose = () => {
        reject(new EngineError("offline", "The live connection cannot be opened."));
        this.#broken(socket);
      };
    });
  }

  push(samples) {
    this.#pieces.push([this.#pushed, samples]);
    this.#pushed += samples.length;
    while (this.#pieces.length && this.#pieces[0][0] < this.#pushed - 60 * this.options.rate) this.#pieces.shift();
    if (this.ready && this.socket.readyState === WebSocket.OPEN) this.socket.send(samples);
  }

  close() {
    return new Promise((resolve, reject) => {
      this.#closed = { resolve, reject };
      if (this.ready) this.#send({ type: "session.close" });
      setTimeout(() => reject(new EngineError("timed_out", "The stream does not end.")), 20_000);
    });
  }

  #send(message) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  #told(event, resolve, reject) {
    if (event.number) this.#last = event.number;
    switch (event.type) {
      case "session.created":
        if (this.session) this.#send({ type: "session.resume", session_id: this.session, after: this.#last });
        else {
          this.session = event.session_id;
          this.#send({ type: "session.update", options: this.options });
        }
        break;
      case "session.updated":
        this.ready = true;
        resolve();
        break;
      case "session.resumed":
        this.#again(event.received);
        resolve();
        break;
      case "session.closed":
        this.ended = true;
        if (event.reason === "client_request") this.#closed?.resolve(event);
        else this.#fail(new EngineError(event.reason, "The server has ended the stream."));
        break;
      case "error":
        if (!this.ready) reject(new EngineError(event.code, event.detail));
        this.onEvent(event);
        break;
      default:
        this.onEvent(event);
    }
  }

  #again(received) {
    for (const [first, samples] of this.#pieces) {
      if (first + samples.length > received) this.socket.send(samples.subarray(Math.max(0, received - first)));
    }
    this.ready = true;
    this.#tries = 0;
    if (this.#closed) this.#send({ type: "session.close" });
  }

  #broken(socket) {
    if (this.ended || socket !== this.socket || !this.ready) return;
    this.ready = false;
    if (++this.#tries > 5) this.#fail(new EngineError("offline", "The live connection is lost."));
    else setTimeout(() => this.open().catch(() => { this.ready = true; this.#broken(this.socket); }), 500 * this.#tries);
  }

  #fail(error) {
    this.ended = true;
    if (this.#closed) this.#closed.reject(error);
    else this.onEvent({ type: "error", code: error.code, detail: error.message, retryable: false });
  }
}

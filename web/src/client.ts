/** The page's side: a worker with the model in it, asked by promises. */

import type { Sound } from "./audio/convert.ts";
import { EmovoxError, fromPlain, InputError } from "./errors.ts";
import type { ModelCard } from "./model/card.ts";
import type { Profile, Subject } from "./model/profiles.ts";
import type { Answer, Calls, Name, Question } from "./protocol.ts";
import type { Clip, EnrolOptions, RecordingOptions, StreamRequest, TimelineRequest } from "./recognition/recognizer.ts";
import type { Timeline } from "./recognition/timeline.ts";
import type { StreamEvent } from "./recognition/utterances.ts";
import type { Prediction } from "./types.ts";

/** Where the files lie and how to run. */
export interface Options {
  /** The folder that `default.onnx`, `encoder.onnx` and `silero_vad_16k_sequence.onnx` lie in; the page's own. */
  assets?: string | URL;
  /** Where `ort-wasm-simd-threaded.wasm` lies; by default where the bundler or onnxruntime-web has it. */
  wasm?: string | URL;
  /** Threads, 1; more need a page that is cross-origin isolated, and hang on iOS. */
  threads?: number;
  /** A worker made by yourself, where a bundler needs that. */
  worker?: Worker;
  /** Told how much of the files is here, in bytes. */
  onLoad?: (loaded: number, total: number) => void;
}

/** What is told of a call while it runs. */
export interface Telling {
  /** Seconds of the recording analysed so far. */
  onProgress?: (seconds: number) => void;
  /** What became certain: utterances that begin and end, and their judgements. */
  onEvent?: (event: StreamEvent) => void;
  /** Stops the work. */
  signal?: AbortSignal;
}

interface Waiting extends Telling {
  onLoad?: Options["onLoad"];
  resolve: (answer: never) => void;
  reject: (error: Error) => void;
}

/** Recognises emotions in a worker; nothing leaves the page. */
export class Emovox {
  readonly card: ModelCard;
  /** SHA-256 of the model's file. */
  readonly fingerprint: string;
  readonly #line: Line;

  private constructor(line: Line, about: Calls["open"]["answer"]) {
    this.#line = line;
    this.card = about.card;
    this.fingerprint = about.fingerprint;
  }

  /** Start a worker and open the model in it; takes some seconds, more where the files have to be fetched. */
  static async load(options: Options = {}): Promise<Emovox> {
    const folder = new URL(options.assets ?? ".", document.baseURI);
    if (!folder.pathname.endsWith("/")) folder.pathname += "/";
    const at = (name: string): string => new URL(name, folder).href;
    const worker = options.worker ?? new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
    const line = new Line(worker);
    const setup: Calls["open"]["ask"] = {
      model: at("default.onnx"),
      encoder: at("encoder.onnx"),
      vad: at("silero_vad_16k_sequence.onnx"),
    };
    // Relative addresses would be taken from where the worker lies.
    if (options.wasm) setup.wasm = new URL(options.wasm, document.baseURI).href;
    if (options.threads) setup.threads = options.threads;
    try {
      return new Emovox(line, await line.call("open", setup, { onLoad: options.onLoad }));
    } catch (error) {
      line.close();
      throw error;
    }
  }

  /** Recognise one recording: the mean of its utterances, weighted by duration. */
  recognize(sound: Sound, rate: number, options: RecordingOptions & Telling = {}): Promise<Prediction> {
    const [telling, plain] = parted(options);
    return this.#line.call("recognize", { sound, rate, options: plain }, telling);
  }

  /** Recognise a recording segment by segment. */
  timeline(sound: Sound, rate: number, options: TimelineRequest & Telling = {}): Promise<Timeline> {
    const [telling, plain] = parted(options);
    return this.#line.call("timeline", { sound, rate, options: plain }, telling);
  }

  /** Begin a stream. */
  async stream(options: StreamRequest = {}): Promise<LiveStream> {
    return new LiveStream(this.#line, await this.#line.call("begin", options));
  }

  /** Learn what a speaker's voice, or a setting, is ordinarily like; the sound is not kept. */
  enrol(kind: Subject, name: string, clips: Clip[], options: EnrolOptions & Telling = {}): Promise<Profile> {
    const [telling, plain] = parted(options);
    return this.#line.call("enrol", { kind, name, clips, options: plain }, telling);
  }

  /** End the worker. */
  close(): void {
    this.#line.close();
  }
}

/** A live stream in the worker. */
export class LiveStream {
  readonly #line: Line;
  readonly #number: number;

  constructor(line: Line, number: number) {
    this.#line = line;
    this.#number = number;
  }

  /** Take the next samples, in pieces of any size, and tell what became certain; without estimates where there is no time. */
  push(sound: Sound, estimates?: boolean): Promise<StreamEvent[]> {
    return this.#line.call("push", { stream: this.#number, sound, estimates });
  }

  /** End the stream: what is left to tell, and how many seconds were heard. */
  finish(): Promise<{ events: StreamEvent[]; heard: number }> {
    return this.#line.call("finish", { stream: this.#number });
  }

  /** Give the stream up. */
  drop(): Promise<void> {
    return this.#line.call("drop", { stream: this.#number });
  }
}

/** Questions to a worker, and who waits for the answers. */
class Line {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  #count = 0;

  constructor(worker: Worker) {
    this.#worker = worker;
    worker.onmessage = ({ data }: MessageEvent<Answer>) => this.#told(data);
    worker.onerror = (event) => this.#fail(`the worker cannot run (${event.message || "is its file there?"})`);
  }

  call<N extends Name>(name: N, ask: Calls[N]["ask"], telling: Partial<Waiting> = {}): Promise<Calls[N]["answer"]> {
    const id = ++this.#count;
    const { signal } = telling;
    return new Promise((resolve, reject) => {
      const stop = (): void => {
        this.#say({ id, stop: true });
        this.#waiting.delete(id);
        reject(new DOMException("The work was stopped.", "AbortError"));
      };
      if (signal?.aborted) return stop();
      signal?.addEventListener("abort", stop, { once: true });
      this.#waiting.set(id, { ...telling, resolve, reject });
      this.#say({ id, name, ask });
    });
  }

  close(): void {
    this.#worker.terminate();
    this.#fail("the worker was ended");
  }

  #say(question: Question): void {
    this.#worker.postMessage(question);
  }

  #told(told: Answer): void {
    const one = this.#waiting.get(told.id);
    if (!one) return; // nobody waits any more
    if ("progress" in told) one.onProgress?.(told.progress);
    else if ("event" in told) one.onEvent?.(told.event);
    else if ("loaded" in told) one.onLoad?.(told.loaded, told.total);
    else {
      this.#waiting.delete(told.id);
      if ("error" in told) one.reject(fromPlain(told.error));
      else one.resolve(told.answer as never);
    }
  }

  #fail(why: string): void {
    for (const one of this.#waiting.values()) one.reject(new EmovoxError(why));
    this.#waiting.clear();
  }
}

/** Part what is for the page from what is for the worker: functions cannot be sent. */
function parted<T extends Telling>({ onProgress, onEvent, signal, ...plain }: T): [Telling, Omit<T, keyof Telling>] {
  return [{ onProgress, onEvent, signal }, plain];
}

let shared: Promise<Emovox> | null = null;

/** Say where the files of `recognize` lie, before its first call. */
export function configure(options: Options): void {
  if (shared) throw new InputError("the model is open already: say where it lies before the first recording");
  shared = Emovox.load(options);
}

/** Recognise one recording with a worker that all such calls share. */
export async function recognize(sound: Sound, rate: number, options: RecordingOptions & Telling = {}): Promise<Prediction> {
  shared ??= Emovox.load();
  return (await shared).recognize(sound, rate, options);
}

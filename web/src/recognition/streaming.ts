/** Emotion as it happens: samples in pieces of any size -> voice activity -> windows -> events. A file is a stream, too. */

import { Converter, type Sound } from "../audio/convert.ts";
import { InputError } from "../errors.ts";
import type { Session } from "../session.ts";
import { VoiceActivity } from "../speech/vad.ts";
import { RATE, type Segment } from "../types.ts";
import { Cutter } from "./cutting.ts";
import { tidied, type Timeline, type TimelineOptions } from "./timeline.ts";
import type { Judge, StreamEvent } from "./utterances.ts";

/** Samples that are taken at a time, 4 s: bounds the memory of a piece of any size. */
const PIECE = 4 * RATE;
/** Samples of a long recording that are read at a time, 10 s. */
const BLOCK = 10 * RATE;

/** What a stream is made of. */
export interface StreamSetup {
  network: Session;
  judge: Judge;
  options: TimelineOptions;
  converter: Converter;
  /** Whether to judge what is going on every `hop` seconds. */
  estimates: boolean;
  /** What is to be judged; the default is what voice activity detection finds. */
  segments?: readonly Segment[] | null;
}

/** One stream; what is kept of the sound is a window and a pause, however long it lasts. */
export class Stream {
  readonly name: string;
  readonly #converter: Converter;
  readonly #activity: VoiceActivity;
  readonly #cutter: Cutter;
  readonly #estimates: boolean;
  #samples = 0;
  #finished = false;

  constructor({ network, judge, options, converter, estimates, segments = null }: StreamSetup) {
    this.name = converter.name;
    this.#converter = converter;
    this.#estimates = estimates;
    this.#activity = new VoiceActivity(network, options.vad);
    this.#cutter = new Cutter(judge, options, this.name, this.#activity.reach, estimates, segments);
  }

  /** How much of the stream has been heard, in seconds. */
  get heard(): number {
    return this.#samples / RATE;
  }

  /** Take the next samples and tell what became certain, one call at a time; with estimates or, where there is no time, without. */
  async push(sound: Sound, estimates = this.#estimates): Promise<StreamEvent[]> {
    if (this.#finished) throw new InputError(`stream '${this.name}' is finished: open another one`);
    this.#cutter.estimates = estimates && this.#estimates;
    return this.take(this.#converter.push(sound));
  }

  /** End the stream and tell what is left to tell; further calls tell nothing. */
  async finish(): Promise<StreamEvent[]> {
    if (this.#finished) return [];
    this.#finished = true;
    const events = await this.take(this.#converter.finish());
    return [...events, ...(await this.end())];
  }

  /** Take samples at 16 kHz. */
  async take(samples: Float32Array): Promise<StreamEvent[]> {
    const events: StreamEvent[] = [];
    for (let begin = 0; begin < samples.length; begin += PIECE) {
      const piece = samples.subarray(begin, begin + PIECE);
      this.#samples += piece.length;
      events.push(...(await this.#cutter.take(piece, await this.#activity.frames(piece))));
    }
    return events;
  }

  /** Tell what the end of the sound decides. */
  async end(): Promise<StreamEvent[]> {
    return this.#cutter.finish(await this.#activity.finish());
  }
}

/** What is told of a recording while it is heard. */
export interface Watch {
  /** Called with the seconds analysed so far. */
  progress?: ((seconds: number) => void) | undefined;
  /** Called with each event as soon as it is certain. */
  tell?: ((event: StreamEvent) => void) | undefined;
  /** Whether nobody waits for the answer any more. */
  stopped?: (() => boolean) | undefined;
}

/** Run a recording at 16 kHz through a stream, block by block, and collect what it tells. */
export async function timelineOf(
  samples: Float32Array,
  setup: StreamSetup,
  { progress, tell, stopped }: Watch = {},
): Promise<Timeline> {
  const stream = new Stream(setup);
  const events: StreamEvent[] = [];
  const take = (found: StreamEvent[]): void => {
    events.push(...found);
    if (tell) found.forEach(tell);
  };
  for (let begin = 0; begin < samples.length; begin += BLOCK) {
    if (stopped?.()) throw new InputError("stopped: nobody waits for the answer");
    take(await stream.take(samples.subarray(begin, begin + BLOCK)));
    progress?.(stream.heard);
  }
  take(await stream.end());
  const found = collect(events, stream.name, stream.heard, setup.options);
  return setup.segments ? inOrder(found, setup.segments) : found;
}

/** Make the timeline of a stream from its events: exactly that of a recording with the same samples. */
export function collect(events: readonly StreamEvent[], name: string, duration: number, options: TimelineOptions): Timeline {
  const results = events.flatMap((event) => (event.kind === "result" && event.prediction ? [event.prediction] : []));
  return { file: name, duration, predictions: tidied(results, options), unjudged: [] };
}

/** Bring judgements of given segments in the order of time, and say which have none. */
function inOrder(found: Timeline, segments: readonly Segment[]): Timeline {
  const judged = new Map<string, number>();
  const key = (start: number, end: number): string => `${start}-${end}`;
  for (const one of found.predictions) {
    judged.set(key(one.start, one.end), (judged.get(key(one.start, one.end)) ?? 0) + 1);
  }
  const unjudged = segments.filter((one) => {
    const span = key(one.start, Math.min(one.end, found.duration));
    const left = (judged.get(span) ?? 0) - 1;
    judged.set(span, left);
    return left < 0;
  });
  const predictions = [...found.predictions].sort((a, b) => a.start - b.start || a.end - b.end);
  return { ...found, predictions, unjudged };
}

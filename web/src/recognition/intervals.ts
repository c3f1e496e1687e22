/** Where a stream is cut by the clock, or where somebody says. */

import { MIN_DURATION } from "../audio/preprocess.ts";
import { round } from "../numbers.ts";
import { FRAME } from "../speech/level.ts";
import type { ActivityFrame, SpeechEvent } from "../speech/vad.ts";
import { type Prediction, RATE, type Segment } from "../types.ts";
import { blended, Smoother } from "./timeline.ts";
import { AROUND, type Rule, type StreamEvent, Utterances, type Work } from "./utterances.ts";

/** Judges interval by interval, where somebody speaks. */
export class Intervals implements Rule {
  readonly speaking = false; // no judgement is ever late
  readonly #work: Work;
  readonly #window: number;
  readonly #hop: number;
  readonly #smoother: Smoother;
  #index = 0;
  #speech = 0; // samples of speech in the interval that is going on

  constructor(work: Work) {
    this.#work = work;
    this.#window = round(work.options.window * RATE);
    this.#hop = work.options.hop * RATE;
    this.#smoother = new Smoother(work.options.smoothing, work.judge);
  }

  get needed(): number {
    return round(this.#index * this.#hop) - this.#window;
  }

  /** Take the next frame; it counts to the interval in which it ends, or the one before. */
  async step(frame: ActivityFrame): Promise<StreamEvent[]> {
    const events: StreamEvent[] = frame.events.map((event) => ({ ...event, prediction: null }));
    if (frame.probability >= this.#work.options.vad.on) this.#speech += FRAME;
    for (let end; frame.end >= (end = round((this.#index + 1) * this.#hop)); ) {
      events.push(...(await this.#interval(end, frame.end)));
    }
    return events;
  }

  /** Judge the interval that is not full. */
  async finish(): Promise<StreamEvent[]> {
    const heard = this.#work.history.end;
    return heard - this.#index * this.#hop >= MIN_DURATION * RATE ? this.#interval(heard, heard) : [];
  }

  async #interval(end: number, heard: number): Promise<StreamEvent[]> {
    const { judge, history, name, options } = this.#work;
    const begin = round(this.#index * this.#hop);
    const enough = this.#speech >= Math.min(options.vad.min_speech * RATE, (end - begin) / 2);
    this.#index++;
    this.#speech = 0;
    const judged = enough && (await judge.assess(history.stretch(Math.max(0, end - this.#window), end), name));
    if (!judged) return [];
    const prediction = this.#smoother.smoothed({ ...judged, start: begin / RATE, end: end / RATE });
    return [{ kind: "result", time: end / RATE, decided: heard / RATE, prediction }];
  }
}

/** A given segment that is going on: an utterance whose boundaries are known. */
class Turn {
  readonly segment: Segment;
  readonly utterance: Utterances;
  readonly begin: number;
  readonly end: number;
  readonly #judged: Prediction[] = [];
  #begun = false;

  constructor(segment: Segment, work: Work) {
    this.segment = segment;
    this.utterance = new Utterances(work, false);
    this.begin = round(segment.start * RATE);
    this.end = round(segment.end * RATE);
  }

  /** Take the next frame; `end` says that the segment ends, and where. */
  async step(frame: ActivityFrame, end: number | null): Promise<void> {
    const decided = frame.end / RATE;
    const events: SpeechEvent[] = this.#begun ? [] : [{ kind: "start", time: this.begin / RATE, decided }];
    if (end !== null) events.push({ kind: "end", time: end / RATE, decided });
    this.#begun = true;
    const found = await this.utterance.step({ ...frame, events, pausing: frame.end > this.end });
    this.#judged.push(...found.flatMap((one) => (one.kind === "result" && one.prediction ? [one.prediction] : [])));
  }

  /** The mean of its pieces, weighted by duration; null where there was nothing to judge. */
  judgement(threshold: number, heard: number): Prediction | null {
    if (!this.#judged.length) return null;
    const lengths = this.#judged.map((one) => one.end - one.start);
    const mean = lengths.length > 1 ? blended(this.#judged, lengths, threshold) : this.#judged[0]!;
    const { start, end, speaker, columns } = this.segment;
    const more = columns && Object.keys(columns).length ? { ...columns } : null;
    return { ...mean, start, end: Math.min(end, heard), speaker: speaker || mean.speaker, columns: more };
  }
}

/** Judges segments that are given, in any number at a time, each as an utterance whose boundaries are known. */
export class Given implements Rule {
  readonly speaking = false; // nothing is waited for
  readonly #work: Work;
  readonly #waiting: Turn[];
  #open: Turn[] = [];

  constructor(work: Work, segments: readonly Segment[]) {
    this.#work = work;
    const plain = { ...work, options: { ...work.options, smoothing: 0 } };
    this.#waiting = [...segments].sort((a, b) => a.start - b.start).map((one) => new Turn(one, plain));
  }

  get needed(): number {
    const coming = this.#waiting[0]?.begin ?? this.#work.history.end;
    return Math.min(coming, ...this.#open.map((one) => one.utterance.needed));
  }

  /** Take the next frame; a segment is judged when what is around it has been heard as well. */
  async step(frame: ActivityFrame): Promise<StreamEvent[]> {
    while (this.#waiting.length && this.#waiting[0]!.begin < frame.end) this.#open.push(this.#waiting.shift()!);
    const events: StreamEvent[] = [];
    for (const one of [...this.#open]) {
      const over = frame.end >= one.end + AROUND;
      await one.step(frame, over ? one.end : null);
      if (over) events.push(...this.#closed(one, frame.end / RATE));
    }
    return events;
  }

  /** Judge what the end of the recording cuts off. */
  async finish(): Promise<StreamEvent[]> {
    const heard = this.#work.history.end;
    const events: StreamEvent[] = [];
    for (const one of [...this.#open]) {
      await one.step({ probability: 0, pausing: true, end: heard, events: [] }, Math.min(one.end, heard));
      events.push(...this.#closed(one, heard / RATE));
    }
    return events;
  }

  #closed(one: Turn, heard: number): StreamEvent[] {
    this.#open = this.#open.filter((other) => other !== one);
    const prediction = one.judgement(this.#work.judge.threshold, heard);
    return prediction ? [{ kind: "result", time: prediction.end, decided: heard, prediction }] : [];
  }
}

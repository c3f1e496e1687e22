/** What rules that cut a stream have in common, and the first of them: utterance by utterance. */

import { round } from "../numbers.ts";
import { FRAME } from "../speech/level.ts";
import type { ActivityFrame, SpeechEvent } from "../speech/vad.ts";
import { type Prediction, RATE, type Waveform } from "../types.ts";
import type { History } from "./history.ts";
import { Smoother, type TimelineOptions } from "./timeline.ts";

/** What is heard with an utterance on either side of it, 0.1 s: models learn from clips with soft beginnings and ends. */
export const AROUND = RATE / 10;
/** A rest of an utterance that is shorter than this, in seconds, is too short to be judged by itself. */
const REST = 0.3;

/** What a stream asks of a recogniser. */
export interface Judge {
  /** Confidence under which an answer is an abstention. */
  readonly threshold: number;
  /** Judge one window; null where nobody speaks in it. `running` is an estimate, which asks no gate. */
  assess(window: Waveform, name: string, running?: boolean): Promise<Prediction | null>;
}

/** Something that became certain while a stream was heard. */
export interface StreamEvent {
  /**
   * Speech begins; what the utterance that is going on sounds like so far; the judgement of an utterance, of a part of
   * a long one, or of an interval, which goes into the timeline; speech ends.
   */
  kind: "start" | "estimate" | "result" | "end";
  /** When it happens, in seconds from the beginning of the stream; of a judgement, the end of what it is about. */
  time: number;
  /** How much of the stream, in seconds, had been heard when this was certain. */
  decided: number;
  /** The judgement of an "estimate" or a "result". */
  prediction: Prediction | null;
}

/** What cuts a stream by one rule. */
export interface Rule {
  /** Whether an utterance goes on, whose judgement is to come. */
  readonly speaking: boolean;
  /** First sample that may be asked for. */
  readonly needed: number;
  step(frame: ActivityFrame): Promise<StreamEvent[]>;
  finish(): Promise<StreamEvent[]>;
}

/** What every rule works with. */
export interface Work {
  judge: Judge;
  options: TimelineOptions;
  history: History;
  /** What predictions call the stream. */
  name: string;
}

/** Judges utterance by utterance, with running estimates. */
export class Utterances implements Rule {
  readonly #work: Work;
  readonly #window: number;
  readonly #hop: number;
  /** Whether to judge what is going on every `hop` seconds; nothing else depends on it. */
  estimates: boolean;
  readonly #running: Smoother;
  readonly #results: Smoother;
  #begin: number | null = null; // of the utterance that is going on
  #piece = 0; // begin of what is not judged yet
  #last: Prediction | null = null; // judgement of the piece before, in this utterance
  #asked = 0; // end of the last estimate

  constructor(work: Work, estimates: boolean) {
    const { judge, options } = work;
    this.#work = work;
    this.#window = round(options.window * RATE);
    this.#hop = round(options.hop * RATE);
    this.estimates = estimates;
    this.#running = new Smoother(options.smoothing, judge);
    this.#results = new Smoother(options.smoothing, judge);
  }

  get speaking(): boolean {
    return this.#begin !== null;
  }

  get needed(): number {
    const { end } = this.#work.history;
    return this.#begin === null ? end : Math.min(this.#piece, Math.max(this.#begin, end - this.#window));
  }

  async step(frame: ActivityFrame): Promise<StreamEvent[]> {
    const events: StreamEvent[] = [];
    for (const event of frame.events) {
      events.push(...(event.kind === "start" ? this.#started(event) : await this.#ended(event)));
    }
    if (this.#begin === null) return events;
    if (frame.end - this.#piece >= this.#window && !frame.pausing) {
      events.push(...(await this.#cut(this.#quietest(), frame.end, false)));
    }
    if (this.estimates && frame.end - this.#asked >= this.#hop) {
      events.push(...(await this.#estimate(this.#begin, frame.end)));
    }
    return events;
  }

  /** Nothing is left: the end of the stream ends what is said. */
  async finish(): Promise<StreamEvent[]> {
    return [];
  }

  #started({ time, decided }: SpeechEvent): StreamEvent[] {
    this.#begin = this.#piece = this.#asked = round(time * RATE);
    this.#last = null;
    this.#running.forget();
    return [{ kind: "start", time, decided, prediction: null }];
  }

  async #ended({ time, decided }: SpeechEvent): Promise<StreamEvent[]> {
    const events = await this.#cut(round(time * RATE), round(decided * RATE), true);
    this.#begin = null;
    return [...events, { kind: "end", time, decided, prediction: null }];
  }

  /** Find the middle of the least probable frame in the second half of the window. */
  #quietest(): number {
    const low = Math.ceil((this.#piece + Math.floor(this.#window / 2)) / FRAME);
    const high = Math.max(low + 1, Math.floor((this.#piece + this.#window) / FRAME));
    const speech = this.#work.history.speech(low, high);
    return (low + speech.indexOf(Math.min(...speech))) * FRAME + FRAME / 2;
  }

  /** Judge the piece up to `end`, where speech may have ended; a rest too short goes with the piece before it. */
  async #cut(end: number, heard: number, ended: boolean): Promise<StreamEvent[]> {
    const { judge, history, name } = this.#work;
    const begin = this.#piece;
    this.#piece = end;
    if (end <= begin) return [];
    let judged = end - begin < REST * RATE ? this.#last : null;
    if (!judged) {
      const first = begin === this.#begin ? begin - AROUND : begin;
      const last = ended ? Math.min(end + AROUND, heard) : end;
      judged = await judge.assess(history.stretch(Math.max(0, first), last), name);
      judged &&= this.#results.smoothed({ ...judged, end: end / RATE });
    }
    this.#last = judged;
    if (!judged) return [];
    const prediction = { ...judged, start: begin / RATE, end: end / RATE };
    return [{ kind: "result", time: end / RATE, decided: heard / RATE, prediction }];
  }

  /** The detector hears speech: the gate need not be asked every time, and is when the utterance has ended. */
  async #estimate(begin: number, heard: number): Promise<StreamEvent[]> {
    this.#asked = heard;
    const { judge, history, name } = this.#work;
    const judged = await judge.assess(history.stretch(Math.max(begin, heard - this.#window), heard), name, true);
    if (!judged) return [];
    const prediction = this.#running.smoothed({ ...judged, end: heard / RATE });
    return [{ kind: "estimate", time: heard / RATE, decided: heard / RATE, prediction }];
  }
}

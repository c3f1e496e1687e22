/** What became certain of a stream: which of its sound is kept, where it is cut, and what is judged and told when. */

import { round } from "../numbers.ts";
import type { ActivityFrame } from "../speech/vad.ts";
import { type Prediction, RATE, type Segment } from "../types.ts";
import { History } from "./history.ts";
import { Given, Intervals } from "./intervals.ts";
import { Smoother, type TimelineOptions } from "./timeline.ts";
import { AROUND, type Judge, type Rule, type StreamEvent, Utterances, type Work } from "./utterances.ts";

/** One stream from samples and the activity of their frames to events; what is kept is a window and a pause. */
export class Cutter {
  readonly #reach: number;
  readonly #history = new History();
  readonly #fallback: Fallback;
  readonly #rule: Rule;

  /** `reach` is how many samples back an utterance that is yet to come may begin; `segments` are judged, where given. */
  constructor(
    judge: Judge,
    options: TimelineOptions,
    name: string,
    reach: number,
    estimates: boolean,
    segments: readonly Segment[] | null = null,
  ) {
    this.#reach = reach;
    const work: Work = { judge, options, history: this.#history, name };
    this.#fallback = new Fallback(work);
    if (segments) this.#rule = new Given(work, segments);
    else this.#rule = options.mode === "interval" ? new Intervals(work) : new Utterances(work, estimates);
    if (segments || options.mode === "interval") this.#fallback.stop();
  }

  /** Whether to judge what is going on; without effect on streams that are cut by the clock. */
  set estimates(wanted: boolean) {
    if (this.#rule instanceof Utterances) this.#rule.estimates = wanted;
  }

  /** Take the next samples and the frames that they complete, and tell what became certain. */
  async take(samples: Float32Array, frames: readonly ActivityFrame[]): Promise<StreamEvent[]> {
    const events = await this.#step(samples, frames);
    await this.#fallback.step(this.#rule.speaking);
    const needed = Math.min(this.#rule.needed, this.#fallback.needed, this.#history.end - this.#reach);
    this.#history.drop(needed - AROUND);
    return events;
  }

  /** Take the last frames of the stream, and tell what is left to tell. */
  async finish(frames: readonly ActivityFrame[]): Promise<StreamEvent[]> {
    const events = await this.#step(new Float32Array(0), frames);
    return [...events, ...(await this.#rule.finish()), ...(await this.#fallback.finish())];
  }

  async #step(samples: Float32Array, frames: readonly ActivityFrame[]): Promise<StreamEvent[]> {
    // After the last frame comes a silent one of no length, which no samples belong to.
    const { told } = this.#history;
    const speech = frames.filter((one) => one.end > told).map((one) => one.probability);
    this.#history.append(samples, Float32Array.from(speech));
    const events: StreamEvent[] = [];
    for (const frame of frames) {
      const found = await this.#rule.step(frame);
      if (found.some((event) => event.kind === "result")) this.#fallback.stop();
      events.push(...found);
    }
    return events;
  }
}

/**
 * Judges windows of one length where no utterance is found or judged: the gate hears screams and whispers too.
 *
 * They are judged as they pass, so that nothing but a few windows is kept, and told at the end of the stream. A rest
 * shorter than half a window goes with the window before.
 */
class Fallback {
  readonly #work: Work;
  readonly #window: number;
  readonly #smoother: Smoother;
  #begin: number | null = 0; // of what is not judged yet
  #found: Prediction[] = [];

  constructor(work: Work) {
    this.#work = work;
    this.#window = round(work.options.window * RATE);
    this.#smoother = new Smoother(work.options.smoothing, work.judge);
  }

  get needed(): number {
    return this.#begin ?? this.#work.history.end;
  }

  /** Forget everything: an utterance has been judged. */
  stop(): void {
    this.#begin = null;
    this.#found = [];
  }

  /** Judge the windows that have passed; while somebody seems to be speaking, wait for that judgement. */
  async step(speaking: boolean): Promise<void> {
    const enough = this.#window * (speaking ? 3 : 1.5);
    while (this.#begin !== null && this.#work.history.end - this.#begin >= enough) {
      this.#begin = await this.#assess(this.#begin, this.#begin + this.#window);
    }
  }

  /** Judge what is left and tell all. */
  async finish(): Promise<StreamEvent[]> {
    await this.step(false);
    const { end } = this.#work.history;
    if (this.#begin !== null && end > this.#begin) this.#begin = await this.#assess(this.#begin, end);
    return this.#found.map((prediction) => {
      return { kind: "result", time: prediction.end, decided: end / RATE, prediction };
    });
  }

  async #assess(begin: number, end: number): Promise<number> {
    const { judge, history, name } = this.#work;
    const judged = await judge.assess(history.stretch(begin, end), name);
    if (judged) this.#found.push(this.#smoother.smoothed({ ...judged, start: begin / RATE, end: end / RATE }));
    return end;
  }
}

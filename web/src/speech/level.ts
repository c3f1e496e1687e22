/** Offset and level of a stream: evened out before a detector listens; by level, where sound begins and fades. */

import { joined, largest, mean, round } from "../numbers.ts";
import { RATE } from "../types.ts";

/** Samples that share one probability of speech and one gain: 32 ms, fixed by the network. */
export const FRAME = 512;
/** Corner frequency, in Hz, below which sound is taken for an offset. */
const CORNER = 3.0;
/** Root mean square to which the loudest frame is brought. */
const TARGET = 0.1;
/** Decibels a second by which the level to which this refers falls when what follows is softer. */
const RELEASE = 0.5;
/** Rise of the level, in dB, after which what was heard before it was heard far too loud. */
const RISE = 12.0;
/** Level below which there is nothing to bring up: digital silence. */
const SILENT = 1e-8;
/** Samples that share a level, 8 ms. */
const STEP = 128;
/** Share of the loudest power at which sound begins (30 dB below) and at which it has faded (31 dB below). */
const [BEGUN, FADED] = [10 ** -3.0, 10 ** -3.1];

/** Takes the offset off a stream, in whole frames: the mean of the first one, then a running mean of 53 ms. */
export class Centre {
  readonly #fall: Float64Array;
  readonly #rise: Float64Array;
  #mean: number | null = null;
  #rest = new Float32Array(0);

  constructor() {
    const kept = Math.exp((-2 * Math.PI * CORNER) / RATE);
    this.#fall = Float64Array.from({ length: FRAME }, (_, i) => kept ** (i + 1));
    this.#rise = this.#fall.map((one) => (1 - kept) / one);
  }

  /** Take the next samples and return the frames that they complete, one after the other. */
  push(samples: Float32Array): Float32Array {
    const waiting = joined([this.#rest, samples]);
    const whole = Math.floor(waiting.length / FRAME) * FRAME;
    this.#rest = waiting.slice(whole);
    const found = new Float32Array(whole);
    for (let at = 0; at < whole; at += FRAME) found.set(this.#centred(waiting.subarray(at, at + FRAME)), at);
    return found;
  }

  /** End the stream: what no frame was full of. */
  finish(): Float32Array {
    const rest = this.#rest;
    this.#rest = new Float32Array(0);
    return rest.length ? this.#centred(rest) : rest;
  }

  #centred(frame: Float32Array): Float32Array {
    const before = this.#mean ?? mean(frame);
    let sum = 0;
    const found = frame.map((one, i) => {
      sum += one * this.#rise[i]!;
      return one - this.#fall[i]! * (before + sum);
    });
    this.#mean = this.#fall[frame.length - 1]! * (before + sum);
    return found;
  }
}

/** Says frame by frame by what to multiply a stream so that its loudest sound has one level. */
export class Level {
  readonly #fall = 10 ** ((-RELEASE * FRAME) / RATE / 20);
  readonly #rise = 10 ** (RISE / 20);
  #loudest = SILENT;
  #known = SILENT;

  /** Take whole frames; return their gains, and the frames before which what was heard is to be heard again. */
  push(frames: Float32Array): { gains: number[]; rises: number[] } {
    const [gains, rises]: [number[], number[]] = [[], []];
    for (let number = 0; number < frames.length / FRAME; number++) {
      let power = 0;
      for (let i = number * FRAME; i < (number + 1) * FRAME; i++) power += frames[i]! ** 2;
      this.#loudest = Math.max(Math.sqrt(power / FRAME), this.#loudest * this.#fall, SILENT);
      this.#known = Math.max(this.#known * this.#fall, SILENT);
      if (this.#loudest > this.#rise * this.#known) {
        this.#known = this.#loudest;
        rises.push(number);
      }
      gains.push(TARGET / this.#loudest);
    }
    return { gains, rises };
  }
}

/** Moves the boundaries of speech in one stream by its level, in steps of 8 ms; what is kept does not grow with time. */
export class Edges {
  readonly #reach: number;
  readonly #kept: number;
  #rest = new Float32Array(0);
  #levels: number[] = [0, 0]; // power of each step, from step #first on: two of silence before the stream
  #first = -2;
  #began = 0; // step in which the segment that is going on began
  #ended = 0; // step in which the segment before it ended
  #loudest: number | null = null; // in the segment that is going on
  #watched = 0;

  /** How far a boundary may move, and how long after it it may be asked for, in seconds. */
  constructor(reach: number, late: number) {
    this.#reach = round((reach * RATE) / STEP);
    this.#kept = Math.ceil(((reach + late) * RATE) / STEP) + 16;
  }

  /** Take the next samples; boundaries may then be asked for that are heard in them. */
  push(samples: Float32Array): void {
    this.#watch(this.#first + this.#levels.length);
    const drop = Math.max(0, this.#levels.length - this.#kept);
    const waiting = joined([this.#rest, samples]);
    const whole = Math.floor(waiting.length / STEP) * STEP;
    this.#rest = waiting.slice(whole);
    this.#levels = this.#levels.slice(drop);
    for (let at = 0; at < whole; at += STEP) {
      let power = 0;
      for (let i = at; i < at + STEP; i++) power += waiting[i]! ** 2;
      this.#levels.push(power);
    }
    this.#first += drop;
  }

  /** Say where the sound begins that a detector heard from `sample` on: the first sample of a step. */
  begin(sample: number, heard: number): number {
    const [onset, now] = [Math.floor(sample / STEP), Math.floor(heard / STEP)];
    const first = Math.max(onset - this.#reach, this.#ended);
    const level = this.#smooth(first, now);
    const loudest = largest(level.slice(onset - first), 0);
    // As numpy's argmax of a mask: the first step where none is loud enough.
    this.#began = first + Math.max(0, level.findIndex((one) => one >= loudest * BEGUN));
    this.#loudest = loudest;
    this.#watched = now;
    return this.#began * STEP;
  }

  /** Say where the sound has faded that a detector heard up to `sample`: the sample after a step's last. */
  end(sample: number, heard: number): number {
    const [pause, now] = [Math.floor(sample / STEP), Math.floor(heard / STEP)];
    this.#watch(now);
    const first = Math.max(this.#began + 1, pause - this.#reach);
    const last = Math.min(pause + this.#reach, now);
    const least = (this.#loudest ?? 0) * FADED;
    this.#ended = first + Math.max(0, this.#smooth(first, last).findLastIndex((one) => one >= least));
    this.#loudest = null;
    return Math.min(this.#ended * STEP, heard);
  }

  /** Note how loud the segment that is going on has become by a step. */
  #watch(now: number): void {
    if (this.#loudest === null) return;
    this.#loudest = largest(this.#smooth(this.#watched, now), this.#loudest);
    this.#watched = now;
  }

  /** Power over three steps, up to each of those from `begin` to `end`. */
  #smooth(begin: number, end: number): number[] {
    const power = this.#levels.slice(begin - this.#first - 2, Math.max(begin, end) - this.#first);
    return power.slice(2).map((one, at) => one + power[at + 1]! + power[at]!);
  }
}

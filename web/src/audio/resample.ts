/** One channel from one sampling rate to another, piece by piece: a polyphase filter with the band of soxr's quality HQ. */

import { RATE } from "../types.ts";
import { KERNELS } from "./kernels.ts";

/** End of the pass band as a share of the lower of the two Nyquist frequencies; the stop band begins at 1. */
const PASS = 0.91374;
/**
 * The Kaiser window: its shape, and half its length in samples of the lower rate. Fitted to the impulse responses of
 * soxr, which takes one filter where the ratio is simple and a chain of them elsewhere. What differs in speech lies 127 dB
 * below it at 24, 48 and 96 kHz, and 91 dB at odd rates; at the rates of `KERNELS` the filters are soxr's own, and it lies 130 dB below.
 */
const SIMPLE = { beta: 13.04, half: 96.833 };
const CHAIN = { beta: 13.71, half: 101.5 };
/** Coefficients that a table of all phases may have; above that, phases in between are interpolated. */
const LARGEST_TABLE = 1 << 20;
/** Between the values of a measured filter: zero crossings on each side, and the shape of their Kaiser window. */
const BETWEEN = { crossings: 24, beta: 14 };
/** Phases of an interpolated table: what interpolation adds lies 118 dB below the sound. */
const PHASES = 1024;

/**
 * Brings a stream to another rate.
 *
 * The cut into pieces changes nothing, and there is no delay: sample k of the result lies at the same time as in what
 * comes. `n` samples give `n * to / from`, rounded.
 */
export class Resampler {
  readonly #from: number;
  readonly #to: number;
  readonly #half: number;
  readonly #taps: number;
  readonly #phases: number;
  readonly #exact: boolean;
  readonly #table: Float32Array;
  #kept: Float32Array;
  #begin: number; // place of the first sample kept
  #taken = 0;
  #given = 0;

  /** `from` and `to` are whole numbers in Hz. */
  constructor(from: number, to: number) {
    const common = divisor(from, to);
    this.#from = from / common;
    this.#to = to / common;
    const scale = Math.min(1, to / from);
    const measured = to === RATE ? KERNELS[from] : undefined;
    const filter = measured ? soxr(...measured, this.#to) : kaiser(scale, this.#from <= 3 && this.#to <= 4 ? SIMPLE : CHAIN);
    this.#half = Math.ceil(filter.half);
    this.#taps = 2 * this.#half;
    this.#exact = this.#to * this.#taps <= LARGEST_TABLE;
    this.#phases = this.#exact ? this.#to : PHASES;
    this.#table = table(this.#phases, this.#half, filter.at);
    this.#kept = new Float32Array(this.#half); // silence before the beginning
    this.#begin = -this.#half;
  }

  /** Take the next samples and return what there is to give by now. */
  push(samples: Float32Array): Float32Array {
    this.#taken += samples.length;
    this.#keep(samples);
    // The filter needs `half` samples after the place of a result.
    const until = Math.ceil(((this.#taken - this.#half) * this.#to) / this.#from);
    return this.#give(Math.max(this.#given, until));
  }

  /** End the stream: what the filter held back. */
  finish(): Float32Array {
    const all = Math.floor((this.#taken * this.#to) / this.#from + 0.5);
    this.#keep(new Float32Array(2 * this.#half));
    return this.#give(Math.max(this.#given, all));
  }

  #keep(samples: Float32Array): void {
    const needed = Math.floor((this.#given * this.#from) / this.#to) - this.#half + 1;
    const drop = Math.min(Math.max(0, needed - this.#begin), this.#kept.length);
    const kept = new Float32Array(this.#kept.length - drop + samples.length);
    kept.set(this.#kept.subarray(drop));
    kept.set(samples, this.#kept.length - drop);
    this.#kept = kept;
    this.#begin += drop;
  }

  #give(until: number): Float32Array {
    const found = new Float32Array(until - this.#given);
    for (let i = 0; i < found.length; i++) {
      const place = (this.#given + i) * this.#from;
      const whole = Math.floor(place / this.#to);
      found[i] = this.#filtered(whole - this.#half + 1 - this.#begin, place - whole * this.#to);
    }
    this.#given = until;
    return found;
  }

  /** The sum of the samples from `first` on, weighted for a place that lies `rest / to` after a sample. */
  #filtered(first: number, rest: number): number {
    const phase = this.#exact ? rest : (rest * this.#phases) / this.#to;
    const low = Math.floor(phase);
    const near = this.#sum(first, low);
    return low === phase ? near : near + (phase - low) * (this.#sum(first, low + 1) - near);
  }

  #sum(first: number, phase: number): number {
    const [kept, table, taps, row] = [this.#kept, this.#table, this.#taps, phase * this.#taps];
    let sum = 0;
    for (let j = 0; j < taps; j++) sum += kept[first + j]! * table[row + j]!;
    return sum;
  }
}

/** A filter: half its length, and its value so far from its middle, both in samples of what comes. */
interface Filter {
  readonly half: number;
  at(away: number): number;
}

/** A sinc with a Kaiser window. */
function kaiser(scale: number, shape: typeof CHAIN): Filter {
  const [cut, whole] = [((1 + PASS) / 2) * scale, bessel(shape.beta)];
  const at = (away: number): number => {
    const side = 1 - ((away * scale) / shape.half) ** 2;
    return side > 0 ? (cut * sinc(cut * away) * bessel(shape.beta * Math.sqrt(side))) / whole : 0;
  };
  return { half: shape.half / scale, at };
}

/** A filter of soxr's, from values at every `step / to` of a sample; what lies between is a whole number of `1 / to`. */
function soxr(step: number, values: string, to: number): Filter {
  const bytes = Uint8Array.from(atob(values), (one) => one.charCodeAt(0));
  const found = new Float32Array(bytes.buffer);
  const weights = Array.from({ length: step }, (_, part) => between(part / step));
  const at = (away: number): number => {
    const place = Math.round(away * to);
    const first = Math.floor(place / step) - BETWEEN.crossings + 1;
    const row = weights[place - Math.floor(place / step) * step]!;
    return row.reduce((sum, one, j) => sum + one * (found[Math.abs(first + j)] ?? 0), 0);
  };
  return { half: (found.length * step) / to, at };
}

/** The weights of the values around a place that lies `part` of a step after one of them. */
function between(part: number): Float64Array {
  const { crossings, beta } = BETWEEN;
  return Float64Array.from({ length: 2 * crossings }, (_, j) => {
    const away = part + crossings - 1 - j;
    const side = 1 - (away / crossings) ** 2;
    return side > 0 ? (sinc(away) * bessel(beta * Math.sqrt(side))) / bessel(beta) : 0;
  });
}

function sinc(x: number): number {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
}

/** The coefficients of each phase and, last, of the next whole sample: of phase p, those for a place p / phases after one. */
function table(phases: number, half: number, filter: (away: number) => number): Float32Array {
  const found = new Float32Array((phases + 1) * 2 * half);
  for (let phase = 0; phase <= phases; phase++) {
    for (let j = 0; j < 2 * half; j++) found[phase * 2 * half + j] = filter(phase / phases + half - 1 - j);
  }
  return found;
}

/** The modified Bessel function of the first kind, of order 0. */
function bessel(x: number): number {
  let [sum, term] = [1, 1];
  for (let k = 1; term > 1e-17 * sum; k++) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}

function divisor(a: number, b: number): number {
  return b ? divisor(b, a % b) : a;
}

/** All of a sound at another rate. */
export function resampled(samples: Float32Array, from: number, to: number): Float32Array {
  const resampler = new Resampler(from, to);
  const first = resampler.push(samples);
  const rest = resampler.finish();
  const all = new Float32Array(first.length + rest.length);
  all.set(first);
  all.set(rest, first.length);
  return all;
}

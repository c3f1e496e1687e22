/** Several channels to one. */

import { AudioError } from "../errors.ts";
import { joined, mean, round } from "../numbers.ts";

/** Seconds of sound by which channels are compared at a time. */
const BLOCK = 0.05;
/**
 * Channels with a correlation below this are one sound upside down: their mean would cancel. In the first moments, where
 * any two voices may happen to go against each other, it takes more, less by so much for each block as loud as the rest.
 */
const [OPPOSITE, DOUBT] = [-0.5, 0.05];
/** Two channels hold different voices where their sound and its envelope are less alike than this. */
const [UNLIKE, UNLIKE_ENVELOPE] = [0.3, 0.7];
/** Two channels are compared when both are within this of each other in energy, and after so many blocks. */
const [QUIETER, ENOUGH] = [1e-3, 40];
/** More channels than these are averaged as they are: an array of microphones. */
const MOST = 16;

/**
 * Mixes what comes into one channel.
 *
 * A channel that is another one upside down is turned over before the mean is taken. The decision is taken for each
 * 50 ms by all that has been heard so far, those included, so that the cut into pieces changes nothing.
 */
export class Downmix {
  /** What there is to say about the channels. */
  readonly notes: string[] = [];
  readonly #channel: number | null;
  readonly #channels: number;
  readonly #compare: boolean;
  readonly #size: number;
  #rest: Float32Array[];
  readonly #gram: number[][];
  readonly #energy = [0, 0]; // of the blocks, and its squares
  #signs: number[];
  readonly #moments = [0, 0, 0, 0, 0, 0]; // number, sums, squares and product of the envelopes of two channels

  /** `channel` is the one that is wanted, the first is 1; null for the mean of all. */
  constructor(rate: number, channels: number, channel: number | null = null, name = "the sound") {
    if (channel !== null && !(channel >= 1 && channel <= channels)) {
      const there = channels === 1 ? "one channel" : `${channels} channels`;
      throw new AudioError(`${name} has ${there}: there is no channel ${channel}`);
    }
    this.#channel = channel;
    this.#channels = channels;
    this.#compare = channel === null && channels > 1 && channels <= MOST;
    this.#size = Math.max(1, round(BLOCK * rate));
    this.#rest = Array.from({ length: channels }, () => new Float32Array(0));
    this.#gram = Array.from({ length: channels }, () => new Array<number>(channels).fill(0));
    this.#signs = new Array<number>(channels).fill(1);
  }

  /** Take samples, an array a channel; return what is mixed by now. */
  push(samples: readonly Float32Array[]): Float32Array {
    if (this.#channel !== null) return samples[this.#channel - 1]!;
    if (this.#channels === 1) return samples[0]!;
    if (!this.#compare) return average(samples, samples.map(() => 1));
    const waiting = samples.map((one, at) => joined([this.#rest[at]!, one]));
    const whole = Math.floor(waiting[0]!.length / this.#size) * this.#size;
    this.#rest = waiting.map((one) => one.slice(whole));
    const found: Float32Array[] = [];
    for (let at = 0; at < whole; at += this.#size) {
      found.push(this.#mixed(waiting.map((one) => one.subarray(at, at + this.#size))));
    }
    return joined(found);
  }

  /** End the sound: what was held back. */
  finish(): Float32Array {
    const rest = this.#rest;
    this.#rest = rest.map(() => new Float32Array(0));
    const mixed = rest[0]!.length ? this.#mixed(rest) : new Float32Array(0);
    if (this.#compare && this.#different()) {
      this.notes.push("its two channels hold different voices: judge them one by one");
    }
    return mixed;
  }

  #mixed(block: readonly Float32Array[]): Float32Array {
    const heard = this.#gram.some((row, at) => row[at]! > 0);
    this.#measure(block);
    const signs = signsOf(this.#gram, this.#energy[0]! ** 2 / Math.max(this.#energy[1]!, Number.MIN_VALUE));
    const before = heard ? this.#signs : signs;
    this.#signs = signs;
    signs.forEach((sign, at) => {
      const text = `channel ${at + 1} is upside down, and was turned over before the channels were mixed`;
      if (sign < 0 && !this.notes.includes(text)) this.notes.push(text);
    });
    return average(block, signs, before);
  }

  /** Add a block to what is known of the channels. */
  #measure(block: readonly Float32Array[]): void {
    const centred = block.map((one) => {
      const middle = Math.fround(mean(one));
      return one.map((value) => value - middle);
    });
    const gram = centred.map((one) => centred.map((other) => one.reduce((sum, value, i) => sum + value * other[i]!, 0)));
    gram.forEach((row, i) => row.forEach((value, j) => (this.#gram[i]![j]! += value)));
    const power = gram.reduce((sum, row, i) => sum + row[i]!, 0);
    this.#energy[0]! += power;
    this.#energy[1]! += power ** 2;
    if (this.#channels !== 2) return;
    const size = block[0]!.length;
    const [first, second] = [0, 1].map((at) => Math.sqrt(Math.max(0, gram[at]![at]! / size))) as [number, number];
    const products = [1, first, second, first ** 2, second ** 2, first * second];
    products.forEach((value, at) => (this.#moments[at]! += value));
  }

  /** Whether two channels hold different voices. */
  #different(): boolean {
    const [count, first, second, first2, second2, both] = this.#moments as [number, number, number, number, number, number];
    const energies = this.#gram.map((row, at) => row[at]!);
    const [soft, loud] = [Math.min(...energies), Math.max(...energies)];
    if (this.#channels !== 2 || count < ENOUGH || soft <= QUIETER * loud) return false;
    const alike = Math.abs(this.#gram[0]![1]!) / Math.sqrt(energies[0]! * energies[1]!);
    const spread = Math.sqrt(Math.max(0, count * first2 - first ** 2) * Math.max(0, count * second2 - second ** 2));
    const together = spread > 0 ? (count * both - first * second) / spread : 1;
    return alike < UNLIKE && together < UNLIKE_ENVELOPE;
  }
}

/** The mean of channels times their signs; a change of sign is spread over a tenth of the block, so that it makes no click. */
function average(block: readonly Float32Array[], signs: readonly number[], before = signs): Float32Array {
  const size = block[0]!.length;
  const found = new Float32Array(size);
  for (let i = 0; i < size; i++) {
    const ramp = Math.min(1, (i * 10) / size);
    let sum = 0;
    for (let at = 0; at < block.length; at++) {
      sum += block[at]![i]! * (before[at]! + (signs[at]! - before[at]!) * ramp);
    }
    found[i] = sum / block.length;
  }
  return found;
}

/** Which channels are others upside down by so many blocks, softer ones counted as less: -1 for those, 1 for others. */
function signsOf(gram: readonly number[][], blocks: number): number[] {
  const energies = gram.map((row, at) => row[at]!);
  const loud = Math.max(...energies);
  const cross = gram[energies.indexOf(loud)]!;
  const limit = Math.min(OPPOSITE, DOUBT * blocks - 1);
  const signs = energies.map((energy, at) => (cross[at]! < limit * Math.sqrt(energy * loud) ? -1 : 1));
  return signs.map((sign) => sign * signs[0]!); // by the first channel, because which is the loudest may change
}

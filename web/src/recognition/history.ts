/** The last samples of a stream and how probably they are speech, found by their place in it. */

import { joined } from "../numbers.ts";
import { FRAME } from "../speech/level.ts";
import { RATE, type Waveform, waveform } from "../types.ts";

/** Keeps what may still be asked for of a stream. */
export class History {
  #samples: Float32Array = new Float32Array(RATE);
  #begin = 0;
  #size = 0;
  #speech: Float32Array = new Float32Array(0); // of the frames from the one that #begin lies in

  /** Where the frames end whose probability is known; at the end of the stream the last one is not full. */
  get told(): number {
    return (Math.floor(this.#begin / FRAME) + this.#speech.length) * FRAME;
  }

  /** How many samples have been appended in all. */
  get end(): number {
    return this.#begin + this.#size;
  }

  /** Add the next samples, and the probabilities of the frames that they complete. */
  append(piece: Float32Array, speech: Float32Array): void {
    this.#speech = joined([this.#speech, speech]);
    const size = this.#size + piece.length;
    if (size > this.#samples.length) {
      const grown = new Float32Array(Math.max(size, 2 * this.#samples.length));
      grown.set(this.#samples.subarray(0, this.#size));
      this.#samples = grown;
    }
    this.#samples.set(piece, this.#size);
    this.#size = size;
  }

  /** Forget what lies before a place. */
  drop(before: number): void {
    const count = Math.min(Math.max(0, before - this.#begin), this.#size);
    this.#samples.copyWithin(0, count, this.#size);
    const frames = Math.floor((this.#begin + count) / FRAME) - Math.floor(this.#begin / FRAME);
    this.#speech = this.#speech.slice(frames);
    this.#begin += count;
    this.#size -= count;
  }

  /** What is known between two places: a copy. */
  stretch(begin: number, end: number): Waveform {
    const first = Math.max(begin, this.#begin);
    const last = Math.min(end, this.end);
    const samples = this.#samples.slice(first - this.#begin, last - this.#begin);
    const speech = end <= this.told ? this.speech(Math.floor(first / FRAME), Math.ceil(end / FRAME)) : null;
    return waveform(samples, first / RATE, speech);
  }

  /** The probabilities of the frames of the stream from number `first` to before `last`: a copy. */
  speech(first: number, last: number): Float32Array {
    const begin = Math.floor(this.#begin / FRAME);
    return this.#speech.slice(first - begin, last - begin);
  }
}

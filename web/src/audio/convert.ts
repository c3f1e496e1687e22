/** Samples of any rate and number of channels to 16 kHz mono, piece by piece. */

import { AudioError } from "../errors.ts";
import { joined } from "../numbers.ts";
import { RATE } from "../types.ts";
import { Downmix } from "./downmix.ts";
import { Resampler } from "./resample.ts";

/** Sampling rates that a recording may have, in Hz. */
const [MIN_RATE, MAX_RATE] = [1_000, 768_000];
/** Largest sample accepted: from about 1e16 on, powers no longer fit single precision. */
const LOUDEST = 1e12;

/** One channel, or an array for each: floating-point numbers with full scale 1, or 16-bit integers. */
export type Sound = Float32Array | Int16Array | readonly (Float32Array | Int16Array)[];

/** The channels of a sound as floating-point numbers. */
export function channelsOf(sound: Sound): Float32Array[] {
  const parts = Array.isArray(sound) ? (sound as readonly (Float32Array | Int16Array)[]) : [sound as Float32Array];
  return parts.map((one) => (one instanceof Int16Array ? Float32Array.from(one, (value) => value / 32768) : one));
}

/** Brings sound that goes on to 16 kHz mono, files and streams alike; the cut into pieces changes nothing. */
export class Converter {
  readonly name: string;
  readonly #rate: number;
  readonly #channels: number;
  readonly #mix: Downmix;
  readonly #resampler: Resampler | null;
  #frames = 0;

  /** `channel` is the one that is wanted, the first is 1; null for the mean of all. */
  constructor(rate: number, channels = 1, name = "the stream", channel: number | null = null) {
    if (!(rate >= MIN_RATE && rate <= MAX_RATE) || rate !== Math.floor(rate)) {
      throw new AudioError(
        `${name} has a sampling rate of ${rate} Hz: expected a whole number from ${MIN_RATE} to ${MAX_RATE}, ` +
          "correct it or convert the recording",
      );
    }
    if (!(channels >= 1)) throw new AudioError(`${name} cannot have ${channels} channels: expected 1 or more`);
    this.name = name;
    this.#rate = rate;
    this.#channels = channels;
    this.#mix = new Downmix(rate, channels, channel, name);
    this.#resampler = rate === RATE ? null : new Resampler(rate, RATE);
  }

  /** What there is to say about the channels: grows as they are heard. */
  get notes(): string[] {
    return this.#mix.notes;
  }

  /** Take the next samples and return what there is to give at 16 kHz by now. */
  push(sound: Sound): Float32Array {
    const channels = channelsOf(sound);
    if (channels.length !== this.#channels || channels.some((one) => one.length !== channels[0]!.length)) {
      throw new AudioError(
        `${this.name} gave ${channels.length} channels of ${channels.map((one) => one.length).join(", ")} samples: ` +
          `expected ${this.#channels} of one length`,
      );
    }
    channels.forEach((one) => this.#check(one));
    this.#frames += channels[0]!.length;
    return this.#resampled(this.#mix.push(channels));
  }

  /** End the sound: what the filters held back. */
  finish(): Float32Array {
    const last = this.#resampled(this.#mix.finish());
    return this.#resampler ? joined([last, this.#resampler.finish()]) : last;
  }

  #resampled(mono: Float32Array): Float32Array {
    return this.#resampler ? this.#resampler.push(mono) : mono;
  }

  /** Refuse what is not a finite number: a comparison with NaN, which is never true, ends in the error. */
  #check(samples: Float32Array): void {
    for (let i = 0; i < samples.length; i++) {
      if (!(Math.abs(samples[i]!) <= LOUDEST)) {
        throw new AudioError(
          `${this.name} has a sample of ${samples[i]} at ${((this.#frames + i) / this.#rate).toFixed(3)} s: ` +
            "samples must be finite numbers with full scale 1, export it again",
        );
      }
    }
  }
}

/** All of a sound at 16 kHz mono, and what there is to say about its channels. */
export function converted(
  sound: Sound,
  rate: number,
  name: string,
  channel: number | null = null,
): { samples: Float32Array; notes: string[] } {
  const channels = channelsOf(sound);
  const converter = new Converter(rate, channels.length, name, channel);
  const samples = joined([converter.push(channels), converter.finish()]);
  return { samples, notes: converter.notes };
}

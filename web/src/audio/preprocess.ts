/** Cleaning a waveform before anything is measured on it, as a model's card asks for. */

import { AudioError, ModelError } from "../errors.ts";
import { largest, mean, round } from "../numbers.ts";
import { duration, RATE, type Waveform } from "../types.ts";

/** Shortest recording that is analysed, in seconds. */
export const MIN_DURATION = 0.1;

/** The steps of Python's `PreprocessOptions`, as cards carry them. */
export interface PreprocessOptions {
  /** Remove the constant offset. */
  dc: boolean;
  denoise: boolean;
  /** Cut silence off both ends: below this many dB under the loudest 20 ms; seconds of it that stay. */
  trim: boolean;
  trim_threshold: number;
  trim_margin: number;
  level: "none" | "peak" | "loudness";
  /** Largest absolute sample afterwards, in dBFS. */
  peak: number;
}

/** Refuse steps that the browser does not compute: another front end than the model was trained with gives other answers. */
export function requireSteps(options: PreprocessOptions, model: string): void {
  if (options.denoise || options.level === "loudness") {
    const step = options.denoise ? "noise reduction" : "loudness normalisation";
    throw new ModelError(`model '${model}' asks for ${step}, which is not computed here: use it with Python's emovox`);
  }
}

/** Clean samples at 16 kHz: offset, silence at the ends, level, in this order. */
export function preprocess(samples: Float32Array, options: PreprocessOptions): Float32Array {
  let found = samples;
  if (options.dc) found = removeDc(found);
  if (options.trim) found = trimSilence(found, options.trim_threshold, options.trim_margin);
  return options.level === "peak" ? normalisePeak(found, options.peak) : found;
}

/** Subtract the mean. */
export function removeDc(samples: Float32Array): Float32Array {
  const middle = Math.fround(mean(samples));
  return samples.map((one) => one - middle);
}

/** Scale so that the largest absolute sample has a level in dBFS; silence is given back as it is. */
export function normalisePeak(samples: Float32Array, level: number): Float32Array {
  const peak = samples.reduce((most, one) => Math.max(most, Math.abs(one)), 0);
  const gain = Math.fround(10 ** (level / 20));
  return peak > 0 ? samples.map((one) => Math.fround(one / peak) * gain) : samples;
}

/** Cut silence off both ends: frames of 20 ms so many dB below the loudest, but for so many seconds. */
export function trimSilence(samples: Float32Array, threshold: number, margin: number): Float32Array {
  const hop = RATE / 100;
  const steps = new Float64Array(Math.ceil(samples.length / hop) + 1);
  for (let i = 0; i < samples.length; i++) steps[Math.floor(i / hop)]! += samples[i]! ** 2;
  const frames = steps.subarray(1).map((one, at) => one + steps[at]!);
  const least = largest(frames, 0) * 10 ** (-threshold / 10);
  const first = frames.findIndex((one) => one > least);
  if (first < 0) return samples;
  const last = frames.findLastIndex((one) => one > least);
  const kept = round(margin * RATE);
  return samples.slice(Math.max(0, first * hop - kept), Math.min(samples.length, (last + 2) * hop + kept));
}

/** Make sure that there is something to analyse; returns what is wrong, or null. */
export function noSignal(waveform: Waveform, name: string): AudioError | null {
  const seconds = duration(waveform);
  if (seconds < MIN_DURATION) {
    return new AudioError(
      `${name} lasts ${seconds.toFixed(3)} s, too short to analyse: give at least ${MIN_DURATION} s of sound`,
    );
  }
  return waveform.samples.some((one) => one !== 0)
    ? null
    : new AudioError(`${name} is silent, every sample is zero: check the microphone or the export`);
}

/** Is there speech in this at all? Music, noise, tones and silence are refused before anything is recognised in them. */

import { resampled } from "../audio/resample.ts";
import { InputError } from "../errors.ts";
import { powerSpectra } from "../features/analysis.ts";
import { joined, largest, mean, round } from "../numbers.ts";
import type { Session } from "../session.ts";
import { RATE, type Waveform } from "../types.ts";
import { FRAME } from "./level.ts";
import { SpeechProbability } from "./vad.ts";

/** Smallest probability that counts as speech, unless another one is asked for. */
export const THRESHOLD = 0.4;
/** Root mean square to which the loudest 0.2 s are brought: the answer does not depend on the level. */
const LEVEL = 0.1;
/** Power below which there is nothing to bring to a level: digital silence. */
const SILENT = 1e-12;
/** Frames this many dB below the loudest count as quiet. */
const QUIET = 25;
/** Band of the telephone, in Hz. */
const BAND = [250, 3400] as const;
/** Length of the transform that looks into it. */
const TRANSFORM = 1024;
/** Log-odds beyond which Silero is as sure as can be. */
const SURE = 6.9;
/** How much slower the sound is heard the second time. */
const SLOWER = 1.5;
/** Mean log-odds from which Silero alone decides, and the second hearing is saved. */
const CERTAIN = 2;
/** Weights and bias of the logistic rule: those of Python's gate, which `benchmarks/speech_gate.py` fits. */
const WEIGHTS = [0.317, 0.312, 0.299, 0.307, 0.183, 0.376, 0.295];
const BIAS = -0.395;

/** Check how sure the gate must be: the smallest probability that counts as speech; 0 accepts everything. */
export function gateThreshold(threshold = THRESHOLD): number {
  if (threshold >= 0 && threshold <= 1) return threshold;
  throw new InputError(`threshold is ${threshold}: expected a probability from 0 to 1`);
}

/** Tell whether somebody speaks in a window: aloud, shouting or whispering. */
export async function isSpeech(network: Session, window: Waveform, threshold: number): Promise<boolean> {
  return threshold === 0 || (await speechProbability(network, window)) >= threshold;
}

/** Probability that somebody speaks in a window; 0 for digital silence, 1 where Silero is certain. */
export async function speechProbability(network: Session, window: Waveform): Promise<number> {
  const sound = levelled(window.samples);
  if (!sound) return 0;
  const lead = round(window.start * RATE) % FRAME;
  const heard = await hear(network, sound, window.speech, lead, 1);
  if (heard[0] >= CERTAIN) return 1;
  const slow = await hear(network, resampled(sound, RATE, RATE * SLOWER), null, 0, SLOWER);
  const measures = [...heard, ...slow, ...movement(sound)];
  const odds = measures.reduce((sum, one, at) => sum + one * WEIGHTS[at]!, BIAS);
  return 1 / (1 + Math.exp(-odds));
}

/** Bring the loudest 0.2 s to the common level; null where there is nothing. */
function levelled(samples: Float32Array): Float32Array | null {
  if (!samples.length) return null;
  const middle = Math.fround(mean(samples));
  const centred = samples.map((one) => one - middle);
  const length = Math.min(samples.length, RATE / 5);
  const total = new Float64Array(samples.length + 1);
  for (let i = 0; i < centred.length; i++) total[i + 1] = total[i]! + centred[i]! ** 2;
  let loudest = 0;
  for (let i = length; i < total.length; i++) loudest = Math.max(loudest, total[i]! - total[i - length]!);
  loudest /= length;
  const gain = LEVEL / Math.sqrt(loudest);
  return loudest < SILENT ? null : centred.map((one) => one * gain);
}

/**
 * Silero's log-odds: mean over the loud frames, and largest mean over 0.32 s of the original.
 *
 * `speech` are the probabilities of the frames where they are known; the first began `lead` samples before the sound.
 */
async function hear(
  network: Session,
  sound: Float32Array,
  speech: Float32Array | null,
  lead: number,
  slower: number,
): Promise<[number, number]> {
  if (!speech) {
    const stream = new SpeechProbability(network, false);
    [speech, lead] = [joined([await stream.push(sound), await stream.finish()]), 0];
  }
  const odds = Array.from(speech, (p) => Math.min(SURE, Math.max(-SURE, Math.log(p) - Math.log1p(-p))));
  const power = new Array<number>(odds.length).fill(0);
  for (let i = 0; i < sound.length; i++) power[Math.floor((lead + i) / FRAME)]! += sound[i]! ** 2;
  const loud = loudOf(power);
  const width = Math.min(round(10 * slower), odds.length);
  const moments = odds.slice(width - 1).map((_, at) => mean(odds.slice(at, at + width)));
  return [mean(odds.filter((_, at) => loud[at])), largest(moments)];
}

/** Which frames are loud. */
function loudOf(power: readonly number[]): boolean[] {
  const least = largest(power) * 10 ** (-QUIET / 10);
  return power.map((one) => one >= least);
}

/** Dynamics, flatness and movement of the spectrum in the telephone band. */
function movement(sound: Float32Array): [number, number, number] {
  const [low, high] = BAND.map((edge) => round((edge * TRANSFORM) / RATE)) as [number, number];
  const band = powerSpectra(sound, TRANSFORM, FRAME).map((one) => Array.from(one.subarray(low, high), (bin) => bin + 1e-6));
  const level = band.map(mean);
  const loud = loudOf(level);
  const decibels = level.map((one) => 10 * Math.log10(one));
  const flatness = band.map((one, at) => mean(one.map(Math.log)) - Math.log(level[at]!));
  const shapes = band.map(shape);
  const change: number[] = [];
  for (let at = 3; at < shapes.length; at++) {
    if (loud[at] && loud[at - 3]) change.push(mean(shapes[at]!.map((one, i) => Math.abs(one - shapes[at - 3]![i]!))));
  }
  const top = largest(decibels) - 40;
  const levels = decibels.map((one) => Math.max(one, top));
  return [deviation(levels), mean(flatness.filter((_, at) => loud[at])), mean(change)];
}

/** A spectrum in dB by groups of six bins, around its mean. */
function shape(band: readonly number[]): number[] {
  const groups = Array.from({ length: Math.floor(band.length / 6) }, (_, at) => {
    return 10 * Math.log10(mean(band.slice(6 * at, 6 * at + 6)));
  });
  const middle = mean(groups);
  return groups.map((one) => one - middle);
}

function deviation(values: readonly number[]): number {
  const middle = mean(values);
  return Math.sqrt(mean(values.map((one) => (one - middle) ** 2)));
}

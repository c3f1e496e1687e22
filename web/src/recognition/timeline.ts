/** The emotions of a whole recording in the order of time: how it is cut, means and tidying of judgements, summary. */

import { combine, decide, TOO_SHORT, tooShort } from "../decision.ts";
import { InputError } from "../errors.ts";
import { type VadOptions, vadOptions } from "../speech/vad.ts";
import type { Prediction, Segment } from "../types.ts";

/** The default rule of timelines: it hears soft speech, and finds boundaries to 8 ms. */
const SOFT: VadOptions = { on: 0.3, off: 0.1, min_speech: 0.25, min_silence: 0.4, padding: 0, reach: 0.4 };
/** Two segments closer than this, in seconds, touch: less than a sample, more than a rounding error. */
const TOUCH = 1e-5;

/** How sound that goes on, a stream or a long recording, is cut and judged; all but `mode` in seconds. */
export interface TimelineOptions {
  /** A judgement for each utterance, or for each interval of `hop` seconds in which somebody speaks. */
  mode: "utterance" | "interval";
  /** Longest stretch that is judged at once, 0.3 to 30; 6. */
  window: number;
  /** From one judgement to the next, 0.1 to `window`; 1. */
  hop: number;
  /** Time constant of exponential smoothing of the probabilities; 0 smooths nothing. */
  smoothing: number;
  /** Equal neighbours with a pause of at most so long become one segment; null keeps every segment as it was judged. */
  merge: number | null;
  /** A segment that is shorter takes the judgement of the longer of the neighbours that it touches. */
  min_segment: number;
  vad: VadOptions;
}

/** What may be asked for of it. */
export type Cut = Partial<Omit<TimelineOptions, "vad">> & { vad?: Partial<VadOptions> };

/** Complete and check options. */
export function timelineOptions(given: Cut = {}): TimelineOptions {
  const defaults = { mode: "utterance" as const, window: 6, hop: 1, smoothing: 0, merge: null, min_segment: 0 };
  const found = { ...defaults, ...given, vad: vadOptions(given.vad ?? {}, SOFT) };
  if (found.mode !== "utterance" && found.mode !== "interval") {
    throw new InputError(`mode is '${String(found.mode)}': expected one of utterance, interval`);
  }
  const limits = { window: [0.3, 30], hop: [0.1, found.window], smoothing: [0, 600], min_segment: [0, 60] } as const;
  const range = (name: string, value: number, [low, high]: readonly [number, number]): void => {
    if (!(value >= low && value <= high)) {
      throw new InputError(`${name} is ${value}: expected seconds from ${low} to ${high}`);
    }
  };
  for (const name of ["window", "hop", "smoothing", "min_segment"] as const) range(name, found[name], limits[name]);
  if (found.merge !== null) range("merge", found.merge, [0, 600]);
  return found;
}

/** What a recording expresses, segment by segment. */
export interface Timeline {
  file: string;
  /** Length of the recording in seconds. */
  duration: number;
  /** In order of time; empty where nobody speaks. */
  predictions: Prediction[];
  /** Segments that were given, and in which there is nothing to judge. */
  unjudged: Segment[];
}

/** A recording in a few numbers; shares are of the judged time. */
export interface Summary {
  file: string;
  duration: number;
  judged: number;
  segments: number;
  abstained: number;
  share: Record<string, number>;
  transitions: { from: string; to: string; count: number }[];
  strongest: Record<string, Prediction>;
  dimensions: Record<string, number> | null;
}

/** Make the summary of a timeline. */
export function summarise(timeline: Timeline): Summary {
  const parts = timeline.predictions;
  const named = parts.filter((one) => one.label);
  const seconds = (some: readonly Prediction[]): number => some.reduce((sum, one) => sum + one.end - one.start, 0);
  const judged = seconds(parts);
  const labels = [...new Set(named.map((one) => one.label))];
  const times = labels.map((label) => [label, seconds(named.filter((one) => one.label === label))] as const);
  const ranked = times.sort((a, b) => b[1] - a[1]);
  return {
    file: timeline.file,
    duration: timeline.duration,
    judged,
    segments: parts.length,
    abstained: judged ? seconds(parts.filter((one) => one.abstained)) / judged : 0,
    share: Object.fromEntries(ranked.map(([label, time]) => [label, time / judged])),
    transitions: transitions(named),
    strongest: Object.fromEntries(ranked.map(([label]) => [label, strongest(named, label)])),
    dimensions: meanDimensions(parts, parts.map((one) => one.end - one.start)),
  };
}

function transitions(named: readonly Prediction[]): Summary["transitions"] {
  const counts = new Map<string, Summary["transitions"][number]>();
  named.slice(1).forEach((one, at) => {
    const before = named[at]!.label;
    if (before === one.label) return;
    const key = JSON.stringify([before, one.label]);
    const known = counts.get(key) ?? { from: before, to: one.label, count: 0 };
    counts.set(key, { ...known, count: known.count + 1 });
  });
  return [...counts.values()].sort((a, b) => b.count - a.count);
}

function strongest(named: readonly Prediction[], label: string): Prediction {
  return named
    .filter((one) => one.label === label)
    .reduce((most, one) => (one.confidence > most.confidence ? one : most));
}

/**
 * Average judgements by the same model, weighted.
 *
 * The result is the last one with the mean and what is decided by it. An abstention for too little speech remains one
 * only where all are.
 */
export function blended(parts: readonly Prediction[], weights: readonly number[], threshold: number): Prediction {
  const last = parts.at(-1)!;
  const labels = Object.keys(last.probabilities);
  const mean = combine(parts.map((one) => labels.map((label) => one.probabilities[label]!)), weights);
  const { label, confidence, abstained } = decide(mean, labels, threshold);
  const short = parts.every(tooShort);
  const why = (last.why ?? []).filter((line) => short || !line.startsWith(TOO_SHORT));
  return {
    ...last,
    label,
    probabilities: Object.fromEntries(labels.map((name, at) => [name, mean[at]!])),
    confidence,
    abstained: abstained || short,
    dimensions: meanDimensions(parts, weights),
    why: why.length ? why : null,
  };
}

function meanDimensions(parts: readonly Prediction[], weights: readonly number[]): Record<string, number> | null {
  const names = Object.keys(parts.at(-1)?.dimensions ?? {});
  if (!names.length) return null;
  const total = weights.reduce((sum, one) => sum + one, 0);
  const mean = (name: string): number =>
    parts.reduce((sum, one, at) => sum + one.dimensions![name]! * weights[at]!, 0) / total;
  return Object.fromEntries(names.map((name) => [name, mean(name)]));
}

/** Exponential smoothing of judgements that follow each other at any distance, with a time constant in seconds. */
export class Smoother {
  readonly #seconds: number;
  readonly #judge: { readonly threshold: number };
  #before: Prediction | null = null;

  constructor(seconds: number, judge: { readonly threshold: number }) {
    this.#seconds = seconds;
    this.#judge = judge;
  }

  /** Begin anew. */
  forget(): void {
    this.#before = null;
  }

  /** Take the next judgement and return it with what remains of those before it. */
  smoothed(one: Prediction): Prediction {
    if (this.#seconds && this.#before) {
      const kept = Math.exp(-(one.end - this.#before.end) / this.#seconds);
      one = blended([this.#before, one], [kept, 1 - kept], this.#judge.threshold);
    }
    this.#before = one;
    return one;
  }
}

/** Let segments that are too short join a neighbour, then equal neighbours each other. */
export function tidied(predictions: readonly Prediction[], options: TimelineOptions): Prediction[] {
  const reach = TOUCH + (options.merge ?? 0);
  const parts = options.min_segment
    ? predictions.map((_, at) => supported(predictions, at, reach, options.min_segment))
    : [...predictions];
  if (options.merge === null) return parts;
  const groups: Prediction[][] = [];
  for (const one of parts) {
    const last = groups.at(-1)?.at(-1);
    const same = last && last.label === one.label && last.abstained === one.abstained;
    if (same && one.start - last.end <= reach) groups.at(-1)!.push(one);
    else groups.push([one]);
  }
  return groups.map((group) => (group.length > 1 ? joined(group) : group[0]!));
}

/** Give a segment that is too short the judgement of its longest neighbour in reach. */
function supported(parts: readonly Prediction[], index: number, reach: number, shortest: number): Prediction {
  const one = parts[index]!;
  if (one.end - one.start >= shortest) return one;
  const before = parts.slice(Math.max(0, index - 1), index).filter((other) => one.start - other.end <= reach);
  const after = parts.slice(index + 1, index + 2).filter((other) => other.start - one.end <= reach);
  const length = (other: Prediction): number => other.end - other.start;
  const near = [...before, ...after].reduce((most, other) => (length(other) > length(most) ? other : most), one);
  if (near === one || length(near) < shortest) return one;
  const { label, probabilities, confidence, abstained, dimensions } = near;
  return { ...one, label, probabilities, confidence, abstained, dimensions, fusion: null, why: shared([one, near]) };
}

/** Make one segment of some with the same label and certainty. */
function joined(group: readonly Prediction[]): Prediction {
  const mean = blended(group, group.map((one) => one.end - one.start), 0);
  const { probabilities, confidence, dimensions } = mean;
  return { ...group[0]!, end: group.at(-1)!.end, probabilities, confidence, dimensions, why: shared(group) };
}

/** Keep the lines that hold for all segments. */
function shared(group: readonly Prediction[]): string[] | null {
  const lines = (group[0]!.why ?? []).filter((line) => group.every((one) => (one.why ?? []).includes(line)));
  return lines.length ? lines : null;
}

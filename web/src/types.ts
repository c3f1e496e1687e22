/** The values that travel between the stages; shapes and units are stated here. */

/** Sampling rate of everything after `audio`, in Hz. */
export const RATE = 16000;

/** Mono speech at 16 kHz. */
export interface Waveform {
  /** Finite values, nominally in [-1, 1]. */
  samples: Float32Array;
  /** Where this stretch begins in its recording, in seconds. */
  start: number;
  /** Probability of speech of each frame of 512 samples that it touches, where voice activity detection has heard it. */
  speech: Float32Array | null;
}

/** A waveform of nothing but samples. */
export function waveform(samples: Float32Array, start = 0, speech: Float32Array | null = null): Waveform {
  return { samples, start, speech };
}

/** Length of a waveform in seconds. */
export function duration(one: Waveform): number {
  return one.samples.length / RATE;
}

/** The setting against which an answer was made. */
export interface Setting {
  /** Of its profile; `"auto"` where the recording was its own setting. */
  name: string;
  /** How many utterances of it had been heard. */
  heard: number;
}

/** A stretch of a recording that is to be judged. */
export interface Segment {
  /** In seconds from the beginning of the recording. */
  start: number;
  end: number;
  speaker?: string | null;
  /** What else is known about it, carried along into the prediction. */
  columns?: Readonly<Record<string, string>> | null;
}

/** The emotion of one stretch of one recording: the JSON of Python's `Prediction`, key by key. */
export interface Prediction {
  file: string;
  /** The stretch, in seconds from the beginning of the recording. */
  start: number;
  end: number;
  /** Most probable emotion. */
  label: string;
  /** One for each of the model's labels, in the model's order; they sum to 1. */
  probabilities: Record<string, number>;
  /** Probability of `label`. */
  confidence: number;
  /** Treat the answer as "don't know": not sure enough, or too little speech (`why` tells). */
  abstained: boolean;
  model: string;
  speaker: string | null;
  transcript: null;
  words: null;
  linguistic: null;
  fusion: null;
  why: string[] | null;
  baseline: string | null;
  channel: number | null;
  dimensions: Record<string, number> | null;
  unread: [];
  notes: string[];
  columns: Readonly<Record<string, string>> | null;
  setting: Setting | null;
}

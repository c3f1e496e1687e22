/** Profiles of voices and settings: the JSON files of `emovox enroll` and `emovox adapt`, which hold no sound. */

import { ModelError, ProfileError } from "../errors.ts";
import { Statistics } from "./baselines.ts";
import type { Model } from "./file.ts";

/** Version of the file's structure that is written: that of Python, but that no voice prints are taken. */
const FORMAT_VERSION = 4;
/** Versions that are read. */
const READ = [2, 3, 4];
/** Least speech that makes the baseline of a speaker, in seconds. */
const LEAST_SPEECH = 1;
/** Least that makes the baseline of a setting: seconds of speech, or as many recordings. */
const [LEAST_OF_SETTING, LEAST_RECORDINGS] = [10, 3];

/** What a profile can be of. */
export type Subject = "speaker" | "setting";

/** What a setting or the voice of a speaker is ordinarily like, as one model hears it: the file of Python, key by key. */
export interface Profile {
  kind: Subject;
  name: string;
  model: string;
  fingerprint: string;
  clips: number;
  seconds: number;
  count: number;
  mean: number[];
  variance: number[];
  setting: string | null;
  /** A speaker's voice print and who took it: Python's, which nothing is done with here. */
  voice?: number[] | null;
  encoder?: string | null;
  /** Whether the speech of a speaker is known to be neutral. */
  neutral?: boolean;
  created: string;
  software: string;
  format_version: number;
}

/** Make the input `baseline` of a model: what is known of setting and speaker. */
export function baseline(model: Model, setting: Statistics | null, speaker: Statistics | null): Float32Array {
  requireBaseline(model);
  const levels = [setting, speaker].map((one) => (one ?? Statistics.of([], model.axesWidth)).packed());
  return Float32Array.from(levels.flat());
}

/** The statistics of a profile, sure to be of a kind and made with this very model. */
export function statisticsOf(profile: Profile, model: Model, kind: Subject): Statistics {
  requireBaseline(model);
  const wrong = complaint(profile, model, kind);
  if (wrong) throw new ProfileError(`profile '${profile.name}' ${wrong}: make it again`);
  // A negative count says to the model that the speech is known to be neutral.
  const count = profile.neutral ? -profile.count : profile.count;
  return new Statistics(count, profile.mean, profile.variance);
}

function complaint(profile: Profile, model: Model, kind: Subject): string {
  if (!READ.includes(profile.format_version)) return `has format ${profile.format_version}, not ${READ.join(" or ")}`;
  if (profile.kind !== kind) return `is of a ${profile.kind}, not of a ${kind}`;
  if (profile.fingerprint !== model.fingerprint) {
    return `was made with another model ('${profile.model}', ${profile.fingerprint.slice(0, 8)}; this is ` +
      `'${model.card.name}', ${model.fingerprint.slice(0, 8)})`;
  }
  const numbers = [profile.count, ...profile.mean, ...profile.variance];
  const whole = profile.mean.length === model.axesWidth && profile.variance.length === model.axesWidth;
  return whole && profile.count >= 1 && numbers.every(Number.isFinite) ? "" : "is damaged";
}

/** Make sure that a model can use a baseline. */
export function requireBaseline(model: Model): void {
  if (!model.takesBaseline) {
    throw new ModelError(`model '${model.card.name}' takes no baseline: use a model that does, or no setting and no speaker`);
  }
}

/** Make sure that a model makes use of a speaker's speech that is known to be neutral. */
export function requireNeutral(kind: Subject, model: Model): void {
  if (kind === "setting") throw new ProfileError("a setting has no mood: leave out neutral");
  if (model.card.neutral_threshold === null) {
    throw new ModelError(
      `model '${model.card.name}' makes no difference between neutral and other speech of a speaker: leave out neutral`,
    );
  }
}

/** Make a profile of what a model heard in `clips` recordings with so many seconds of speech. */
export function build(
  kind: Subject,
  name: string,
  model: Model,
  heard: { statistics: Statistics; clips: number; seconds: number; neutral: boolean },
): Profile {
  const { statistics, clips, seconds, neutral } = heard;
  if (!/^[\p{L}\p{M}\p{N}_-]+$/u.test(name) || name === "auto") {
    throw new ProfileError(`a ${kind} cannot be called '${name}': use letters, digits, - and _`);
  }
  if (kind === "speaker" && seconds < LEAST_SPEECH) {
    throw new ProfileError(
      `${seconds.toFixed(1)} s of speech are too little for a profile: give ${LEAST_SPEECH} s, better 5 s or more`,
    );
  }
  if (kind === "setting" && seconds < LEAST_OF_SETTING && clips < LEAST_RECORDINGS) {
    throw new ProfileError(
      `${seconds.toFixed(1)} s of speech in ${clips} recordings are too little for a setting: give ` +
        `${LEAST_OF_SETTING} s or ${LEAST_RECORDINGS} recordings, better 50 of different moods and speakers`,
    );
  }
  return {
    kind,
    name,
    model: model.card.name,
    fingerprint: model.fingerprint,
    clips,
    seconds: Math.round(seconds * 1000) / 1000,
    count: statistics.count,
    mean: statistics.mean.map(Math.fround),
    variance: statistics.variance.map(Math.fround),
    setting: null,
    voice: null,
    encoder: null,
    neutral,
    created: new Date().toISOString().slice(0, 10),
    software: model.card.software,
    format_version: FORMAT_VERSION,
  };
}

/** One window to one judgement: gate, features, model, answer. */

import { noSignal } from "../audio/preprocess.ts";
import { decide, TOO_SHORT } from "../decision.ts";
import { AudioError, NoSpeechError } from "../errors.ts";
import { Statistics } from "../model/baselines.ts";
import type { Model } from "../model/file.ts";
import { baseline, type Profile, statisticsOf } from "../model/profiles.ts";
import type { Session } from "../session.ts";
import { isSpeech } from "../speech/gate.ts";
import { FRAME } from "../speech/level.ts";
import { duration, type Prediction, RATE, type Setting, type Waveform } from "../types.ts";
import { blended, type Timeline } from "./timeline.ts";
import type { Judge } from "./utterances.ts";

/** Utterances that must have been heard before a recording is taken as its own setting. */
export const LEAST_UTTERANCES = 3;
/** What says that the recordings at hand are their own setting. */
export const AUTO = "auto";
/** Probability of speech from which a frame counts as speech. */
const SPOKEN = 0.5;
/** Seconds by which windows of neighbouring utterances may overlap. */
const MARGINS = 0.25;
/** Seconds by which sums of times may differ: less than a sample. */
const ROUNDING = 1e-5;

/** What judges a window, and what is known beforehand. */
export interface VoiceSetup {
  model: Model;
  network: Session;
  /** Smallest probability of speech that is judged. */
  gate: number;
  /**
   * Confidence under which an answer is an abstention: where nothing is known of setting and speaker, where something is,
   * and where the speaker's speech is known to be neutral.
   */
  thresholds: readonly [number, number, number];
  speaker: Profile | null;
  setting: Setting | null;
  baseline: Float32Array | null;
}

/** A judgement, and the axes that baselines are made of. */
export interface Judged {
  prediction: Prediction;
  axes: Float32Array | null;
}

/** Judges windows by the voice. */
export class Voice implements Judge {
  readonly #setup: VoiceSetup;

  constructor(setup: VoiceSetup) {
    this.#setup = setup;
  }

  /** Make a judge of what is known at the beginning; without a threshold the model's own are used. */
  static of(
    model: Model,
    network: Session,
    gate: number,
    known: { threshold: number | null; speaker: Profile | null; setting: Profile | null },
  ): Voice {
    const { speaker, setting } = known;
    const { threshold, known_threshold, neutral_threshold } = model.card;
    const something = known_threshold ?? threshold;
    const own = [threshold, something, neutral_threshold ?? something] as const;
    const thresholds = known.threshold === null ? own : ([known.threshold, known.threshold, known.threshold] as const);
    const levels = [setting && statisticsOf(setting, model, "setting"), speaker && statisticsOf(speaker, model, "speaker")] as const;
    return new Voice({
      model,
      network,
      gate,
      thresholds,
      speaker,
      setting: setting && { name: setting.name, heard: setting.count },
      baseline: speaker || setting ? baseline(model, ...levels) : null,
    });
  }

  /** The judge of recordings that are their own setting; the same one where little has been heard. */
  within(heard: Statistics): Voice {
    if (heard.count < LEAST_UTTERANCES) return this;
    const { model, speaker } = this.#setup;
    const known = baseline(model, heard, speaker && statisticsOf(speaker, model, "speaker"));
    return new Voice({ ...this.#setup, setting: { name: AUTO, heard: heard.count }, baseline: known });
  }

  get model(): Model {
    return this.#setup.model;
  }

  get threshold(): number {
    const { thresholds, speaker, baseline: known } = this.#setup;
    return thresholds[speaker?.neutral ? 2 : known ? 1 : 0];
  }

  async assess(window: Waveform, name: string, running = false): Promise<Prediction | null> {
    const found = await this.judged(window, name, running);
    return found instanceof AudioError ? null : found.prediction;
  }

  /** Judge one window, or say why there is nothing to judge in it; `running` does not ask the gate. */
  async judged(window: Waveform, name: string, running = false): Promise<Judged | AudioError> {
    const refused = noSignal(window, name) ?? (running ? null : await this.#silence(window, name));
    if (refused) return refused;
    const { model, baseline: known, speaker, setting } = this.#setup;
    const { card } = model;
    const output = await model.run(window.samples, known);
    const { label, confidence, abstained } = decide(output.probabilities, card.labels, this.threshold);
    const short = card.shortest > 0 && speechIn(window) < card.shortest;
    const named = (names: readonly string[], values: readonly number[]): Record<string, number> =>
      Object.fromEntries(names.map((one, at) => [one, values[at]!]));
    const prediction: Prediction = {
      file: name,
      start: window.start,
      end: window.start + duration(window),
      label,
      probabilities: named(card.labels, output.probabilities),
      confidence,
      abstained: abstained || short,
      model: card.name,
      speaker: speaker?.name ?? null,
      transcript: null,
      words: null,
      linguistic: null,
      fusion: null,
      why: short ? [`${TOO_SHORT}: less than ${card.shortest} s`] : null,
      baseline: speaker?.name ?? null,
      channel: null,
      dimensions: output.dimensions && named(card.dimensions, output.dimensions),
      unread: [],
      notes: [],
      columns: null,
      setting,
    };
    return { prediction, axes: output.axes };
  }

  async #silence(window: Waveform, name: string): Promise<NoSpeechError | null> {
    const { network, gate } = this.#setup;
    if (await isSpeech(network, window, gate)) return null;
    return new NoSpeechError(`${name} holds no speech that can be judged: give a recording of somebody speaking`);
  }
}

/** How much speech there is in a window, in seconds; all of it where the detector took none for speech. */
function speechIn(window: Waveform): number {
  const frames = window.speech?.filter((one) => one >= SPOKEN).length ?? 0;
  return frames ? Math.min((frames * FRAME) / RATE, duration(window)) : duration(window);
}

/** The judge of one stream that is its own setting: what it has judged so far is what it knows. */
export class Adapting implements Judge {
  readonly #first: Voice;
  #voice: Voice;
  #heard: Statistics;
  #end = -Infinity;

  constructor(voice: Voice) {
    this.#first = this.#voice = voice;
    this.#heard = Statistics.of([], voice.model.axesWidth);
  }

  get threshold(): number {
    return this.#voice.threshold;
  }

  async assess(window: Waveform, name: string, running = false): Promise<Prediction | null> {
    this.#voice = this.#first.within(this.#heard);
    const found = await this.#voice.judged(window, name, running);
    if (found instanceof AudioError) return null;
    // Intervals are judged by windows that overlap: nothing is to count twice but the margins of utterances.
    if (!running && found.axes && window.start >= this.#end - MARGINS) {
      this.#end = window.start + duration(window);
      this.#heard = this.#heard.merged(Statistics.of([found.axes], found.axes.length));
    }
    return found.prediction;
  }
}

/** The judge of one recording: a voice, with a memory of what it has judged and of what it has refused. */
export class Recording implements Judge {
  readonly #voice: Voice;
  readonly #judged: { start: number; end: number; axes: Float32Array | null }[] = [];
  #refused: AudioError | null = null;

  constructor(voice: Voice) {
    this.#voice = voice;
  }

  get threshold(): number {
    return this.#voice.threshold;
  }

  async assess(window: Waveform, name: string, running = false): Promise<Prediction | null> {
    const found = await this.#voice.judged(window, name, running);
    if (found instanceof AudioError) {
      if (!(this.#refused instanceof NoSpeechError)) this.#refused = found;
      return null;
    }
    this.#judged.push({ start: window.start, end: window.start + duration(window), axes: found.axes });
    return found.prediction;
  }

  /** Make one answer of a timeline: the mean of its judgements, weighted by duration. */
  whole(timeline: Timeline): Prediction {
    const parts = this.#spoken(timeline);
    const lengths = parts.map((one) => one.end - one.start);
    const mean = parts.length === 1 ? parts[0]! : blended(parts, lengths, this.threshold);
    return { ...mean, start: 0, end: timeline.duration };
  }

  /** What was heard of setting and speaker: seconds of speech, and the axes of the windows that a timeline was made of. */
  heard(timeline: Timeline): { seconds: number; axes: Float32Array[] } {
    const parts = this.#spoken(timeline);
    const used = this.#judged.filter((window) => {
      const first = parts.find((one) => one.start >= window.start - ROUNDING);
      return first !== undefined && first.end <= window.end + ROUNDING;
    });
    const seconds = parts.reduce((sum, one) => sum + one.end - one.start, 0);
    return { seconds, axes: used.flatMap((one) => (one.axes ? [one.axes] : [])) };
  }

  #spoken(timeline: Timeline): Prediction[] {
    if (timeline.predictions.length) return timeline.predictions;
    throw this.#refused ?? new AudioError(`${timeline.file} has no samples: give a recording that is not empty`);
  }
}

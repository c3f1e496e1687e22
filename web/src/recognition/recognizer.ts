/** The recogniser: one recording, a timeline, a stream; profiles of speakers and settings. It runs where it is called. */

import { Converter, converted, type Sound } from "../audio/convert.ts";
import { EmovoxError, InputError } from "../errors.ts";
import { Statistics } from "../model/baselines.ts";
import type { ModelCard } from "../model/card.ts";
import { Model } from "../model/file.ts";
import { build, type Profile, requireBaseline, requireNeutral, type Subject } from "../model/profiles.ts";
import { openSession, type Session } from "../session.ts";
import { gateThreshold } from "../speech/gate.ts";
import type { Prediction, Segment } from "../types.ts";
import { Stream, type StreamSetup, timelineOf, type Watch } from "./streaming.ts";
import { type Cut, timelineOptions, type Timeline } from "./timeline.ts";
import { Adapting, AUTO, Recording, Voice } from "./voice.ts";

/** The files that judge, as bytes. */
export interface Files {
  /** `default.onnx`, and its SHA-256. */
  model: Uint8Array;
  fingerprint: string;
  encoder: Uint8Array;
  vad: Uint8Array;
}

/** What is known of a recording or stream, and how sure to be. */
export interface Known {
  /** What predictions call it. */
  name?: string;
  /** Smallest probability of speech that is judged, 0.4; 0 judges everything. */
  gate?: number;
  /** Confidence under which an answer is an abstention; the model's own. */
  threshold?: number | null;
  /** Whose voice it is. */
  speaker?: Profile | null;
  /** Microphone, room and language; `"auto"` takes the recording or stream as its own. */
  setting?: Profile | "auto" | null;
}

/** How a recording is judged as a whole. */
export interface RecordingOptions extends Known {
  /** The channel that is judged, the first is 1; the default is the mean of all. */
  channel?: number | null;
  /** Longest stretch that is judged at once, in seconds; 6. */
  window?: number;
}

/** How a recording is judged segment by segment. */
export interface TimelineRequest extends Known, Cut {
  channel?: number | null;
  /** What is to be judged, each by itself; the default is what voice activity detection finds. */
  segments?: readonly Segment[] | null;
}

/** How a stream is judged. */
export interface StreamRequest extends Known, Cut {
  /** Sampling rate in Hz; 16000. */
  rate?: number;
  channels?: number;
  /** Whether to judge what is going on every `hop` seconds; true. */
  estimates?: boolean;
}

/** A recording for a profile. */
export interface Clip {
  samples: Sound;
  rate: number;
  name?: string;
}

/** What is known of the recordings for a profile. */
export interface EnrolOptions {
  /** Whether all speech of a speaker is known to be neutral: it is believed at once. Never of a setting. */
  neutral?: boolean;
}

/** Recognises emotions with the model of the package. */
export class Recognizer {
  readonly #model: Model;
  readonly #network: Session;

  private constructor(model: Model, network: Session) {
    this.#model = model;
    this.#network = network;
  }

  /** Open the files. */
  static async open({ model, fingerprint, encoder, vad }: Files): Promise<Recognizer> {
    const network = await openSession(vad, "the voice activity detector");
    const opened = await openSession(encoder, "the encoder");
    return new Recognizer(await Model.open(model, fingerprint, opened, "the model"), network);
  }

  /** What the model is: its labels, training data, licence and scores. */
  get card(): ModelCard {
    return this.#model.card;
  }

  /** SHA-256 of the model's file: profiles are only for the model that made them. */
  get fingerprint(): string {
    return this.#model.fingerprint;
  }

  /** Recognise one recording: the mean of its utterances, weighted by duration. */
  async recognize(sound: Sound, rate: number, options: RecordingOptions = {}, watch: Watch = {}): Promise<Prediction> {
    const window = options.window ?? 6;
    const cut = timelineOptions({ window, hop: Math.min(window, 1) });
    const { samples, notes, name, voice } = await this.#heard(sound, rate, options, watch);
    const judge = new Recording(voice);
    const found = judge.whole(await timelineOf(samples, this.#setup(judge, cut, name), watch));
    return { ...found, notes, channel: options.channel ?? null };
  }

  /** Recognise a recording segment by segment. */
  async timeline(sound: Sound, rate: number, options: TimelineRequest = {}, watch: Watch = {}): Promise<Timeline> {
    const { segments = null, channel = null } = options;
    const wanted = cutOf(options);
    const cut = timelineOptions(segments ? { ...wanted, merge: null, min_segment: 0 } : wanted);
    segments?.forEach(requireSegment);
    const { samples, notes, name, voice } = await this.#heard(sound, rate, options, watch);
    const found = await timelineOf(samples, { ...this.#setup(voice, cut, name), segments }, watch);
    return { ...found, predictions: found.predictions.map((one) => ({ ...one, notes, channel })) };
  }

  /** Begin a stream. */
  stream(options: StreamRequest = {}): Stream {
    const { rate = 16000, channels = 1, estimates = true, name = "<stream>" } = options;
    const voice = this.#voice(options);
    const judge = options.setting === AUTO ? new Adapting(voice) : voice;
    const setup = this.#setup(judge, timelineOptions(cutOf(options)), name);
    return new Stream({ ...setup, converter: new Converter(rate, channels, name), estimates });
  }

  /** Learn what a speaker's voice, or a setting, is ordinarily like; the sound is not kept. */
  async enrol(
    kind: Subject,
    name: string,
    clips: readonly Clip[],
    options: EnrolOptions = {},
    watch: Watch = {},
  ): Promise<Profile> {
    const neutral = options.neutral ?? false;
    requireBaseline(this.#model);
    if (neutral) requireNeutral(kind, this.#model);
    const axes: Float32Array[] = [];
    let seconds = 0;
    for (const one of clips) {
      const called = one.name ?? "the recording";
      const found = await this.#first(this.#voice({}), converted(one.samples, one.rate, called).samples, called, watch);
      seconds += found.seconds;
      axes.push(...found.axes);
    }
    const statistics = Statistics.of(axes, this.#model.axesWidth);
    return build(kind, name, this.#model, { statistics, clips: clips.length, seconds, neutral });
  }

  /** Bring a recording to 16 kHz, and say who judges it: where it is its own setting, it is heard twice. */
  async #heard(sound: Sound, rate: number, options: Known & { channel?: number | null }, watch: Watch) {
    const name = options.name ?? "the recording";
    const { samples, notes } = converted(sound, rate, name, options.channel ?? null);
    let voice = this.#voice(options);
    if (options.setting === AUTO) {
      // What cannot be heard is reported when it is judged.
      const found = await this.#first(voice, samples, name, { stopped: watch.stopped }).catch((error: unknown) => {
        if (error instanceof EmovoxError) return { axes: [] };
        throw error;
      });
      voice = voice.within(Statistics.of(found.axes, this.#model.axesWidth));
    }
    return { samples, notes, name, voice };
  }

  async #first(voice: Voice, samples: Float32Array, name: string, watch: Watch) {
    const judge = new Recording(voice);
    return judge.heard(await timelineOf(samples, this.#setup(judge, timelineOptions(), name), watch));
  }

  #voice({ gate, threshold = null, speaker = null, setting = null }: Known): Voice {
    if (threshold !== null && !(threshold >= 0 && threshold <= 1)) {
      throw new InputError(`threshold is ${threshold}: expected a confidence from 0 to 1`);
    }
    if (setting === AUTO) requireBaseline(this.#model);
    const known = { threshold, speaker, setting: setting === AUTO ? null : setting };
    return Voice.of(this.#model, this.#network, gateThreshold(gate), known);
  }

  #setup(judge: StreamSetup["judge"], options: StreamSetup["options"], name: string): StreamSetup {
    return { network: this.#network, judge, options, converter: new Converter(16000, 1, name), estimates: false };
  }
}

/** The options of a request that say how sound is cut. */
function cutOf(options: Cut): Cut {
  const names = ["mode", "window", "hop", "smoothing", "merge", "min_segment", "vad"] as const;
  return Object.fromEntries(names.flatMap((name) => (options[name] === undefined ? [] : [[name, options[name]]])));
}

function requireSegment({ start, end }: Segment): void {
  if (!(start >= 0 && start < end && end < Infinity)) {
    throw new InputError(`a segment from ${start} to ${end} s: expected 0 or more, and an end after the start`);
  }
}

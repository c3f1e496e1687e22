/** Where somebody speaks: Silero's speech probability frame by frame, and one rule that makes segments of it. */

import { InputError } from "../errors.ts";
import { joined, round } from "../numbers.ts";
import { numbers, type Session, tensor } from "../session.ts";
import { RATE } from "../types.ts";
import { Centre, Edges, FRAME, Level } from "./level.ts";

/** Samples before a frame that the network sees with it, fixed by the network. */
const CONTEXT = 64;
/** Width of the network's state. */
const STATE = 128;
/** Frames given to the network at a time at most: bounds the memory of a long piece, 16 s. */
const BLOCK = 512;
/** Frames that are heard again where the level rises far, 0.5 s. */
const AGAIN = 16;

/**
 * The hysteresis rule that makes segments of speech probabilities.
 *
 * Speech begins with the first frame that reaches `on`, and ends with the first below `off` after which `on` is not
 * reached again for `min_silence` seconds. What is shorter than `min_speech` seconds is not speech.
 */
export interface VadOptions {
  on: number;
  off: number;
  min_speech: number;
  min_silence: number;
  /** Seconds added on either side, at most half of `min_silence`. */
  padding: number;
  /** How far, in seconds, a boundary may then move to where the sound begins or fades. */
  reach: number;
}

/** Complete and check a rule. */
export function vadOptions(given: Partial<VadOptions>, defaults: VadOptions): VadOptions {
  const found = { ...defaults, ...given };
  const refuse = (name: keyof VadOptions, wanted: string): never => {
    throw new InputError(`${name} is ${found[name]}: expected ${wanted}`);
  };
  if (!(found.on > 0 && found.on < 1)) refuse("on", "a probability between 0 and 1");
  if (!(found.off > 0 && found.off <= found.on)) refuse("off", `a probability above 0, up to on (${found.on})`);
  for (const name of ["min_speech", "min_silence", "padding"] as const) {
    if (!(found[name] >= 0 && found[name] <= 60)) refuse(name, "seconds from 0 to 60");
  }
  if (2 * found.padding > found.min_silence) refuse("padding", `at most half of min_silence (${found.min_silence})`);
  if (!(found.reach >= 0 && found.reach <= found.min_silence)) refuse("reach", `at most min_silence (${found.min_silence})`);
  return found;
}

/** Speech begins or ends. */
export interface SpeechEvent {
  kind: "start" | "end";
  /** When it happens, in seconds from the beginning of the stream. */
  time: number;
  /** How much of the stream, in seconds, had been heard when this was certain. */
  decided: number;
}

/** Speech probability of one stream, frame by frame, from samples in pieces of any size. */
export class SpeechProbability {
  readonly #network: Session;
  readonly #level: Level | null;
  readonly #centre = new Centre();
  #state: { h: Float32Array; c: Float32Array } = { h: new Float32Array(STATE), c: new Float32Array(STATE) };
  #past: Float32Array = new Float32Array(CONTEXT); // context of the frames that may be heard again, and they

  /** `level` says whether to bring the stream to a level; false for sound that has been brought to one. */
  constructor(network: Session, level = true) {
    this.#network = network;
    this.#level = level ? new Level() : null;
  }

  /** Take the next samples and return the probability of each frame of 32 ms that they complete. */
  push(samples: Float32Array): Promise<Float32Array> {
    return this.#advance(this.#centre.push(samples));
  }

  /** End the stream: the probability of the frame that is not full, silence after it. */
  finish(): Promise<Float32Array> {
    const rest = this.#centre.finish();
    const full = new Float32Array(Math.ceil(rest.length / FRAME) * FRAME);
    full.set(rest);
    return this.#advance(full);
  }

  /** Run the network over whole frames, one after the other in one array. */
  async #advance(frames: Float32Array): Promise<Float32Array> {
    const count = frames.length / FRAME;
    if (!count) return frames;
    const { gains, rises } = this.#level?.push(frames) ?? { gains: new Array<number>(count).fill(1), rises: [] };
    const sound = joined([this.#past, frames]);
    const windows = (sound.length - CONTEXT) / FRAME;
    const known = windows - count;
    let done = known;
    const found: Float32Array[] = [];
    for (const place of rises.map((rise) => known + rise)) {
      found.push(...(await this.#run(sound, done, place, (at) => gains[at - known]!)));
      this.#state = { h: new Float32Array(STATE), c: new Float32Array(STATE) };
      await this.#run(sound, Math.max(0, place - AGAIN), place, () => gains[place - known]!);
      done = place;
    }
    found.push(...(await this.#run(sound, done, windows, (at) => gains[at - known]!)));
    this.#past = sound.slice(-(CONTEXT + Math.min(windows, AGAIN) * FRAME));
    return joined(found);
  }

  /** Run the network over frames with their context, each multiplied by its gain. */
  async #run(sound: Float32Array, begin: number, end: number, gain: (at: number) => number): Promise<Float32Array[]> {
    const size = CONTEXT + FRAME;
    const found: Float32Array[] = [];
    for (let first = begin; first < end; first += BLOCK) {
      const count = Math.min(BLOCK, end - first);
      const scaled = new Float32Array(count * size);
      for (let row = 0; row < count; row++) {
        const [from, by] = [(first + row) * FRAME, gain(first + row)];
        for (let i = 0; i < size; i++) scaled[row * size + i] = sound[from + i]! * by;
      }
      const shape = [1, 1, STATE];
      const state = { h: tensor(this.#state.h, shape), c: tensor(this.#state.c, shape) };
      const output = await this.#network.run({ input: tensor(scaled, [count, size]), ...state });
      this.#state = { h: numbers(output["hn"]!), c: numbers(output["cn"]!) };
      found.push(numbers(output["speech_probs"]!));
    }
    return found;
  }
}

/** The hysteresis rule of `VadOptions`, fed with probabilities as they come. */
class Segmenter {
  readonly #options: VadOptions;
  readonly #leastSpeech: number;
  readonly #leastSilence: number;
  readonly #padding: number;
  #frames = 0;
  #onset: number | null = null; // first frame of the speech that is going on
  #pause: number | null = null; // first frame of the pause in it that may become its end
  #announced = false;

  constructor(options: VadOptions) {
    this.#options = options;
    this.#leastSpeech = Math.max(1, Math.ceil((options.min_speech * RATE) / FRAME));
    this.#leastSilence = Math.max(1, Math.ceil((options.min_silence * RATE) / FRAME));
    this.#padding = round(options.padding * RATE);
  }

  get speaking(): boolean {
    return this.#announced;
  }

  get pausing(): boolean {
    return this.#announced && this.#pause !== null;
  }

  step(probability: number): SpeechEvent[] {
    const index = this.#frames++;
    if (probability >= this.#options.on) {
      this.#pause = null;
      this.#onset ??= index;
    } else if (probability < this.#options.off && this.#onset !== null && this.#pause === null) {
      this.#pause = index;
    }
    if (this.#onset === null) return [];
    if (this.#pause === null) return this.#started(this.#onset);
    return this.#frames - this.#pause >= this.#leastSilence ? this.#ended(this.#pause) : [];
  }

  /** End the stream: speech that is going on ends where its pause began, or with the stream. */
  finish(length: number): SpeechEvent[] {
    if (!this.#announced) return [];
    this.#announced = false;
    const last = (this.#pause ?? this.#frames) * FRAME + this.#padding;
    return [{ kind: "end", time: Math.min(last, length) / RATE, decided: length / RATE }];
  }

  #started(onset: number): SpeechEvent[] {
    if (this.#announced || this.#frames - onset < this.#leastSpeech) return [];
    this.#announced = true;
    return [this.#event("start", Math.max(0, onset * FRAME - this.#padding))];
  }

  #ended(pause: number): SpeechEvent[] {
    const announced = this.#announced;
    this.#announced = false;
    this.#onset = this.#pause = null;
    return announced ? [this.#event("end", pause * FRAME + this.#padding)] : [];
  }

  #event(kind: "start" | "end", sample: number): SpeechEvent {
    return { kind, time: sample / RATE, decided: (this.#frames * FRAME) / RATE };
  }
}

/** One frame of a stream. */
export interface ActivityFrame {
  probability: number;
  /** Whether speech goes on that may have ended already. */
  pausing: boolean;
  /** How many samples of the stream had been heard by its end. */
  end: number;
  events: SpeechEvent[];
}

/** Start and end of speech in one stream, from samples in pieces of any size; memory does not grow with time. */
export class VoiceActivity {
  readonly #options: VadOptions;
  readonly #probability: SpeechProbability;
  readonly #segmenter: Segmenter;
  readonly #centre = new Centre();
  readonly #edges: Edges | null;
  #heard = 0;

  constructor(network: Session, options: VadOptions) {
    this.#options = options;
    this.#probability = new SpeechProbability(network);
    this.#segmenter = new Segmenter(options);
    const late = options.min_speech + options.min_silence + options.padding;
    this.#edges = options.reach ? new Edges(options.reach, late) : null;
  }

  /** Whether speech has started and not ended, by the events given so far. */
  get speaking(): boolean {
    return this.#segmenter.speaking;
  }

  /** How many samples back from what has been heard a start that is yet to come may lie. */
  get reach(): number {
    const { min_speech, min_silence, padding, reach } = this.#options;
    return FRAME + round((min_speech + min_silence + padding + reach) * RATE);
  }

  /** Take the next samples and tell frame by frame what they decide. */
  async frames(samples: Float32Array): Promise<ActivityFrame[]> {
    const found = await this.#probability.push(samples);
    this.#edges?.push(this.#centre.push(samples));
    const first = Math.floor(this.#heard / FRAME) + 1;
    this.#heard += samples.length;
    return Array.from(found, (one, at) => this.#frame(one, (first + at) * FRAME));
  }

  /** End the stream: the frame that is not full, or a silent one of no length. */
  async finish(): Promise<ActivityFrame[]> {
    const [probability = 0] = await this.#probability.finish();
    this.#edges?.push(this.#centre.finish());
    const last = this.#frame(probability, this.#heard);
    const final = this.#moved(this.#segmenter.finish(this.#heard), this.#heard);
    return [{ ...last, events: [...last.events, ...final] }];
  }

  #frame(probability: number, end: number): ActivityFrame {
    const events = this.#moved(this.#segmenter.step(probability), end);
    return { probability, pausing: this.#segmenter.pausing, end, events };
  }

  /** Move the boundaries of a frame's events to where the sound begins or fades. */
  #moved(events: SpeechEvent[], heard: number): SpeechEvent[] {
    const edges = this.#edges;
    if (!edges) return events;
    return events.map((event) => {
      const sample = round(event.time * RATE);
      const place = event.kind === "start" ? edges.begin(sample, heard) : edges.end(sample, heard);
      return { ...event, time: place / RATE };
    });
  }
}

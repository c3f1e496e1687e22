/** What the page and the worker say to each other. */

import type { Sound } from "./audio/convert.ts";
import type { PlainError } from "./errors.ts";
import type { ModelCard } from "./model/card.ts";
import type { Profile, Subject } from "./model/profiles.ts";
import type { Clip, EnrolOptions, RecordingOptions, StreamRequest, TimelineRequest } from "./recognition/recognizer.ts";
import type { Timeline } from "./recognition/timeline.ts";
import type { StreamEvent } from "./recognition/utterances.ts";
import type { Runtime } from "./session.ts";
import type { Prediction } from "./types.ts";

/** Where the files lie, absolute addresses, and how to run. */
export interface Setup extends Runtime {
  model: string;
  encoder: string;
  vad: string;
}

/** What the worker can be asked, and what it answers. */
export interface Calls {
  open: { ask: Setup; answer: { card: ModelCard; fingerprint: string } };
  recognize: { ask: { sound: Sound; rate: number; options: RecordingOptions }; answer: Prediction };
  timeline: { ask: { sound: Sound; rate: number; options: TimelineRequest }; answer: Timeline };
  enrol: { ask: { kind: Subject; name: string; clips: Clip[]; options: EnrolOptions }; answer: Profile };
  begin: { ask: StreamRequest; answer: number };
  push: { ask: { stream: number; sound: Sound; estimates?: boolean | undefined }; answer: StreamEvent[] };
  finish: { ask: { stream: number }; answer: { events: StreamEvent[]; heard: number } };
  drop: { ask: { stream: number }; answer: void };
}

export type Name = keyof Calls;

/** To the worker: a call by its number, or that nobody waits for one any more. */
export type Question = { id: number; name: Name; ask: unknown } | { id: number; stop: true };

/** From the worker: an answer, an error, or how far a call is. */
export type Answer =
  | { id: number; answer: unknown }
  | { id: number; error: PlainError }
  | { id: number; progress: number }
  | { id: number; event: StreamEvent }
  | { id: number; loaded: number; total: number };

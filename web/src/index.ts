/** Emotion in speech, in the browser: the model of Python's emovox in a worker. Nothing leaves the page. */

export type { Sound } from "./audio/convert.ts";
export { decode } from "./audio/decode.ts";
export type { Decoded } from "./audio/wav.ts";
export { configure, Emovox, LiveStream, type Options, recognize, type Telling } from "./client.ts";
export { AudioError, EmovoxError, InputError, ModelError, NoSpeechError, ProfileError } from "./errors.ts";
export type { ModelCard } from "./model/card.ts";
export type { Profile, Subject } from "./model/profiles.ts";
export type { Clip, EnrolOptions, Known, RecordingOptions, StreamRequest, TimelineRequest } from "./recognition/recognizer.ts";
export { summarise, type Summary, type Timeline, type TimelineOptions } from "./recognition/timeline.ts";
export type { StreamEvent } from "./recognition/utterances.ts";
export type { VadOptions } from "./speech/vad.ts";
export { RATE, type Prediction, type Segment, type Setting } from "./types.ts";

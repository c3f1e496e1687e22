/** What can go wrong: names, codes and the tree are those of Python, and each message is one line. */

/** The base of all errors that emovox raises on purpose. */
export class EmovoxError extends Error {
  override name = "EmovoxError";
  /** The kind of error, for programs. */
  code = "error";
}
/** An option out of its range, or a call that makes no sense. */
export class InputError extends EmovoxError {
  override name = "InputError";
  override code = "invalid_input";
}
/** A recording cannot be decoded or analysed. */
export class AudioError extends InputError {
  override name = "AudioError";
  override code = "invalid_audio";
}
/** Nobody speaks in a recording. */
export class NoSpeechError extends AudioError {
  override name = "NoSpeechError";
  override code = "no_speech";
}
/** A model file cannot be used. */
export class ModelError extends InputError {
  override name = "ModelError";
  override code = "invalid_model";
}
/** A profile cannot be used, or cannot be made. */
export class ProfileError extends InputError {
  override name = "ProfileError";
  override code = "invalid_profile";
}

const KINDS = { EmovoxError, InputError, AudioError, NoSpeechError, ModelError, ProfileError };

/** An error as plain values, to be sent from a worker. */
export interface PlainError {
  name: string;
  message: string;
}

/** Make an error ready to be sent. */
export function toPlain(error: unknown): PlainError {
  return error instanceof Error
    ? { name: error.name, message: error.message }
    : { name: "Error", message: String(error) };
}

/** Make the error again that was sent. */
export function fromPlain(plain: PlainError): Error {
  const Kind = KINDS[plain.name as keyof typeof KINDS];
  return Kind ? new Kind(plain.message) : Object.assign(new Error(plain.message), { name: plain.name });
}

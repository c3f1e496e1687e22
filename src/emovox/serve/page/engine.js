// Where answers come from.  The page knows this and nothing else of it: `engine-http.js` asks `emovox serve`, and the page
// that works without a server has an engine around the model itself.  `main.js` chooses one and calls `start(engine)`.
//
// Results are what `emovox predict --format json` prints of a timeline: {file, duration, predictions: [{file, start, end,
// label, probabilities, confidence, abstained, model, speaker, channel, dimensions, transcript, why, notes, unread, ...}]}.

/**
 * What an engine can do; the page shows nothing that it cannot.
 *
 * @typedef {object} Capabilities
 * @property {string} place "server" or "browser": who computes; it decides what the page says about privacy.
 * @property {string} version
 * @property {string} model Name of the model that judges by default.
 * @property {string[]} models Names that the option `model` takes.
 * @property {string[]} labels Emotions of the default model, in its order.
 * @property {string[]} options Names of the options that `predict` and `stream` take: timeline, mode, window, hop, smooth,
 *   merge, channels, threshold, gate, speaker, setting, speakers, text, language, model.
 * @property {boolean} words Whether words can be recognised.
 * @property {string[]} profiles Kinds of profiles that can be made: "speakers", "settings".
 * @property {boolean} live Whether `stream` works.
 * @property {number} parallel How many recordings may be given at a time.
 * @property {{bytes: number, seconds: number}} limits Of one recording; Infinity where there is none.
 * @property {{title: string, text: string[], head: string[], rows: string[][]}[]} card The model card, part by part.
 * @property {{name: string, address: string, about: string}[]} samples Recordings to try.
 */

/**
 * @typedef {object} Engine
 * @property {() => Promise<Capabilities>} capabilities Rejects with `EngineError("key_missing")` where a key is needed.
 * @property {(file: Blob, name: string, options: object, call: Call) => Promise<object>} predict Judge one recording.
 * @property {(options: object, rate: number, onEvent: (event: object) => void) => Promise<Live>} stream Open a live stream;
 *   events are those of `WS /v1/stream`: utterance.start, estimate, result, utterance.end, error.
 * @property {(token: string) => Promise<void>} forget Forget a recording elsewhere, and stop judging it.
 * @property {(known: Set<string>) => Promise<object[]>} remembered Recordings elsewhere that the page does not know:
 *   [{token, name, created (ms), duration, state: "running" | "done" | "failed", error?}].
 * @property {(token: string) => Promise<object>} result The result of one of them.
 * @property {(kind: string) => Promise<{name: string, clips?: number, seconds?: number, neutral?: boolean, created?: string,
 *   problem?: string}[]>} profiles
 * @property {(kind: string, name: string, files: {name: string, blob: Blob}[], options?: {neutral?: boolean}) => Promise<object>}
 *   enrol Learn a voice or a setting; `neutral`: all speech is known to be neutral.
 * @property {(kind: string, name: string) => Promise<void>} unenrol
 * @property {(key: string, keep: boolean) => void} [authorise] Take the user's key; `keep` beyond this tab.
 * @property {() => boolean} [authorised] Whether there is a key.
 */

/**
 * One call of `predict`.
 *
 * @typedef {object} Call
 * @property {AbortSignal} signal
 * @property {string} id Name of the request: the same recording asked for again has the same.
 * @property {number} [duration] Seconds of sound, where the page knows.
 * @property {string | null} [token] What `onToken` told of an earlier try: go on with it instead of sending again.
 * @property {(token: string) => void} [onToken] Told as soon as the work goes on without the page.
 * @property {(progress: {state: "loading" | "sending" | "queued" | "running", share?: number}) => void} [onProgress]
 */

/**
 * @typedef {object} Live
 * @property {(samples: Int16Array) => void} push Hear mono samples at the stream's rate.
 * @property {() => Promise<{seconds: number, reason: string}>} close End the stream when all is judged.
 */

/** Why an engine could not do something: `code` is stable, `message` is for people. */
export class EngineError extends Error {
  /**
   * @param {string} code One of docs/serve.md, or "offline", "cancelled".
   * @param {string} message
   * @param {number} [wait] Seconds after which trying again makes sense; undefined where it makes none.
   */
  constructor(code, message, wait) {
    super(message);
    this.code = code;
    this.wait = wait;
  }
}

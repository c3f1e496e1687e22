// The recogniser with the files of the package, in Node.js, whose engine is Chromium's.

import { readFileSync } from "node:fs";
import { resolve } from "node:path";

import { Recognizer } from "../dist/recognition/recognizer.js";
import { configure } from "../dist/session.js";

/**
 * Read a file.
 *
 * @param {string[]} path Where it lies, from `web/` on.
 */
export const read = (...path) => new Uint8Array(readFileSync(resolve(import.meta.dirname, "..", ...path)));

/** Open the recogniser. */
export function opened() {
  configure({});
  const [model, encoder, vad] = ["default", "encoder", "silero_vad_16k_sequence"].map((name) => read("assets", `${name}.onnx`));
  return Recognizer.open({ model, encoder, vad, fingerprint: "" });
}

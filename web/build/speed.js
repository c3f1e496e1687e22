// How much of a processor the model takes, in seconds: `npm run speed`.  It runs in Node.js, whose engine is Chromium's.

import { readFileSync } from "node:fs";
import { join } from "node:path";

import { readWav } from "../dist/audio/wav.js";
import { Recognizer } from "../dist/recognition/recognizer.js";
import { configure } from "../dist/session.js";

const WEB = join(import.meta.dirname, "..");
const read = (...path) => new Uint8Array(readFileSync(join(WEB, ...path)));

/** Processor time of some work. */
async function seconds(work) {
  const before = process.cpuUsage();
  const found = await work();
  const { user, system } = process.cpuUsage(before);
  return [found, (user + system) / 1e6];
}

configure({});
const files = { model: read("assets/default.onnx"), encoder: read("assets/encoder.onnx"), vad: read("assets/silero_vad_16k_sequence.onnx") };
const [recognizer, opening] = await seconds(() => Recognizer.open({ ...files, fingerprint: "" }));
console.log(`opening: ${opening.toFixed(2)} s`);
for (const turn of ["first", "then"]) {
  for (const name of ["plain", "lively"]) {
    const { channels, rate } = readWav(read("../examples", `${name}.wav`), name);
    const [, took] = await seconds(() => recognizer.recognize(channels, rate));
    console.log(`${turn}, ${name}.wav, ${(channels[0].length / rate).toFixed(1)} s of sound: ${took.toFixed(2)} s`);
  }
}
process.exit();

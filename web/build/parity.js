// Where the browser's probabilities differ from Python's, and why: `npm run parity -- RECORDING...`.
//
// Each recording is judged at one of four rates, in turn.  What Python has heard, its samples at 16 kHz, is judged here as well:
// then only the arithmetic of the networks differs.  What was heard here is judged by Python: then only the front end does.
// The control is Python itself, on its own samples with white noise as far below them as a resampler in 32 bits leaves.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { converted } from "../dist/audio/convert.js";
import { readWav } from "../dist/audio/wav.js";
import { opened, read } from "./opened.js";
import { python } from "./python.js";

const RATES = ["16000", "22050", "44100", "48000"];
/** Level of the control's noise, in dB below the sound. */
const CONTROL = 130;

/** What Python says of recordings. */
function judged(folder, recordings, rates) {
  python("browser_reference.py", folder, ...recordings, "--whole", ...rates);
  const lines = readFileSync(join(folder, "reference.jsonl"), "utf8").trim().split("\n").slice(1);
  return lines.map((line) => JSON.parse(line));
}

/** Write samples at 16 kHz as a WAV file of floating-point numbers. */
function write(path, samples) {
  const head = Buffer.alloc(44);
  head.write("RIFF", 0);
  head.writeUInt32LE(36 + 4 * samples.length, 4);
  head.write("WAVEfmt ", 8);
  [16, 16000, 64000].forEach((value, at) => head.writeUInt32LE(value, [16, 24, 28][at]));
  [3, 1, 4, 32].forEach((value, at) => head.writeUInt16LE(value, [20, 22, 32, 34][at]));
  head.write("data", 36);
  head.writeUInt32LE(4 * samples.length, 40);
  writeFileSync(path, Buffer.concat([head, Buffer.from(samples.buffer, samples.byteOffset, samples.byteLength)]));
}

/** Noise whose level is a share of that of sound, the same every time. */
function noisy(samples, share) {
  const most = share * Math.sqrt((3 * samples.reduce((sum, one) => sum + one * one, 0)) / samples.length);
  let state = 1;
  return samples.map((one) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return one + most * (state / 2 ** 31 - 1);
  });
}

const apart = (a, b) => Math.max(...Object.keys(b).map((label) => Math.abs(a[label] - b[label])));

/** How far sound lies from other sound, in dB below it. */
function below(found, wanted) {
  const power = (some) => some.reduce((sum, one) => sum + one * one, 0);
  return 10 * Math.log10(power(found.map((one, at) => one - wanted[at])) / power(wanted));
}

const line = (name, values) => {
  const sorted = values.toSorted((a, b) => a - b);
  const share = (part) => sorted[Math.floor(part * (sorted.length - 1))].toFixed(4);
  const over = sorted.filter((one) => one > 0.01).length;
  console.log(`  ${name.padEnd(30)} median ${share(0.5)}, 95 % ${share(0.95)}, all ${share(1)}; beyond 0.01: ${over} of ${sorted.length}`);
};

const folder = mkdtempSync(join(tmpdir(), "emovox-"));
const there = mkdtempSync(join(tmpdir(), "emovox-"));
try {
  const all = judged(folder, process.argv.slice(2), RATES);
  const found = all.filter((one) => one.predict);
  console.log(`${found.length} recordings; nobody speaks in ${all.length - found.length} others`);
  const recognizer = await opened();
  const samplesOf = (path) => readWav(read(path), path);
  for (const [at, one] of found.entries()) {
    const { channels, rate } = samplesOf(one.file);
    const [heard] = samplesOf(one.heard).channels;
    const { samples } = converted(channels, rate, one.file);
    one.rate = rate;
    one.below = below(samples, heard);
    one.all = apart((await recognizer.recognize(channels, rate)).probabilities, one.predict.probabilities);
    one.networks = apart((await recognizer.recognize(heard, 16000)).probabilities, one.predict.probabilities);
    one.stored = join(there, `js-${at}.wav`);
    write(one.stored, samples);
    one.noisy = join(there, `noise-${at}.wav`);
    write(one.noisy, noisy(heard, 10 ** (-CONTROL / 20)));
  }
  for (const [name, stored] of [["front", "stored"], ["control", "noisy"]]) {
    const again = judged(there, found.map((one) => one[stored]), ["16000"]);
    again.forEach(({ predict }, at) => (found[at][name] = apart(predict.probabilities, found[at].predict.probabilities)));
  }
  for (const rate of [...RATES.map(Number), null]) {
    const some = found.filter((one) => rate === null || one.rate === rate);
    if (!some.length) continue;
    const loudest = Math.max(...some.map((one) => one.below));
    console.log(`${rate ?? "all"}${rate ? " Hz" : ""}: samples at 16 kHz ${loudest === -Infinity ? "equal" : `differ by ${loudest.toFixed(0)} dB at most`}`);
    line("the browser against Python", some.map((one) => one.all));
    line("the same samples, its networks", some.map((one) => one.networks));
    line("its samples, Python's networks", some.map((one) => one.front));
    line(`Python, noise ${CONTROL} dB below`, some.map((one) => one.control));
  }
} finally {
  for (const one of [folder, there]) rmSync(one, { recursive: true, force: true });
}
process.exit();

/** The browser's answers are those of Python: labels, probabilities within 0.01, the gate, and every boundary. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { beforeAll, describe, expect, test } from "vitest";

import { python } from "../build/python.js";
import { converted } from "../src/audio/convert.ts";
import { NoSpeechError } from "../src/errors.ts";
import type { Profile } from "../src/model/profiles.ts";
import type { Recognizer } from "../src/recognition/recognizer.ts";
import type { Prediction } from "../src/types.ts";
import { clips, type Everything, EXAMPLES, type Judgement, openRecognizer, readFile, type Reference, reference } from "./recognizer.ts";

/** Difference of a probability that 95 of 100 judgements stay below. */
const CLOSE = 0.01;
/**
 * Difference that all stay below. The encoder quantises to 8 bits as it goes: where the order of a sum decides about a
 * step, answers move. Noise 100 dB below the sound moves Python's own by as much.
 */
const LARGEST = 0.03;
/** Largest difference of the mean and variance of an axis. */
const AXES = 0.1;
/** Recordings of each corpus: other rates, other languages, long reading, and sound that is no speech. */
const SOME = Number(process.env["EMOVOX_CLIPS"] ?? 4);
const FOLDERS = ["ravdess", "tess", "emodb", "nemo", "ased", "emospeech-in", "librispeech-1", "noise"];

let recognizer: Recognizer;
/** The largest difference of each judgement that was compared. */
const differences: number[] = [];

beforeAll(async () => {
  recognizer = await openRecognizer();
});

/** Compare judgements: label and abstention, unless they are closer to another one than what may differ. */
function expectSame(found: Prediction, wanted: Judgement, what: string): void {
  expect(Object.keys(found), what).toEqual(Object.keys(wanted));
  expect([found.start, found.end], what).toEqual([wanted.start, wanted.end]);
  expect(Object.keys(found.probabilities), what).toEqual(Object.keys(wanted.probabilities));
  const apart = Object.entries(wanted.probabilities).map(([label, value]) => Math.abs(found.probabilities[label]! - value));
  differences.push(Math.max(...apart));
  expect(Math.max(...apart), what).toBeLessThan(LARGEST);
  const [first, second] = Object.values(wanted.probabilities).sort((a, b) => b - a) as [number, number];
  if (first - second > LARGEST) expect(found.label, what).toBe(wanted.label);
  const { threshold, known_threshold: known } = recognizer.card;
  if ([threshold, known ?? threshold].every((one) => Math.abs(wanted.confidence - one) > LARGEST)) {
    expect(found.abstained, what).toBe(wanted.abstained);
  }
  const { why, setting, baseline, model, channel } = found;
  expect({ why, setting, baseline, model, channel }, what).toMatchObject({
    why: wanted["why"],
    setting: wanted["setting"],
    baseline: wanted["baseline"],
    model: wanted["model"],
    channel: wanted["channel"],
  });
}

async function compare(wanted: Reference, cuts: Record<string, object>): Promise<void> {
  const { channels, rate } = readFile(wanted.file);
  const { file: name } = wanted;
  expect(converted(channels, rate, name).samples.length).toBe(wanted.samples);

  const whole = await recognizer.recognize(channels, rate, { name }).catch((error: Error) => error);
  if ("error" in wanted.predict) expect((whole as Error).name, name).toBe(wanted.predict.error);
  else expectSame(whole as Prediction, wanted.predict, `${name}, whole`);

  for (const [cut, options] of Object.entries(cuts)) {
    const timeline = await recognizer.timeline(channels, rate, { name, ...options });
    const there = wanted.timelines[cut]!;
    expect(timeline.duration).toBe(there.duration);
    const bounds = (parts: readonly { start: number; end: number }[]) => parts.map((one) => [one.start, one.end]);
    expect(bounds(timeline.predictions), `${name}, ${cut}`).toEqual(bounds(there.predictions));
    timeline.predictions.forEach((one, at) => expectSame(one, there.predictions[at]!, `${name}, ${cut} ${at}`));
  }
  if (rate === 16000) await compareStream(channels, wanted);
}

/** Pieces of another size give the same events: those of Python. */
async function compareStream(channels: Float32Array[], wanted: Reference): Promise<void> {
  const stream = recognizer.stream({ name: wanted.file, channels: channels.length });
  const events = [];
  for (let at = 0; at < channels[0]!.length; at += 1600) {
    events.push(...(await stream.push(channels.map((one) => one.subarray(at, at + 1600)))));
  }
  events.push(...(await stream.finish()));
  const plain = (some: readonly { kind: string; time: number; decided: number }[]) =>
    some.map(({ kind, time, decided }) => ({ kind, time, decided }));
  expect(plain(events), wanted.file).toEqual(plain(wanted.events));
  events.forEach((one, at) => {
    const there = wanted.events[at]!.prediction;
    if (there) expectSame(one.prediction!, there, `${wanted.file}, event ${at}`);
  });
}

/** A profile is that of Python, but for its date. */
function compareProfiles(profile: Profile, there: Profile): void {
  const { mean, variance, created, ...rest } = profile;
  const { mean: wantedMean, variance: wantedVariance, created: _, ...wanted } = there;
  expect(rest).toEqual(wanted);
  mean.forEach((value, at) => expect(Math.abs(value - wantedMean[at]!)).toBeLessThan(AXES));
  variance.forEach((value, at) => expect(Math.abs(value - wantedVariance[at]!)).toBeLessThan(AXES));
}

/** Profiles are those of Python, and so are answers that know one; recordings and streams are their own setting alike. */
async function compareLearnt(learnt: NonNullable<Everything["learnt"]>, found: readonly Reference[]): Promise<void> {
  const clips = found.map(({ file }) => ({ samples: readFile(file).channels, rate: readFile(file).rate, name: file }));
  const [first] = clips as [(typeof clips)[0]];
  compareProfiles(await recognizer.enrol("setting", "room", clips), learnt.profile);
  const speaker = await recognizer.enrol("speaker", "anna", [first], { neutral: true });
  compareProfiles(speaker, learnt.speaker);
  await expect(recognizer.enrol("setting", "room", clips, { neutral: true })).rejects.toThrow("a setting has no mood");
  const known = await recognizer.recognize(first.samples, first.rate, { name: first.name, setting: learnt.profile });
  expectSame(known, learnt.known, "with a profile");
  const last = clips.at(-1)!;
  for (const [at, setting] of [null, learnt.profile].entries()) {
    const told = await recognizer.recognize(last.samples, last.rate, { name: last.name, speaker, setting });
    expectSame(told, learnt.neutral[at]!, `with neutral speech, ${at}`);
  }

  const { channels, rate } = readFile(learnt.file);
  const auto = await recognizer.timeline(channels, rate, { name: learnt.file, setting: "auto" });
  expect(auto.predictions).toHaveLength(learnt.auto.length);
  auto.predictions.forEach((one, at) => expectSame(one, learnt.auto[at]!, `its own setting ${at}`));
  const stream = recognizer.stream({ name: learnt.file, setting: "auto" });
  const events = [...(await stream.push(channels)), ...(await stream.finish())];
  const results = events.filter((one) => one.kind === "result").map((one) => one.prediction!);
  expect(results).toHaveLength(learnt.adapting.length);
  results.forEach((one, at) => expectSame(one, learnt.adapting[at]!, `adapting ${at}`));
}

describe("parity with Python", () => {
  test("the examples of the repository, and what they say of their setting", async () => {
    const { cuts, found, learnt } = reference(EXAMPLES);
    expect(found).toHaveLength(EXAMPLES.length);
    for (const one of found) await compare(one, cuts);
    await compareLearnt(learnt!, found);
  });

  for (const folder of FOLDERS) {
    const paths = clips(folder, SOME);
    test.skipIf(!paths.length)(`recordings of ${folder}`, async () => {
      const { cuts, found } = reference(paths);
      for (const one of found) await compare(one, cuts);
      expect(found).toHaveLength(paths.length);
    });
  }

  test("few probabilities differ by more than 0.01", () => {
    const sorted = [...differences].sort((a, b) => a - b);
    const share = (part: number) => sorted[Math.floor(part * (sorted.length - 1))]!.toFixed(4);
    console.log(`${sorted.length} judgements, largest difference: median ${share(0.5)}, 95 % ${share(0.95)}, all ${share(1)}`);
    expect(sorted.filter((one) => one > CLOSE).length / sorted.length).toBeLessThan(0.05);
  });

  test("what is heard is what Python hears, at every usual rate", () => {
    const folder = mkdtempSync(join(tmpdir(), "emovox-"));
    const rates = ["8000", "11025", "16000", "22050", "32000", "44100", "48000", "88200"];
    python("browser_reference.py", folder, ...rates.map(() => EXAMPLES[0]!), "--whole", ...rates);
    rates.forEach((_, at) => {
      const file = join(folder, String(at).padStart(3, "0"));
      const { channels, rate } = readFile(`${file}.wav`);
      const [wanted] = readFile(`${file}.heard.wav`).channels as [Float32Array];
      const { samples } = converted(channels, rate, file);
      const power = (some: Float32Array) => some.reduce((sum, one) => sum + one ** 2, 0);
      expect(power(samples.map((one, i) => one - wanted[i]!)) / power(wanted), `${rate} Hz`).toBeLessThan(1e-11);
    });
    rmSync(folder, { recursive: true });
  });

  test("what is no speech is refused", async () => {
    const tone = Float32Array.from({ length: 48_000 }, (_, i) => 0.3 * Math.sin(i / 10));
    await expect(recognizer.recognize(tone, 16000)).rejects.toBeInstanceOf(NoSpeechError);
    expect((await recognizer.timeline(tone, 16000)).predictions).toEqual([]);
  });
});

import { readFileSync } from "node:fs";
import { join } from "node:path";

import { describe, expect, test } from "vitest";

import { combine, decide } from "../src/decision.ts";
import { EmovoxError, fromPlain, InputError, NoSpeechError, toPlain } from "../src/errors.ts";
import { powerSpectra, transform } from "../src/features/analysis.ts";
import { Statistics } from "../src/model/baselines.ts";
import { cardOf } from "../src/model/card.ts";
import { round } from "../src/numbers.ts";
import { History } from "../src/recognition/history.ts";
import { summarise, tidied, timelineOptions } from "../src/recognition/timeline.ts";
import { properties } from "../src/session.ts";
import { Centre, Edges, Level } from "../src/speech/level.ts";
import type { Prediction } from "../src/types.ts";
import { ROOT } from "./recognizer.ts";

/** A judgement of one label, as in the examples of Python's docstrings. */
function part(label: string, start: number, end: number): Prediction {
  const nothing = { speaker: null, transcript: null, words: null, linguistic: null, fusion: null, why: null };
  const none = { baseline: null, channel: null, dimensions: null, unread: [] as [], notes: [], columns: null, setting: null };
  const probabilities = { sad: label === "sad" ? 1 : 0, happy: label === "happy" ? 1 : 0 };
  return { file: "a.wav", start, end, label, probabilities, confidence: 1, abstained: false, model: "m", ...nothing, ...none };
}

test("halves are rounded to even numbers, as in Python", () => {
  expect([0.5, 1.5, 2.5, -1.5, 2.4, 2.6].map(round)).toEqual([0, 2, 2, -2, 2, 3]);
});

test("the transform is that of the definition", () => {
  const sound = Float64Array.from({ length: 16 }, (_, i) => Math.sin(i * i));
  const [re, im] = [sound.slice(), new Float64Array(16)];
  transform(re, im);
  for (let bin = 0; bin < 16; bin++) {
    const sum = (part: (angle: number) => number) => sound.reduce((all, one, i) => all + one * part((2 * Math.PI * bin * i) / 16), 0);
    expect(re[bin]).toBeCloseTo(sum(Math.cos), 10);
    expect(im[bin]).toBeCloseTo(-sum(Math.sin), 10);
  }
  expect(powerSpectra(new Float32Array(1600), 1024, 512)).toHaveLength(4);
});

describe("level", () => {
  test("an offset is taken off", () => {
    const centre = new Centre();
    expect(centre.push(new Float32Array(1000).fill(0.25)).length).toBe(512);
    expect(Math.max(...centre.finish().map(Math.abs))).toBeLessThan(1e-7);
  });

  test("speech after soft noise is a rise", () => {
    const frames = new Float32Array(5 * 512).fill(1e-4, 0, 3 * 512).fill(0.1, 3 * 512);
    const { gains, rises } = new Level().push(frames);
    expect(rises).toEqual([0, 3]);
    [1000, 1000, 1000, 1, 1].forEach((wanted, at) => expect(gains[at]).toBeCloseTo(wanted, 0));
  });

  test("boundaries move to where the sound is", () => {
    const sound = new Float32Array(16000).fill(0.5, 4096, 8192);
    const edges = new Edges(0.2, 0.5);
    edges.push(sound);
    expect([edges.begin(5120, 6000), edges.end(9000, 16000)]).toEqual([4096, 8320]);
  });
});

test("what is kept of a stream is found by its place", () => {
  const history = new History();
  history.append(Float32Array.of(0, 1, 2, 3, 4), new Float32Array(0));
  history.drop(2);
  expect([...history.stretch(1, 4).samples]).toEqual([2, 3]);
  expect(history.end).toBe(5);
});

describe("decisions", () => {
  test("are the weighted mean's", () => {
    expect(combine([[1, 0], [0, 1]], [3, 1])).toEqual([0.75, 0.25]);
    expect(decide([0.4, 0.6], ["sad", "happy"], 0.7)).toEqual({ label: "happy", confidence: 0.6, abstained: true });
  });

  test("of neighbours are merged, and short ones join the longer neighbour", () => {
    const parts = [part("sad", 0, 2), part("sad", 2.25, 4), part("happy", 4, 5)];
    const spans = (some: Prediction[]) => some.map((one) => [one.label, one.start, one.end]);
    expect(spans(tidied(parts, timelineOptions({ merge: 0.25 })))).toEqual([["sad", 0, 4], ["happy", 4, 5]]);
    expect(spans(tidied(parts, timelineOptions({ min_segment: 1.5 })))[2]).toEqual(["sad", 4, 5]);
  });

  test("are summed up", () => {
    const predictions = [part("sad", 0, 2), part("happy", 2.5, 4)];
    const found = summarise({ file: "a.wav", duration: 5, predictions, unjudged: [] });
    expect(found.share["sad"]).toBeCloseTo(4 / 7, 12);
    expect(found.transitions).toEqual([{ from: "sad", to: "happy", count: 1 }]);
    expect(found.judged).toBe(3.5);
  });
});

test("options out of their range are refused", () => {
  expect(() => timelineOptions({ hop: 7 })).toThrow("hop is 7: expected seconds from 0.1 to 6");
  expect(() => timelineOptions({ mode: "both" as "interval" })).toThrow(InputError);
  expect(() => timelineOptions({ vad: { off: 0.9 } })).toThrow("off is 0.9");
});

test("statistics of two halves are those of the whole", () => {
  const rows = [[0, 2], [2, 2], [4, 5]];
  const both = Statistics.of(rows.slice(0, 1), 2).merged(Statistics.of(rows.slice(1), 2));
  const whole = Statistics.of(rows, 2);
  expect(both.count).toBe(3);
  both.packed().forEach((value, at) => expect(value).toBeCloseTo(whole.packed()[at]!, 12));
});

test("errors keep their kind on the way from the worker", () => {
  const found = fromPlain(toPlain(new NoSpeechError("nobody")));
  expect(found).toBeInstanceOf(NoSpeechError);
  expect((found as EmovoxError).code).toBe("no_speech");
});

describe("model files", () => {
  const bytes = new Uint8Array(readFileSync(join(ROOT, "src/emovox/pretrained/default.onnx")));

  test("say what they are", () => {
    const card = cardOf(properties(bytes), "the model");
    expect(card.labels).toContain("neutral");
    expect(card.threshold).toBeGreaterThan(0);
    expect(card.features.set).toBe("default");
  });

  test("that are damaged are refused", () => {
    expect(() => properties(bytes.subarray(0, 1000))).toThrow("ends early");
    expect(() => cardOf({}, "this")).toThrow("without an emovox model card");
    expect(() => cardOf({ "emovox.card": '{"format_version": 99}' }, "this")).toThrow("format 99");
  });
});

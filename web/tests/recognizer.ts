/** The recogniser with the files of the Python package, for the tests; and recordings to compare by. */

import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

import { afterAll } from "vitest";

import { python } from "../build/python.js";
import { isWav, readWav } from "../src/audio/wav.ts";
import type { Profile } from "../src/model/profiles.ts";
import { Recognizer } from "../src/recognition/recognizer.ts";
import { configure } from "../src/session.ts";

export const ROOT = resolve(import.meta.dirname, "../..");
const PACKAGE = join(ROOT, "src/emovox");

/** Open the recogniser as the worker does. */
export async function openRecognizer(): Promise<Recognizer> {
  configure({});
  const read = (name: string): Uint8Array => new Uint8Array(readFileSync(join(PACKAGE, name)));
  const model = read("pretrained/default.onnx");
  return Recognizer.open({
    model,
    fingerprint: createHash("sha256").update(model).digest("hex"),
    encoder: read("features/encoder.onnx"),
    vad: read("speech/silero/silero_vad_16k_sequence.onnx"),
  });
}

/** Read a WAV file. */
export function readFile(path: string): { channels: Float32Array[]; rate: number } {
  const bytes = new Uint8Array(readFileSync(path));
  const found = isWav(bytes) ? readWav(bytes, path) : null;
  if (!found) throw new Error(`${path} is not a WAV file that is read here`);
  return found;
}

/** The examples of the repository. */
export const EXAMPLES = ["lively", "loud", "plain", "slow"].map((name) => join(ROOT, "examples", `${name}.wav`));

/** The folder of corpora: `EMOVOX_CORPORA`, or `../shared/corpora` beside the repository; null where there is none. */
export const CORPORA = [process.env["EMOVOX_CORPORA"] ?? join(ROOT, "../shared/corpora")].find((one) => existsSync(one)) ?? null;

/** Every so many of the recordings below a folder of a corpus, in the order of their names. */
export function clips(folder: string, count: number): string[] {
  if (!CORPORA || !existsSync(join(CORPORA, folder))) return [];
  const all = readdirSync(join(CORPORA, folder), { recursive: true, encoding: "utf8" });
  const found = all.filter((name) => /\.(wav|flac|ogg)$/i.test(name)).sort();
  const step = Math.max(1, Math.floor(found.length / count));
  return found.filter((_, at) => at % step === 0).slice(0, count).map((name) => join(CORPORA, folder, name));
}

const folders: string[] = [];
afterAll(() => folders.forEach((one) => rmSync(one, { recursive: true, force: true })));

/** What Python says of recordings, see scripts/browser_reference.py. */
export function reference(paths: readonly string[]): Everything {
  const folder = mkdtempSync(join(tmpdir(), "emovox-"));
  folders.push(folder);
  python("browser_reference.py", folder, ...paths);
  const lines = readFileSync(join(folder, "reference.jsonl"), "utf8").trim().split("\n");
  const [first, ...found] = lines.map((line) => JSON.parse(line) as unknown);
  return { ...(first as Omit<Everything, "found">), found: found as Reference[] };
}

/** A judgement of Python's, as far as it is compared. */
export interface Judgement {
  start: number;
  end: number;
  label: string;
  probabilities: Record<string, number>;
  confidence: number;
  abstained: boolean;
  [further: string]: unknown;
}

/** What Python says of recordings: ways to cut, what is learnt of them together, and of each. */
export interface Everything {
  cuts: Record<string, object>;
  learnt?: {
    profile: Profile;
    known: Judgement;
    speaker: Profile;
    neutral: Judgement[];
    file: string;
    auto: Judgement[];
    adapting: Judgement[];
  };
  found: Reference[];
}

/** What Python says of a recording. */
export interface Reference {
  file: string;
  /** What it is called in its corpus. */
  recording: string;
  samples: number;
  gate: number;
  predict: Judgement | { error: string };
  timelines: Record<string, { duration: number; predictions: Judgement[] }>;
  events: { kind: string; time: number; decided: number; prediction: Judgement | null }[];
}

// Puts the model files of the Python package, and their licences, into assets/: they are kept once, in src/emovox.

import { copyFileSync, mkdirSync, rmSync } from "node:fs";
import { basename, join } from "node:path";

const WEB = join(import.meta.dirname, "..");
const PACKAGE = join(WEB, "../src/emovox");
const ASSETS = join(WEB, "assets");

export const FILES = [
  "pretrained/default.onnx",
  "pretrained/LICENSE-WEIGHTS.md",
  "features/encoder.onnx",
  "speech/silero/silero_vad_16k_sequence.onnx",
  "speech/silero/LICENSE-SILERO",
];

rmSync(ASSETS, { recursive: true, force: true });
mkdirSync(ASSETS);
for (const file of FILES) copyFileSync(join(PACKAGE, file), join(ASSETS, basename(file)));

/** What a model says of itself, carried inside the model file. */

import type { PreprocessOptions } from "../audio/preprocess.ts";
import { ModelError } from "../errors.ts";

/** Version of the card's structure; a file with another one is refused. */
const FORMAT_VERSION = 1;

/** The card of a model, as Python's `ModelCard`; only what is needed here is named. */
export interface ModelCard {
  name: string;
  family: string;
  /** Order of the network's output. */
  labels: string[];
  features: { set: string; version: number; dimension: number; preprocess: PreprocessOptions };
  /**
   * A prediction whose confidence is lower is an abstention; `known_threshold` where a baseline is known,
   * `neutral_threshold` where a speaker's speech is known to be neutral.
   */
  threshold: number;
  known_threshold: number | null;
  neutral_threshold: number | null;
  /** Seconds of speech below which the answer is an abstention; 0 answers any. */
  shortest: number;
  dimensions: string[];
  corpora: { name: string; licence: string; clips: number; speakers: number; labels: string[] }[];
  licence: string;
  evaluation: Record<string, unknown>;
  intended_use: string;
  limitations: string;
  software: string;
  created: string;
  [further: string]: unknown;
}

/** Read the card out of a file's metadata. */
export function cardOf(metadata: Record<string, string>, source: string): ModelCard {
  const text = metadata["emovox.card"];
  if (text === undefined) {
    throw new ModelError(`${source} is an ONNX file without an emovox model card: train or export it with emovox`);
  }
  let card: ModelCard;
  try {
    card = JSON.parse(text) as ModelCard;
  } catch (error) {
    throw new ModelError(`the model card in ${source} is damaged (${String(error)}): get the file again`);
  }
  if (card["format_version"] !== FORMAT_VERSION) {
    throw new ModelError(
      `model card format ${String(card["format_version"])}, expected ${FORMAT_VERSION}: take the emovox that made it`,
    );
  }
  const thresholds = { threshold: 0, known_threshold: null, neutral_threshold: null };
  const defaults = { ...thresholds, shortest: 0, dimensions: [], corpora: [], evaluation: {} };
  return { ...defaults, ...card };
}

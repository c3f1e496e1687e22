/** The encoder inside emovox, as the feature set `default`: one embedding a clip. */

import { preprocess, type PreprocessOptions } from "../audio/preprocess.ts";
import { numbers, type Session, tensor } from "../session.ts";
import { padded } from "./analysis.ts";

/** Name and version of the feature set that the encoder computes. */
export const [ENCODER, VERSION] = ["default", 1];

/** Compute the embedding of samples at 16 kHz, cleaned as a model's card says. */
export async function embedding(
  encoder: Session,
  samples: Float32Array,
  options: PreprocessOptions,
): Promise<Float32Array> {
  const cleaned = padded(preprocess(samples, options));
  const output = await encoder.run({ samples: tensor(cleaned, [1, cleaned.length]) });
  return numbers(output["embedding"]!);
}

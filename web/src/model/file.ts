/** Reading a model: one ONNX file with its card inside, and the encoder that it starts from. */

import { requireSteps } from "../audio/preprocess.ts";
import { ModelError } from "../errors.ts";
import { embedding, ENCODER, VERSION } from "../features/encoder.ts";
import { numbers, openSession, properties, type Session, tensor, type Tensors, width } from "../session.ts";
import { cardOf, type ModelCard } from "./card.ts";

/** Names of the graph's inputs and outputs. */
const [INPUT, BASELINE, OUTPUT, DIMENSIONS, AXES] = ["features", "baseline", "probabilities", "dimensions", "axes"] as const;

/** What a model says of one clip. */
export interface ModelOutput {
  /** In the order of the card's labels. */
  probabilities: number[];
  dimensions: number[] | null;
  /** What baselines of settings and speakers are statistics of. */
  axes: Float32Array | null;
}

/** A model from sound at 16 kHz to class probabilities, with the encoder inside emovox before it. */
export class Model {
  readonly card: ModelCard;
  /** SHA-256 of the file: tells whether a profile was made with this very model. */
  readonly fingerprint: string;
  /** Number of axes, r; 0 where the graph has none. */
  readonly axesWidth: number;
  readonly #graph: Session;
  readonly #encoder: Session;

  private constructor(card: ModelCard, fingerprint: string, graph: Session, encoder: Session) {
    this.card = card;
    this.fingerprint = fingerprint;
    this.#graph = graph;
    this.#encoder = encoder;
    this.axesWidth = this.takesBaseline ? width(graph.outputMetadata, AXES) : 0;
  }

  /** Open a model file; refuses what its card asks for and is not computed here. */
  static async open(content: Uint8Array, fingerprint: string, encoder: Session, source: string): Promise<Model> {
    const card = cardOf(properties(content), source);
    const { set, version, dimension, preprocess } = card.features;
    if (set !== ENCODER || version !== VERSION) {
      throw new ModelError(
        `model '${card.name}' needs the features '${set}', version ${version}, and here are those of '${ENCODER}', ` +
          `version ${VERSION}: use it with Python's emovox`,
      );
    }
    requireSteps(preprocess, card.name);
    const graph = await openSession(content, source);
    const model = new Model(card, fingerprint, graph, encoder);
    const baseline = model.takesBaseline ? width(graph.inputMetadata, BASELINE) : model.baselineWidth;
    const found = [width(graph.inputMetadata, INPUT), width(graph.outputMetadata, OUTPUT), baseline];
    const wanted = [dimension, card.labels.length, model.baselineWidth];
    if (found.join() !== wanted.join() || model.#graph.inputNames.includes("words")) {
      throw new ModelError(`${source} has inputs and outputs of ${found}, and its card says ${wanted}: get it again`);
    }
    return model;
  }

  /** Whether the model judges against a baseline of setting and speaker. */
  get takesBaseline(): boolean {
    return this.#graph.inputNames.includes(BASELINE);
  }

  /** Width of the input `baseline`: of setting and speaker the number of utterances, means and variances of the axes. */
  get baselineWidth(): number {
    return this.takesBaseline ? 2 + 4 * this.axesWidth : 0;
  }

  /** Judge samples at 16 kHz; without a baseline nothing is known of setting and speaker. */
  async run(samples: Float32Array, baseline: Float32Array | null): Promise<ModelOutput> {
    const features = await embedding(this.#encoder, samples, this.card.features.preprocess);
    const inputs: Tensors = { [INPUT]: tensor(features, [1, features.length]) };
    if (this.takesBaseline) {
      const known = baseline ?? new Float32Array(this.baselineWidth);
      inputs[BASELINE] = tensor(known, [1, known.length]);
    }
    const output = await this.#graph.run(inputs);
    const [dimensions, axes] = [output[DIMENSIONS], output[AXES]];
    return {
      probabilities: Array.from(numbers(output[OUTPUT]!)),
      dimensions: dimensions ? Array.from(numbers(dimensions)) : null,
      axes: axes && this.axesWidth ? numbers(axes) : null,
    };
  }
}

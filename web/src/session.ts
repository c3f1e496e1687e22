/** ONNX files: sessions on one thread by default, and what a file says of itself, without a session. */

import * as ort from "onnxruntime-web/wasm";

import { ModelError } from "./errors.ts";

/** Numbers by name, as graphs take and give them. */
export type Tensors = Record<string, ort.Tensor>;
export type Session = ort.InferenceSession;

/** How onnxruntime-web is to run. */
export interface Runtime {
  /** Where `ort-wasm-simd-threaded.wasm` lies, an absolute address; by default beside onnxruntime-web itself. */
  wasm?: string;
  /** Threads; more than one needs a page that is cross-origin isolated, and hangs on iOS. */
  threads?: number;
}

/** Say how to run, before the first session is opened. */
export function configure(runtime: Runtime): void {
  // Always set: where it is not, onnxruntime-web takes up to four threads.
  ort.env.wasm.numThreads = runtime.threads ?? 1;
  ort.env.logLevel = "error";
  if (runtime.wasm) ort.env.wasm.wasmPaths = { wasm: runtime.wasm };
}

/** Open a session for an ONNX file; nothing in it is executed but its graph. */
export async function openSession(content: Uint8Array, source: string): Promise<Session> {
  try {
    return await ort.InferenceSession.create(content, {
      executionProviders: ["wasm"],
      // All levels judge equally fast, and take up to twice the time to open the first graph.
      graphOptimizationLevel: "disabled",
      // A plan of memory is kept for each length of sound that ever came, and saves no time that shows.
      enableMemPattern: false,
      logSeverityLevel: 4,
    });
  } catch (error) {
    const text = String(error instanceof Error ? error.message : error).split("\n")[0]!.slice(0, 120);
    throw new ModelError(`${source} is not an ONNX model that can be read (${text}): get the file again`);
  }
}

/** Numbers of a shape, for a graph. */
export function tensor(values: Float32Array, shape: readonly number[]): ort.Tensor {
  return new ort.Tensor("float32", values, shape);
}

/** The numbers of an output. */
export function numbers(output: ort.Tensor): Float32Array {
  return output.data as Float32Array;
}

/** The width of an input or output, its last dimension; 0 where there is none or it is free. */
export function width(metadata: readonly ort.InferenceSession.ValueMetadata[], name: string): number {
  const found = metadata.find((one) => one.name === name);
  const last = found?.isTensor ? found.shape.at(-1) : 0;
  return typeof last === "number" ? last : 0;
}

/** Number of the field `metadata_props` of `ModelProto`; those of key and value in its entries are 1 and 2. */
const PROPERTIES = 14;

/** Read the metadata of an ONNX file; the graph is skipped. Source: Protocol Buffers, Encoding; onnx.proto. */
export function properties(content: Uint8Array): Record<string, string> {
  const found: Record<string, string> = {};
  const text = new TextDecoder();
  for (const [field, entry] of fields(content)) {
    if (field !== PROPERTIES) continue;
    const parts = new Map(fields(entry));
    found[text.decode(parts.get(1))] = text.decode(parts.get(2));
  }
  return found;
}

/** Give the fields of a message that are stored as bytes. */
function* fields(content: Uint8Array): Generator<[number, Uint8Array]> {
  let at = 0;
  const number = (): number => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      if (at >= content.length) throw new ModelError("the model file ends early: get it again");
      const byte = content[at++]!;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
  };
  while (at < content.length) {
    const tag = number();
    const [field, kind] = [Math.floor(tag / 8), tag % 8];
    if (kind === 0) {
      number();
      continue;
    }
    const size = kind === 2 ? number() : kind === 1 ? 8 : kind === 5 ? 4 : NaN;
    if (!(at + size <= content.length)) throw new ModelError("this is no ONNX file, or it ends early: get it again");
    if (kind === 2) yield [field, content.subarray(at, at + size)];
    at += size;
  }
}

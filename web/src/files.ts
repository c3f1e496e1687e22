/** Fetching the files that judge. */

import { ModelError } from "./errors.ts";
import type { Files } from "./recognition/recognizer.ts";

/** Called with the bytes that are here, and those that there are in all as far as is known. */
export type Loaded = (loaded: number, total: number) => void;

/** Fetch model, encoder and voice activity detector, side by side. */
export async function fetchFiles(at: { model: string; encoder: string; vad: string }, tell: Loaded): Promise<Files> {
  const sizes = new Map<string, [number, number]>();
  const watch = (address: string) => (loaded: number, total: number) => {
    sizes.set(address, [loaded, total]);
    const all = [...sizes.values()];
    tell(all.reduce((sum, one) => sum + one[0], 0), all.reduce((sum, one) => sum + one[1], 0));
  };
  const [model, encoder, vad] = await Promise.all(
    [at.model, at.encoder, at.vad].map((address) => fetched(address, watch(address))),
  );
  return { model: model!, encoder: encoder!, vad: vad!, fingerprint: await digest(model!) };
}

async function fetched(address: string, tell: Loaded): Promise<Uint8Array> {
  const answer = await fetch(address).catch(() => null);
  if (!answer?.ok || !answer.body) {
    const why = answer ? `status ${answer.status}` : "no answer";
    throw new ModelError(`cannot fetch ${address} (${why}): serve the files of the package's assets there`);
  }
  const length = answer.headers.get("Content-Encoding") ? 0 : Number(answer.headers.get("Content-Length") ?? 0);
  const parts: Uint8Array[] = [];
  let loaded = 0;
  for (const reader = answer.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    loaded += value.length;
    tell(loaded, Math.max(length, loaded));
  }
  const all = new Uint8Array(loaded);
  let at = 0;
  for (const one of parts) {
    all.set(one, at);
    at += one.length;
  }
  return all;
}

/** SHA-256 in hexadecimal; empty where the page is not served securely, and profiles cannot be told apart. */
async function digest(content: Uint8Array): Promise<string> {
  if (!globalThis.crypto?.subtle) return "";
  const sum = await crypto.subtle.digest("SHA-256", content as Uint8Array<ArrayBuffer>);
  return Array.from(new Uint8Array(sum), (one) => one.toString(16).padStart(2, "0")).join("");
}

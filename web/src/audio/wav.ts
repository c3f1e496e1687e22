/** Reading WAV files: the one format that browsers need not decode, and would bring to another rate. */

import { AudioError } from "../errors.ts";

/** A recording as it lies in its file. */
export interface Decoded {
  channels: Float32Array[];
  rate: number;
}

/** Codes of the sample formats that are read: integers, floating-point numbers, and the one that refers to a further code. */
const [PCM, FLOAT, EXTENSIBLE] = [1, 3, 0xfffe];

/** Whether this is the beginning of a WAV file. */
export function isWav(bytes: Uint8Array): boolean {
  return text(bytes, 0) === "RIFF" && text(bytes, 8) === "WAVE";
}

/** Read a WAV file of integers or floating-point numbers; null for another coding, which a browser may know. */
export function readWav(bytes: Uint8Array, name: string): Decoded | null {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const format = chunk(bytes, view, "fmt ");
  const data = chunk(bytes, view, "data");
  if (!format || !data || format.size < 16) throw new AudioError(`${name} is a WAV file without sound: export it again`);
  const at = format.begin;
  const channels = view.getUint16(at + 2, true);
  const rate = view.getUint32(at + 4, true);
  const bits = view.getUint16(at + 14, true);
  const first = view.getUint16(at, true);
  const code = first === EXTENSIBLE && format.size >= 26 ? view.getUint16(at + 24, true) : first;
  const read = reader(view, code, bits);
  if (!read || !channels) return null;
  const step = bits / 8;
  const frames = Math.floor(Math.min(data.size, bytes.length - data.begin) / (step * channels));
  const found = Array.from({ length: channels }, () => new Float32Array(frames));
  for (let frame = 0, place = data.begin; frame < frames; frame++) {
    for (let channel = 0; channel < channels; channel++, place += step) found[channel]![frame] = read(place);
  }
  return { channels: found, rate };
}

/** What reads a sample at a place, with full scale 1. */
function reader(view: DataView, code: number, bits: number): ((at: number) => number) | null {
  if (code === FLOAT && bits === 32) return (at) => view.getFloat32(at, true);
  if (code === FLOAT && bits === 64) return (at) => view.getFloat64(at, true);
  if (code !== PCM) return null;
  switch (bits) {
    case 8:
      return (at) => view.getUint8(at) / 128 - 1;
    case 16:
      return (at) => view.getInt16(at, true) / 2 ** 15;
    case 24:
      return (at) => ((view.getInt8(at + 2) << 16) | view.getUint16(at, true)) / 2 ** 23;
    case 32:
      return (at) => view.getInt32(at, true) / 2 ** 31;
    default:
      return null;
  }
}

/** Find a chunk; chunks have even lengths. */
function chunk(bytes: Uint8Array, view: DataView, name: string): { begin: number; size: number } | null {
  for (let at = 12; at + 8 <= bytes.length; ) {
    const size = view.getUint32(at + 4, true);
    if (text(bytes, at) === name) return { begin: at + 8, size };
    at += 8 + size + (size % 2);
  }
  return null;
}

function text(bytes: Uint8Array, at: number): string {
  return String.fromCharCode(...bytes.subarray(at, at + 4));
}

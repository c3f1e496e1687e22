/** Files to samples at their own rate: WAV by ourselves, everything else by the browser. */

import { AudioError } from "../errors.ts";
import { type Decoded, isWav, readWav } from "./wav.ts";

/** Rate at which a browser decodes what does not tell its own; Opus has no other. */
const USUAL = 48_000;

/**
 * Decode a recording.
 *
 * Browsers bring what they decode to the rate of their context: it is that of the file where its header tells it, so
 * that there is one resampler, ours. Runs on the page, not in workers, which have no decoder.
 */
export async function decode(file: Blob | ArrayBuffer, name = "the recording"): Promise<Decoded> {
  const content = file instanceof Blob ? await file.arrayBuffer() : file;
  const bytes = new Uint8Array(content);
  if (!bytes.length) throw new AudioError(`${name} is empty: give a recording`);
  const wav = isWav(bytes) ? readWav(bytes, name) : null;
  if (wav) return wav;
  try {
    const context = new OfflineAudioContext(1, 1, rateOf(bytes) ?? USUAL);
    const buffer = await context.decodeAudioData(content.slice(0)); // which takes the bytes away
    const channels = Array.from({ length: buffer.numberOfChannels }, (_, at) => buffer.getChannelData(at));
    return { channels, rate: buffer.sampleRate };
  } catch {
    throw new AudioError(`${name} cannot be decoded by this browser: give WAV, MP3, FLAC, Ogg or M4A`);
  }
}

/** The sampling rate that a header of FLAC, Ogg Vorbis or MP3 tells; null where it does not, or no browser decodes it. */
export function rateOf(bytes: Uint8Array): number | null {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const rate = flac(view) ?? vorbis(bytes, view) ?? mp3(view);
  return rate !== null && rate >= 8_000 && rate <= 96_000 ? rate : null;
}

function flac(view: DataView): number | null {
  return view.byteLength >= 22 && view.getUint32(0) === 0x664c6143 ? view.getUint32(18) >>> 12 : null;
}

function vorbis(bytes: Uint8Array, view: DataView): number | null {
  if (view.byteLength < 64 || view.getUint32(0) !== 0x4f676753) return null;
  const name = String.fromCharCode(...bytes.subarray(29, 35));
  return name === "vorbis" ? view.getUint32(40, true) : null;
}

/** Rates of MPEG-1 layer III; those of MPEG-2 are half, of MPEG-2.5 a quarter. */
const MPEG = [44_100, 48_000, 32_000];

function mp3(view: DataView): number | null {
  if (view.byteLength < 14) return null;
  const tagged = view.getUint32(0) >>> 8 === 0x494433; // ID3: its length has seven bits a byte
  const size = tagged ? 10 + [6, 7, 8, 9].reduce((sum, at) => sum * 128 + (view.getUint8(at) & 0x7f), 0) : 0;
  if (size + 4 > view.byteLength) return null;
  const header = view.getUint32(size);
  const version = (header >>> 19) & 3;
  const rate = MPEG[(header >>> 10) & 3];
  if (header >>> 21 !== 0x7ff || version === 1 || rate === undefined) return null;
  return rate / (version === 3 ? 1 : version === 2 ? 2 : 4);
}

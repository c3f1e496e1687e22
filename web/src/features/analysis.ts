/** Short-time spectra, and the shortest input of encoders. */

import { RATE } from "../types.ts";

/** Shortest input of encoders, in samples (0.3 s); shorter clips are padded with zeros. */
export const SHORTEST = (3 * RATE) / 10;

/** Pad a clip shorter than 0.3 s with zeros on both sides. */
export function padded(samples: Float32Array): Float32Array {
  const lack = Math.max(0, SHORTEST - samples.length);
  if (!lack) return samples;
  const found = new Float32Array(SHORTEST);
  found.set(samples, Math.floor(lack / 2));
  return found;
}

/**
 * Compute the power spectra of a signal in frames with a periodic Hann window.
 *
 * Frame t is centred on sample t * hop, with zeros beyond the ends; each has `length / 2 + 1` bins. `length` is a power
 * of two.
 */
export function powerSpectra(samples: Float32Array, length: number, hop: number): Float32Array[] {
  const taper = Float64Array.from({ length }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / length));
  const count = 1 + Math.floor(samples.length / hop);
  return Array.from({ length: count }, (_, frame) => {
    const [re, im] = [new Float64Array(length), new Float64Array(length)];
    for (let i = 0; i < length; i++) re[i] = (samples[frame * hop - length / 2 + i] ?? 0) * taper[i]!;
    transform(re, im);
    return Float32Array.from({ length: length / 2 + 1 }, (_, bin) => re[bin]! ** 2 + im[bin]! ** 2);
  });
}

/** The fast Fourier transform in place, radix 2 (Cooley and Tukey 1965). */
export function transform(re: Float64Array, im: Float64Array): void {
  const size = re.length;
  for (let i = 1, j = 0; i < size; i++) {
    let bit = size >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      [re[i], re[j]] = [re[j]!, re[i]!];
      [im[i], im[j]] = [im[j]!, im[i]!];
    }
  }
  for (let span = 2; span <= size; span *= 2) {
    const half = span / 2;
    for (let k = 0; k < half; k++) {
      const angle = (-2 * Math.PI * k) / span;
      const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
      for (let i = k; i < size; i += span) {
        const [a, b] = [re[i + half]!, im[i + half]!];
        const [x, y] = [a * cos - b * sin, a * sin + b * cos];
        re[i + half] = re[i]! - x;
        im[i + half] = im[i]! - y;
        re[i]! += x;
        im[i]! += y;
      }
    }
  }
}

import { describe, expect, test } from "vitest";

import { Converter, converted } from "../src/audio/convert.ts";
import { rateOf } from "../src/audio/decode.ts";
import { Downmix } from "../src/audio/downmix.ts";
import { normalisePeak, preprocess, trimSilence } from "../src/audio/preprocess.ts";
import { Resampler, resampled } from "../src/audio/resample.ts";
import { isWav, readWav } from "../src/audio/wav.ts";
import { AudioError } from "../src/errors.ts";
import { joined } from "../src/numbers.ts";

const tone = (hertz: number, rate: number, seconds = 1): Float32Array =>
  Float32Array.from({ length: rate * seconds }, (_, i) => Math.sin((2 * Math.PI * hertz * i) / rate));

/** Root mean square of the middle, in dB. */
function level(samples: Float32Array): number {
  const middle = samples.subarray(samples.length / 4, (3 * samples.length) / 4);
  return 10 * Math.log10(middle.reduce((sum, one) => sum + one ** 2, 0) / middle.length);
}

describe("the resampler", () => {
  test.each([8000, 11025, 22050, 24414, 44100, 47999, 48000, 96000])("gives a tone at %d Hz as it would be at 16 kHz", (rate) => {
    const found = resampled(tone(1000, rate), rate, 16000);
    expect(found.length).toBe(16000);
    const error = found.map((one, i) => one - Math.sin((2 * Math.PI * 1000 * i) / 16000));
    expect(level(error)).toBeLessThan(-100);
  });

  test.each([44100, 48000])("lets nothing fold back from above 8 kHz, %d Hz", (rate) => {
    expect(level(resampled(tone(9000, rate), rate, 16000))).toBeLessThan(-100);
    expect(level(resampled(tone(7000, rate), rate, 16000))).toBeCloseTo(level(tone(7000, rate)), 1); // soxr's own is 0.006 dB
  });

  test("does not depend on the pieces", () => {
    const sound = tone(440, 44100);
    const resampler = new Resampler(44100, 16000);
    const parts = [];
    for (let at = 0, size = 1; at < sound.length; at += size, size = (size * 7) % 1009) {
      parts.push(resampler.push(sound.subarray(at, at + size)));
    }
    expect(joined([...parts, resampler.finish()])).toEqual(resampled(sound, 44100, 16000));
  });

  test.each([0, 1, 10, 441])("gives %d samples as their share", (count) => {
    expect(resampled(new Float32Array(count).fill(1), 44100, 16000).length).toBe(Math.round((count * 160) / 441));
  });
});

describe("channels", () => {
  test("that are upside down are turned over", () => {
    const sound = tone(300, 16000);
    const { samples, notes } = converted([sound, sound.map((one) => -one)], 16000, "call");
    expect(Math.max(...samples.map((one, i) => Math.abs(one - sound[i]!)))).toBeLessThan(1e-6);
    expect(notes).toEqual(["channel 2 is upside down, and was turned over before the channels were mixed"]);
  });

  test("are mixed alike in pieces of any size", () => {
    const sound = [tone(300, 16000), tone(410, 16000).map((one) => one / 2)];
    const mix = new Downmix(16000, 2);
    const parts = [];
    for (let at = 0; at < 16000; at += 333) parts.push(mix.push(sound.map((one) => one.subarray(at, at + 333))));
    expect(joined([...parts, mix.finish()])).toEqual(converted(sound, 16000, "call").samples);
  });

  test("that do not exist are refused", () => {
    expect(() => new Converter(16000, 2, "call", 3)).toThrow("call has 2 channels: there is no channel 3");
    expect(converted([tone(1, 16000), new Float32Array(16000)], 16000, "call", 2).samples.every((one) => one === 0)).toBe(true);
  });

  test("with samples that are no numbers are refused", () => {
    const sound = new Float32Array(100);
    sound[40] = NaN;
    expect(() => converted(sound, 8000, "call")).toThrow("call has a sample of NaN at 0.005 s");
    expect(() => new Converter(999)).toThrow(AudioError);
  });
});

describe("WAV files", () => {
  /** A file of one sample format, two channels. */
  function file(bits: number, code: number, write: (view: DataView, at: number) => void): Uint8Array {
    const bytes = new Uint8Array(44 + 2 * (bits / 8));
    const view = new DataView(bytes.buffer);
    const text = (at: number, word: string) => [...word].forEach((letter, i) => (bytes[at + i] = letter.charCodeAt(0)));
    text(0, "RIFF");
    text(8, "WAVEfmt ");
    view.setUint32(16, 16, true);
    view.setUint16(20, code, true);
    view.setUint16(22, 2, true);
    view.setUint32(24, 8000, true);
    view.setUint16(34, bits, true);
    text(36, "data");
    view.setUint32(40, 0xffffffff, true); // as programs write that do not know the length yet
    write(view, 44);
    return bytes;
  }

  test.each([
    [8, 1, (view: DataView, at: number) => view.setUint8(at, 192)],
    [16, 1, (view: DataView, at: number) => view.setInt16(at, 16384, true)],
    [24, 1, (view: DataView, at: number) => view.setUint8(at + 2, 64)],
    [32, 1, (view: DataView, at: number) => view.setInt32(at, 2 ** 30, true)],
    [32, 3, (view: DataView, at: number) => view.setFloat32(at, 0.5, true)],
    [64, 3, (view: DataView, at: number) => view.setFloat64(at, 0.5, true)],
  ])("of %d bits, code %d", (bits, code, write) => {
    const bytes = file(bits, code, write);
    expect(isWav(bytes)).toBe(true);
    const { channels, rate } = readWav(bytes, "a.wav")!;
    expect([rate, channels.length, channels[0]!.length, channels[0]![0]]).toEqual([8000, 2, 1, 0.5]);
  });

  test("of another coding are left to the browser", () => {
    expect(readWav(file(8, 7, () => {}), "a.wav")).toBeNull();
  });
});

test.each([
  [44100, [0x66, 0x4c, 0x61, 0x43, 0, 0, 0, 34, 16, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0x0a, 0xc4, 0x42, 0xf0]],
  [44100, [0xff, 0xfb, 0x90, 0x64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]],
  [24000, [0x49, 0x44, 0x33, 4, 0, 0, 0, 0, 0, 2, 0, 0, 0xff, 0xf3, 0x84, 0xc4, 0, 0]],
  [null, new Array<number>(64).fill(0)],
])("headers tell a rate of %s Hz", (rate, bytes) => {
  expect(rateOf(Uint8Array.from(bytes))).toBe(rate);
});

describe("cleaning", () => {
  const all = { dc: true, denoise: false, trim: true, trim_threshold: 40, trim_margin: 0, level: "peak" as const, peak: 0 };

  test("cuts silence off both ends", () => {
    const sound = new Float32Array(17600);
    sound.fill(1, 8000, 9600);
    expect(trimSilence(sound, 40, 0).length).toBe(1920); // as in the example of Python's trim_silence
  });

  test("takes offset and level away", () => {
    expect([...preprocess(Float32Array.of(0.25, 0.75, 0.5), { ...all, trim: false })]).toEqual([-1, 1, 0]);
    expect([...normalisePeak(new Float32Array(3), -1)]).toEqual([0, 0, 0]);
  });
});

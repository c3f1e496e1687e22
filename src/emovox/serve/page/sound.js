// Sound in the page: what a waveform looks like, a WAV file, playing a stretch.

/** Points a second of a waveform, and how many there are at most. */
const DENSITY = 100;
const POINTS = 100_000;
/** Seconds up to which a compressed recording is decoded at once: a browser takes 20 MB of memory a minute for it. */
const DECODED = 1200;
/** Bytes of a long file that are looked at at a time. */
const SLICE = 4 << 20;
/** Rate that is enough for a picture, in Hz. */
const COARSE = 8000;

/**
 * Read what a recording looks like.
 *
 * @param {Blob} blob
 * @returns {Promise<{duration: number, peaks: Uint8Array[] | null}>} For each channel the largest magnitude, 0 to 255, of each
 *   of equal stretches; null where this browser cannot tell.
 */
export async function picture(blob) {
  const wav = await readWavHead(blob);
  if (wav) return { duration: wav.frames / wav.rate, peaks: await wavPeaks(blob, wav) };
  const duration = await durationOf(blob);
  if (!Number.isFinite(duration)) return { duration: NaN, peaks: null };
  try {
    if (duration <= DECODED) return { duration, peaks: peaksOf(await decoded(await blob.arrayBuffer())) };
    if (/mp3|mpeg/.test(blob.type) || /\.mp3$/i.test(blob.name ?? "")) return { duration, peaks: await slicedPeaks(blob, duration) };
  } catch {
    // played perhaps, but not drawn
  }
  return { duration, peaks: null };
}

function decoded(data) {
  return new OfflineAudioContext(1, 1, COARSE).decodeAudioData(data);
}

const pointsFor = (duration) => Math.max(1, Math.min(POINTS, Math.ceil(duration * DENSITY)));

function peaksOf(buffer) {
  const points = pointsFor(buffer.duration);
  return Array.from({ length: Math.min(8, buffer.numberOfChannels) }, (_, channel) => {
    const found = new Uint8Array(points);
    fill(found, buffer.getChannelData(channel), 0, buffer.length);
    return found;
  });
}

/** Note the magnitudes of samples that begin at `first` of `total`. */
function fill(found, samples, first, total) {
  const scale = found.length / total;
  for (let place = 0; place < samples.length; place++) {
    const point = Math.min(found.length - 1, Math.floor((first + place) * scale));
    const value = Math.min(255, Math.abs(samples[place]) * 255);
    if (value > found[point]) found[point] = value;
  }
}

/** An MPEG stream can be cut anywhere: its frames find their beginning again. */
async function slicedPeaks(blob, duration) {
  const found = new Uint8Array(pointsFor(duration));
  for (let begin = 0; begin < blob.size; begin += SLICE) {
    const buffer = await decoded(await blob.slice(begin, begin + SLICE).arrayBuffer());
    fill(found, buffer.getChannelData(0), Math.round((begin / blob.size) * duration * COARSE), Math.round(duration * COARSE));
  }
  return [found];
}

function durationOf(blob) {
  return new Promise((resolve) => {
    const audio = new Audio();
    const address = URL.createObjectURL(blob);
    const done = (duration) => {
      URL.revokeObjectURL(address);
      resolve(duration);
    };
    audio.preload = "metadata";
    audio.onloadedmetadata = () => done(audio.duration);
    audio.onerror = () => done(NaN);
    audio.src = address;
  });
}

/** Find format and samples of a WAV file; null where it is none that we read. */
export async function readWavHead(blob) {
  const view = async (begin, length) => new DataView(await blob.slice(begin, begin + length).arrayBuffer());
  const text = (data, place) => String.fromCharCode(...new Uint8Array(data.buffer, place, 4));
  const head = await view(0, 12);
  if (head.byteLength < 12 || text(head, 0) !== "RIFF" || text(head, 8) !== "WAVE") return null;
  let format = null;
  for (let place = 12; place + 8 <= blob.size; ) {
    const chunk = await view(place, 8);
    const size = chunk.getUint32(4, true);
    if (text(chunk, 0) === "fmt ") {
      const data = await view(place + 8, Math.min(40, size));
      const kind = data.getUint16(0, true);
      format = {
        float: kind === 3 || (kind === 0xfffe && data.byteLength >= 26 && data.getUint16(24, true) === 3),
        known: kind === 1 || kind === 3 || kind === 0xfffe,
        channels: data.getUint16(2, true),
        rate: data.getUint32(4, true),
        bytes: data.getUint16(14, true) / 8,
      };
    } else if (text(chunk, 0) === "data" && format) {
      const length = Math.min(size, blob.size - place - 8);
      const frames = Math.floor(length / (format.channels * format.bytes));
      return format.known && frames > 0 && [1, 2, 3, 4].includes(format.bytes) ? { ...format, begin: place + 8, frames } : null;
    }
    place += 8 + size + (size % 2);
  }
  return null;
}

async function wavPeaks(blob, wav) {
  const size = wav.bytes * wav.channels;
  const step = Math.floor(SLICE / size);
  const found = Array.from({ length: Math.min(8, wav.channels) }, () => new Uint8Array(pointsFor(wav.frames / wav.rate)));
  for (let first = 0; first < wav.frames; first += step) {
    const last = Math.min(wav.frames, first + step);
    const data = await blob.slice(wav.begin + first * size, wav.begin + last * size).arrayBuffer();
    const read = sampleReader(new DataView(data), wav);
    for (let channel = 0; channel < found.length; channel++) {
      const samples = new Float32Array(last - first);
      for (let place = 0; place < samples.length; place++) samples[place] = read(place * size + channel * wav.bytes);
      fill(found[channel], samples, first, wav.frames);
    }
  }
  return found;
}

function sampleReader(data, { bytes, float }) {
  if (float) return (place) => data.getFloat32(place, true);
  if (bytes === 1) return (place) => (data.getUint8(place) - 128) / 128;
  if (bytes === 2) return (place) => data.getInt16(place, true) / 32768;
  if (bytes === 3) return (place) => (data.getUint16(place, true) | (data.getInt8(place + 2) << 16)) / 8388608;
  return (place) => data.getInt32(place, true) / 2147483648;
}

/** Write mono samples as a WAV file. */
export function wavOf(chunks, rate) {
  const size = chunks.reduce((sum, one) => sum + one.byteLength, 0);
  const head = new DataView(new ArrayBuffer(44));
  const text = (place, value) => [...value].forEach((one, index) => head.setUint8(place + index, one.charCodeAt(0)));
  text(0, "RIFF");
  head.setUint32(4, 36 + size, true);
  text(8, "WAVEfmt ");
  head.setUint32(16, 16, true);
  head.setUint16(20, 1, true);
  head.setUint16(22, 1, true);
  head.setUint32(24, rate, true);
  head.setUint32(28, 2 * rate, true);
  head.setUint16(32, 2, true);
  head.setUint16(34, 16, true);
  text(36, "data");
  head.setUint32(40, size, true);
  return new Blob([head, ...chunks], { type: "audio/wav" });
}

/** Plays stretches of one recording. */
export class Player extends EventTarget {
  #audio = new Audio();
  #end = Infinity;

  constructor() {
    super();
    for (const name of ["play", "pause", "ended", "seeked"]) this.#audio.addEventListener(name, () => this.#tell());
    this.#audio.addEventListener("error", () => this.dispatchEvent(new Event("unplayable")));
  }

  /** Take a recording; null takes none. */
  load(blob) {
    this.unload();
    if (blob) {
      this.address = URL.createObjectURL(blob);
      this.#audio.src = this.address;
    }
  }

  unload() {
    this.#audio.pause();
    if (!this.address) return;
    URL.revokeObjectURL(this.address);
    this.#audio.removeAttribute("src");
    this.address = null;
  }

  get time() {
    return this.#audio.currentTime;
  }

  get playing() {
    return !this.#audio.paused;
  }

  /** Play from somewhere to somewhere. */
  play(start = this.time, end = Infinity) {
    if (!this.address) return;
    if (Math.abs(this.time - start) > 0.02) this.#audio.currentTime = start;
    this.#end = end;
    this.#audio.play().catch(() => {});
  }

  pause() {
    this.#audio.pause();
  }

  seek(time) {
    this.#end = Infinity;
    this.#audio.currentTime = time;
  }

  #tell() {
    this.dispatchEvent(new Event("change"));
    if (!this.playing) return;
    if (this.time >= this.#end) {
      this.#audio.pause();
      this.#end = Infinity;
    } else requestAnimationFrame(() => this.#tell());
  }
}

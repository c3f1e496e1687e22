// The microphone as PCM: no codec, no gain control, no noise suppression, which would change how a voice sounds.

import { wavOf } from "./sound.js";

export class Recorder {
  chunks = [];
  frames = 0;

  /**
   * @param {(samples: Int16Array, level: {peak: number, rms: number}) => void} onSamples
   */
  constructor(onSamples) {
    this.onSamples = onSamples;
  }

  /** Ask for the microphone and begin. */
  async start() {
    if (!navigator.mediaDevices?.getUserMedia) {
      throw new Error("Browsers allow recording on this machine (localhost) and over HTTPS only.");
    }
    const wanted = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    try {
      this.media = await navigator.mediaDevices.getUserMedia({ audio: wanted });
    } catch (error) {
      throw new Error(
        error.name === "NotAllowedError" ? "The microphone was refused: allow it beside the address, and try again." : "No microphone was found.",
        { cause: error },
      );
    }
    // The context takes the microphone's rate: some browsers refuse any other.
    this.context = new AudioContext();
    this.rate = this.context.sampleRate;
    await this.context.audioWorklet.addModule(new URL("./recorder-worklet.js", import.meta.url));
    const node = new AudioWorkletNode(this.context, "emovox-recorder", { numberOfOutputs: 0 });
    node.port.onmessage = ({ data }) => this.#hear(data);
    this.context.createMediaStreamSource(this.media).connect(node);
    await this.context.resume();
  }

  get seconds() {
    return this.rate ? this.frames / this.rate : 0;
  }

  #hear(block) {
    if (this.stopped) return;
    const samples = new Int16Array(block.length);
    let peak = 0;
    let power = 0;
    for (let place = 0; place < block.length; place++) {
      const value = block[place];
      peak = Math.max(peak, Math.abs(value));
      power += value * value;
      samples[place] = Math.max(-32768, Math.min(32767, Math.round(value * 32767)));
    }
    this.chunks.push(samples);
    this.frames += samples.length;
    this.onSamples(samples, { peak, rms: Math.sqrt(power / block.length) });
  }

  /** End; the microphone is let go. */
  async stop() {
    this.stopped = true;
    this.media?.getTracks().forEach((track) => track.stop());
    if (this.context?.state !== "closed") await this.context?.close();
    return this.frames ? wavOf(this.chunks, this.rate) : null;
  }
}

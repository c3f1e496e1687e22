// Hands the microphone's samples to the page as they are: its rate, all channels averaged.

class Recorder extends AudioWorkletProcessor {
  #block = new Float32Array(2048);
  #filled = 0;

  process([channels]) {
    if (!channels.length) return true;
    for (let place = 0; place < channels[0].length; place++) {
      let sum = 0;
      for (const channel of channels) sum += channel[place];
      this.#block[this.#filled++] = sum / channels.length;
      if (this.#filled === this.#block.length) {
        this.port.postMessage(this.#block);
        this.#filled = 0;
      }
    }
    return true;
  }
}

registerProcessor("emovox-recorder", Recorder);

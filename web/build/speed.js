// How much of a processor the model takes, in seconds: `npm run speed`.  It runs in Node.js, whose engine is Chromium's.

import { readWav } from "../dist/audio/wav.js";
import { opened, read } from "./opened.js";

/** Processor time of some work. */
async function seconds(work) {
  const before = process.cpuUsage();
  const found = await work();
  const { user, system } = process.cpuUsage(before);
  return [found, (user + system) / 1e6];
}

const [recognizer, opening] = await seconds(opened);
console.log(`opening: ${opening.toFixed(2)} s`);
for (const turn of ["first", "then"]) {
  for (const name of ["plain", "lively"]) {
    const { channels, rate } = readWav(read("../examples", `${name}.wav`), name);
    const [, took] = await seconds(() => recognizer.recognize(channels, rate));
    console.log(`${turn}, ${name}.wav, ${(channels[0].length / rate).toFixed(1)} s of sound: ${took.toFixed(2)} s`);
  }
}
process.exit();

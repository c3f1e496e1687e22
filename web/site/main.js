// The page with the model inside it instead of a server.

import about from "virtual:about";

import { start } from "@page/app.js";
import { h } from "@page/dom.js";
import conversation from "@page/samples/conversation.flac?url";
import lively from "@page/samples/lively.flac?url";
import plain from "@page/samples/plain.flac?url";

import { LocalEngine } from "./engine-local.js";
import { beginToKeep, keepAll } from "./offline.js";

const SAMPLES = [
  { address: conversation, name: "A conversation", about: "Two synthetic voices, one on each channel." },
  { address: lively, name: "A lively sentence", about: "One synthetic voice, high and quick." },
  { address: plain, name: "A plain sentence", about: "One synthetic voice, as it comes." },
];

const note = h("p.quiet.small", { role: "status" });
document.querySelector(".foot")?.append(note);

const megabytes = (bytes) => (bytes / 1e6).toFixed(0);
const engine = new LocalEngine({
  about,
  samples: SAMPLES.map((one) => ({ ...one, address: new URL(one.address, document.baseURI).href })),
  assets: new URL(__MODEL__, document.baseURI),
  ready: beginToKeep(),
  onLoad: (loaded, total) => (note.textContent = `The model is being fetched: ${megabytes(loaded)} of ${megabytes(total)} MB.`),
});
engine.loaded.then(
  async () => {
    note.textContent = "The model is here.";
    if (await keepAll()) note.textContent = "The model is here, and works without a network, too.";
  },
  (error) => (note.textContent = error.message),
);
start(engine);

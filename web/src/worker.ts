/** The worker: opens the files, and does what it is asked, one thing after the other. */

import { InputError, toPlain } from "./errors.ts";
import { fetchFiles } from "./files.ts";
import type { Answer, Calls, Name, Question } from "./protocol.ts";
import { Recognizer } from "./recognition/recognizer.ts";
import type { Stream, Watch } from "./recognition/streaming.ts";
import { configure } from "./session.ts";

/** The worker's own scope, as far as it is used. */
interface Scope {
  onmessage: ((event: MessageEvent<Question>) => void) | null;
  postMessage(message: Answer): void;
}

const scope = globalThis as unknown as Scope;
const streams = new Map<number, Stream>();
const stopped = new Set<number>();
let recognizer: Recognizer | null = null;
let streamCount = 0;

function opened(): Recognizer {
  if (!recognizer) throw new InputError("the model is not open");
  return recognizer;
}

function streamOf(number: number): Stream {
  const found = streams.get(number);
  if (!found) throw new InputError(`there is no stream ${number}: it is finished`);
  return found;
}

type Handlers = { [N in Name]: (ask: Calls[N]["ask"], watch: Watch, id: number) => Promise<Calls[N]["answer"]> };

const handlers: Handlers = {
  async open(setup, _watch, id) {
    configure(setup);
    const files = await fetchFiles(setup, (loaded, total) => scope.postMessage({ id, loaded, total }));
    recognizer = await Recognizer.open(files);
    return { card: recognizer.card, fingerprint: recognizer.fingerprint };
  },
  recognize: ({ sound, rate, options }, watch) => opened().recognize(sound, rate, options, watch),
  timeline: ({ sound, rate, options }, watch) => opened().timeline(sound, rate, options, watch),
  enrol: ({ kind, name, clips, options }, watch) => opened().enrol(kind, name, clips, options, watch),
  async begin(options) {
    streams.set(++streamCount, opened().stream(options));
    return streamCount;
  },
  push: ({ stream, sound, estimates }) => streamOf(stream).push(sound, estimates),
  async finish({ stream }) {
    const found = streamOf(stream);
    streams.delete(stream);
    return { events: await found.finish(), heard: found.heard };
  },
  async drop({ stream }) {
    streams.delete(stream);
  },
};

/** Calls that stand in line; those of streams go first, for they are live. */
const waiting: { live: boolean; run: () => Promise<void> }[] = [];
let busy = false;

async function work(): Promise<void> {
  if (busy) return;
  busy = true;
  while (waiting.length) {
    const live = waiting.findIndex((one) => one.live);
    await waiting.splice(Math.max(0, live), 1)[0]!.run();
  }
  busy = false;
}

async function answer({ id, name, ask }: { id: number; name: Name; ask: unknown }): Promise<void> {
  const watch: Watch = {
    progress: (progress) => scope.postMessage({ id, progress }),
    tell: (event) => scope.postMessage({ id, event }),
    stopped: () => stopped.has(id),
  };
  try {
    const handler = handlers[name] as (ask: unknown, watch: Watch, id: number) => Promise<unknown>;
    scope.postMessage({ id, answer: await handler(ask, watch, id) });
  } catch (error) {
    scope.postMessage({ id, error: toPlain(error) });
  }
  stopped.delete(id);
}

scope.onmessage = ({ data }) => {
  if ("stop" in data) {
    stopped.add(data.id);
    return;
  }
  const live = ["begin", "push", "finish", "drop"].includes(data.name);
  waiting.push({ live, run: () => answer(data) });
  void work();
};

/** The static site in a real Chromium: its answers are those of Python, it asks nobody else, and works without a network. */

import { existsSync } from "node:fs";
import type { Server } from "node:http";
import { basename, join } from "node:path";

import type { BrowserContext, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { EXAMPLES, type Judgement, reference, type Reference, ROOT } from "../recognizer.ts";
import { CHROMIUM, open, serve } from "./browser.ts";

const SITE = join(ROOT, "web/site-dist");
/** Milliseconds in which a slow machine fetches and opens the model, or judges a recording. */
const LONG = 120_000;

/** A result as the page keeps it. */
interface Kept {
  file: string;
  duration: number;
  predictions: Judgement[];
}

/** Wait for the result of a recording, and read it where the page keeps it. */
async function resultOf(page: Page, name: string): Promise<Kept> {
  const look = (wanted: string): Promise<Kept | null> =>
    new Promise((resolve) => {
      const request = indexedDB.open("emovox", 1);
      request.onsuccess = () => {
        const all = request.result.transaction("results").objectStore("results").getAll();
        all.onsuccess = () => {
          request.result.close();
          resolve((all.result as Kept[]).find((one) => one.file === wanted) ?? null);
        };
      };
    });
  for (const begun = Date.now(); Date.now() - begun < LONG; await new Promise((done) => setTimeout(done, 100))) {
    const found = await page.evaluate(look, name);
    if (found) return found;
  }
  throw new Error(`no result of ${name} after ${LONG / 1000} s; the page says: ${await page.locator("#side").innerText()}`);
}

function expectSame(found: Kept, wanted: Reference): void {
  const there = wanted.timelines["utterance"]!;
  expect(found.duration).toBe(there.duration);
  expect(found.predictions.map((one) => [one.start, one.end, one.label, one.abstained])).toEqual(
    there.predictions.map((one) => [one.start, one.end, one.label, one.abstained]),
  );
  found.predictions.forEach((one, at) => {
    for (const [label, value] of Object.entries(there.predictions[at]!.probabilities)) {
      expect(Math.abs(one.probabilities[label]! - value), `${found.file}: ${label}`).toBeLessThan(0.03); // see parity.test.ts
    }
  });
}

describe.skipIf(!CHROMIUM || !existsSync(SITE))("the site", () => {
  let context: BrowserContext;
  let page: Page;
  let host: { address: string; asked: string[]; server: Server };
  let recordings: Reference[];
  const elsewhere: string[] = [];
  const complaints: string[] = [];

  beforeAll(async () => {
    recordings = reference(EXAMPLES).found; // copies of them at other rates
    host = await serve(SITE, "/some/folder/");
    context = await open(EXAMPLES[0]!);
    context.setDefaultTimeout(LONG);
    page = context.pages()[0] ?? (await context.newPage());
    context.on("request", (request) => {
      if (!request.url().startsWith(host.address) && !/^(blob|data|chrome|about):/.test(request.url())) elsewhere.push(request.url());
    });
    page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
    page.on("pageerror", (error) => complaints.push(error.message));
    const begun = Date.now();
    await page.goto(host.address);
    await page.getByText("works without a network").waitFor({ timeout: LONG });
    console.log(`first visit: the model is open after ${(Date.now() - begun) / 1000} s`);
  });

  /** Give recordings to the page, and compare what it says. */
  async function judge(some: Reference[]): Promise<void> {
    const begun = Date.now();
    await page.locator("input[type=file]").first().setInputFiles(some.map((one) => one.file));
    for (const one of some) expectSame(await resultOf(page, basename(one.file)), one);
    const seconds = some.reduce((sum, one) => sum + one.samples / 16000, 0);
    console.log(`${seconds.toFixed(1)} s of sound in ${some.length} files took ${(Date.now() - begun) / 1000} s`);
  }

  afterAll(async () => {
    await context?.close();
    host?.server.close();
  });

  test("judges recordings as Python does", async () => {
    await judge(recordings.slice(0, 2));
  });

  test("judges a microphone as it is heard", async () => {
    await page.goto(`${host.address}#/record`);
    await page.locator("#main").getByRole("button", { name: "Record", exact: true }).click();
    await page.locator("p.answer").waitFor({ timeout: LONG });
    await page.getByRole("button", { name: "Stop and keep" }).click();
    await page.waitForFunction(() => location.hash !== "#/record", undefined, { timeout: LONG });
  });

  test("fetches each file once", () => {
    const models = host.asked.filter((path) => /\.(onnx|wasm)$/.test(path));
    expect(models.map((path) => basename(path).replace(/-[\w-]{8}\.wasm$/, ".wasm")).sort()).toEqual([
      "default.onnx",
      "encoder.onnx",
      "ort-wasm-simd-threaded.wasm",
      "silero_vad_16k_sequence.onnx",
    ]);
  });

  test("works without a network", async () => {
    await new Promise((resolve) => {
      host.server.close(resolve);
      host.server.closeAllConnections();
    });
    await page.goto("about:blank");
    await page.goto(host.address);
    await page.getByText("works without a network").waitFor({ timeout: LONG });
    await judge(recordings.slice(2));
  });

  test("asks nobody else, and has nothing to complain of", () => {
    expect(elsewhere).toEqual([]);
    expect(complaints).toEqual([]);
  });
});

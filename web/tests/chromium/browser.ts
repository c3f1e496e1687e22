/** A real Chromium, and a static host for what was built. */

import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { extname, join, normalize } from "node:path";

import { type BrowserContext, chromium } from "playwright-core";

/** Where Chromium is: `EMOVOX_CHROMIUM`, or where distributions put it; null where there is none. */
export const CHROMIUM =
  [process.env["EMOVOX_CHROMIUM"], "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(
    (one) => one && existsSync(one),
  ) ?? null;

/** What keeps a browser from asking anybody for anything by itself. */
const QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"];
const QUIETER = ["--disable-component-update", "--disable-sync"];

/** Start a browser with a new profile; its microphone hears a WAV file. */
export async function open(microphone: string): Promise<BrowserContext> {
  const folder = mkdtempSync(join(tmpdir(), "emovox-chromium-"));
  const heard = [`--use-file-for-fake-audio-capture=${microphone}`, "--use-fake-device-for-media-stream"];
  const context = await chromium.launchPersistentContext(folder, {
    executablePath: CHROMIUM!,
    headless: true,
    args: [...QUIET, ...QUIETER, ...heard, "--use-fake-ui-for-media-stream"],
  });
  context.on("close", () => rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 }));
  return context;
}

const TYPES: Record<string, string> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
  ".wasm": "application/wasm",
};

/** Serve a folder below a path, as plain hosts do: everything that they do not know is bytes. */
export async function serve(folder: string, below: string): Promise<{ address: string; asked: string[]; server: Server }> {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url!, "http://host").pathname));
    asked.push(path);
    const name = path.slice(below.length) || "index.html";
    const file = join(folder, name);
    if (!path.startsWith(below) || name.includes("..") || !existsSync(file)) {
      response.writeHead(404).end();
      return;
    }
    response.writeHead(200, { "Content-Type": TYPES[extname(file)] ?? "application/octet-stream" }).end(readFileSync(file));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { address: `http://127.0.0.1:${(server.address() as AddressInfo).port}${below}`, asked, server };
}

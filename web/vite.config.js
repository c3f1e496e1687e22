// The static site: the page of `emovox serve`, with site/ in the place of the server.

import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";

import { defineConfig } from "vite";

import { python } from "./build/python.js";

const WEB = import.meta.dirname;
const ROOT = resolve(WEB, "..");
const PAGE = join(ROOT, "src/emovox/serve/page");
const ASSETS = join(WEB, "assets");

/** The policy of `emovox serve`, as far as a page itself can state one. */
const POLICY =
  "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' data: blob:; " +
  "media-src 'self' blob:; connect-src 'self'; worker-src 'self'; font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'";

const digest = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash("sha256")).digest("hex").slice(0, 12);
const models = readdirSync(ASSETS).map((name) => [name, readFileSync(join(ASSETS, name))]);
const MODEL = `model-${digest(...models.map(([, content]) => content))}/`;

/** Puts site/ into the page, and the model beside it. */
function local() {
  return {
    name: "emovox-local",
    enforce: "pre",
    resolveId(source, importer) {
      if (source === "virtual:about") return "\0about";
      return importer?.endsWith("index.html") && source.endsWith("main.js") ? join(WEB, "site/main.js") : null;
    },
    load(id) {
      // Python puts the model card into words.
      return id === "\0about" ? `export default ${python("browser_about.py")}` : null;
    },
    transformIndexHtml: {
      order: "post",
      handler: (html) => html.replace("<head>", `<head>\n    <meta http-equiv="Content-Security-Policy" content="${POLICY}" />`),
    },
    buildStart() {
      for (const [name, source] of models) this.emitFile({ type: "asset", fileName: MODEL + name, source });
    },
  };
}

/** Writes the service worker, with the list of all files. */
function offline() {
  return {
    name: "emovox-offline",
    enforce: "post",
    generateBundle(_, bundle) {
      const names = Object.keys(bundle).sort();
      const later = names.filter((name) => name.startsWith(MODEL) || name.endsWith(".wasm"));
      const files = names.filter((name) => !later.includes(name));
      const content = names.map((name) => bundle[name].source ?? bundle[name].code);
      const list = JSON.stringify({ version: digest(...names, ...content), files, later });
      const source = readFileSync(join(WEB, "site/sw.js"), "utf8").replace("__FILES__", () => list);
      this.emitFile({ type: "asset", fileName: "sw.js", source });
    },
  };
}

export default defineConfig({
  root: PAGE,
  base: "./",
  publicDir: false,
  plugins: [local(), offline()],
  define: { __MODEL__: JSON.stringify(MODEL) },
  resolve: { alias: { "@page": PAGE, emovox: join(WEB, "dist/index.js") } },
  worker: { format: "es" },
  build: { outDir: join(WEB, "site-dist"), emptyOutDir: true, assetsInlineLimit: 0, modulePreload: { polyfill: false }, target: "es2022" },
  preview: { host: "127.0.0.1" },
});

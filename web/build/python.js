// The Python that has emovox: `EMOVOX_PYTHON`, else that of the repository's environment, else any.

import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";

const ROOT = join(import.meta.dirname, "../..");
const OWN = join(ROOT, ".venv/bin/python");

/**
 * Run one of the repository's scripts.
 *
 * @param {string} script
 * @param {string[]} options
 * @returns {string} What it prints.
 */
export function python(script, ...options) {
  const program = process.env.EMOVOX_PYTHON ?? (existsSync(OWN) ? OWN : "python3");
  const path = [join(ROOT, "src"), process.env.PYTHONPATH].filter(Boolean).join(delimiter);
  return execFileSync(program, [join(ROOT, "scripts", script), ...options], {
    encoding: "utf8",
    env: { ...process.env, PYTHONPATH: path, OMP_NUM_THREADS: "1" },
  });
}

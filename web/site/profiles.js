// Profiles of voices and settings, kept in this browser: numbers, no sound.

import { EngineError } from "@page/engine.js";

export class Profiles {
  #storage;

  /** @param {Storage} storage */
  constructor(storage) {
    this.#storage = storage;
  }

  /** All of a kind, "speakers" or "settings", by name. */
  all(kind) {
    try {
      const found = JSON.parse(this.#storage.getItem(place(kind))) ?? [];
      return found.sort((a, b) => a.name.localeCompare(b.name));
    } catch {
      return [];
    }
  }

  get(kind, name) {
    const found = this.all(kind).find((one) => one.name === name);
    if (!found) throw new EngineError("not_found", `There is no profile of ${name}.`);
    return found;
  }

  /** Keep a profile, in place of one of the same name. */
  put(kind, profile) {
    this.#keep(kind, [...this.all(kind).filter((one) => one.name !== profile.name), profile]);
  }

  remove(kind, name) {
    this.#keep(kind, this.all(kind).filter((one) => one.name !== name));
  }

  #keep(kind, profiles) {
    this.#storage.setItem(place(kind), JSON.stringify(profiles));
  }
}

const place = (kind) => `emovox-profiles-${kind}`;

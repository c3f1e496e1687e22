// What the page remembers, in this browser: recordings, their sound, their results.  Where the browser keeps nothing
// (private windows), all of it lives as long as the page.

const TABLES = ["recordings", "sounds", "results"];

export class Store {
  /** Open what there is. */
  static open() {
    return new Promise((resolve) => {
      let request;
      try {
        request = indexedDB.open("emovox", 1);
      } catch {
        resolve(new Store(null));
        return;
      }
      request.onupgradeneeded = () => TABLES.forEach((name) => request.result.createObjectStore(name));
      request.onsuccess = () => resolve(new Store(request.result));
      request.onerror = () => resolve(new Store(null));
    });
  }

  constructor(database) {
    this.database = database;
    this.memory = Object.fromEntries(TABLES.map((name) => [name, new Map()]));
  }

  /** Whether anything outlives the page. */
  get lasting() {
    return this.database !== null;
  }

  all() {
    return this.#ask("recordings", "readonly", (table) => table.getAll(), (map) => [...map.values()]);
  }

  get(name, id) {
    return this.#ask(name, "readonly", (table) => table.get(id), (map) => map.get(id));
  }

  put(name, id, value) {
    const kept = (map) => void map.set(id, value);
    return this.#ask(name, "readwrite", (table) => table.put(value, id), kept).catch(() => kept(this.memory[name]));
  }

  async remove(id) {
    for (const name of TABLES) {
      this.memory[name].delete(id);
      await this.#ask(name, "readwrite", (table) => table.delete(id), () => {});
    }
  }

  async #ask(name, mode, question, remembered) {
    if (!this.database) return remembered(this.memory[name]);
    const found = await new Promise((resolve, reject) => {
      const change = this.database.transaction(name, mode);
      const request = question(change.objectStore(name));
      change.oncomplete = () => resolve(request.result);
      change.onabort = change.onerror = () => reject(change.error ?? request.error);
    });
    return found === undefined ? remembered(this.memory[name]) : found; // what there was no room for
  }
}

// Keeps the page's files. The build puts their list here: names with a hash never change what they hold.

const { version, files, later } = __FILES__;
const CACHE = `emovox-${version}`;
const SCOPE = self.registration.scope;
const known = new Set([...files, ...later].map((name) => new URL(name, SCOPE).href));

self.addEventListener("install", (event) => event.waitUntil(install()));
self.addEventListener("activate", (event) => event.waitUntil(activate()));
self.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET") return;
  const address = request.mode === "navigate" ? new URL("index.html", SCOPE).href : request.url.split("#")[0];
  if (known.has(address)) event.respondWith(answer(address));
});

self.addEventListener("message", ({ data, ports }) => {
  if (data === "keep") keep().then((done) => ports[0].postMessage(done));
});

/** Keep the page at once; the model is kept when it is fetched, or taken over from the version before. */
async function install() {
  const cache = await caches.open(CACHE);
  await cache.addAll(files.map((name) => new Request(new URL(name, SCOPE), { cache: "reload" })));
  for (const name of later) {
    const address = new URL(name, SCOPE).href;
    const found = await caches.match(address);
    if (found) await cache.put(address, found);
  }
}

async function activate() {
  const names = await caches.keys();
  await Promise.all(names.filter((name) => name.startsWith("emovox-") && name !== CACHE).map((name) => caches.delete(name)));
  await self.clients.claim();
}

/** Keep what the page has fetched before this worker was there; say whether all is kept. */
async function keep() {
  const cache = await caches.open(CACHE);
  try {
    for (const address of known) if (!(await cache.match(address))) await cache.add(address);
    return true;
  } catch {
    return false; // no room, or no network any more
  }
}

async function answer(address) {
  const cache = await caches.open(CACHE);
  const kept = await cache.match(address);
  if (kept) return kept;
  const found = await fetch(address);
  // A device without room for it works all the same, with the network.
  if (found.ok) cache.put(address, found.clone()).catch(() => {});
  return found;
}

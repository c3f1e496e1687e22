// What makes the page work without a network after the first visit: a service worker that keeps its files.

/** Milliseconds that the model waits for it, so that what is fetched is kept at once. */
const PATIENCE = 5000;

/**
 * Begin to keep the page's files.
 *
 * @returns {Promise<void>} When it makes sense to fetch the rest.
 */
export async function beginToKeep() {
  if (!("serviceWorker" in navigator)) return;
  const { serviceWorker } = navigator;
  const controlled = new Promise((resolve) => {
    if (serviceWorker.controller) resolve();
    serviceWorker.addEventListener("controllerchange", resolve);
    setTimeout(resolve, PATIENCE);
  });
  try {
    await serviceWorker.register(new URL("sw.js", document.baseURI));
    await controlled;
  } catch {
    // private windows of some browsers, or a page that is not served securely: all works, with the network
  }
}

/**
 * Keep what is not kept yet.
 *
 * @returns {Promise<boolean>} Whether all is; never, where nothing can be.
 */
export async function keepAll() {
  if (!("serviceWorker" in navigator)) return false;
  const { active } = await navigator.serviceWorker.ready;
  const { port1, port2 } = new MessageChannel();
  return new Promise((resolve) => {
    port1.onmessage = ({ data }) => resolve(data);
    active.postMessage("keep", [port2]);
  });
}

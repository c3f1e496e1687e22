// What makes the page work without a network after the first visit: a service worker that keeps its files.

/** Milliseconds that the page waits for it: without it, all works but needs the network. */
const PATIENCE = 5000;

/**
 * Begin to keep the page's files.
 *
 * @returns {Promise<boolean>} Whether what is fetched from now on is kept.
 */
export async function keepForLater() {
  if (!import.meta.env.PROD || !("serviceWorker" in navigator)) return false;
  const { serviceWorker } = navigator;
  const controlled = new Promise((resolve) => {
    if (serviceWorker.controller) resolve(true);
    serviceWorker.addEventListener("controllerchange", () => resolve(true));
    setTimeout(resolve, PATIENCE, false);
  });
  try {
    await serviceWorker.register(new URL("sw.js", document.baseURI));
    return await controlled;
  } catch {
    return false; // private windows of some browsers, or a page that is not served securely
  }
}

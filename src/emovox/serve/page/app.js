// Puts the page together: what is where, and who knows of whom.

/** @param {import("./engine.js").Engine} engine */
export async function start(engine) {
  const about = await engine.capabilities();
  document.getElementById("main").replaceChildren(`${about.model}: ${about.labels.join(", ")}`);
}

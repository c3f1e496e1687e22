// Elements from values: the page has no markup in strings, so no name of a file is ever taken for markup.

const SVG = "http://www.w3.org/2000/svg";

/**
 * Make an element: h("button.quiet", {onclick, ariaLabel}, "Text", child, ...).
 *
 * Properties are set as properties where the element has them, as attributes elsewhere; null and false children are left out.
 */
export function h(kind, properties = {}, ...children) {
  if (properties instanceof Node || typeof properties !== "object" || Array.isArray(properties)) {
    children.unshift(properties);
    properties = {};
  }
  const [tag, ...classes] = kind.split(".");
  const element = document.createElement(tag || "div");
  if (classes.length) element.className = classes.join(" ");
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value == null) continue;
    if (name === "data") Object.assign(element.dataset, value);
    else if (name in element && name !== "list") element[name] = value;
    else if (value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((one) => one != null && one !== false && one !== ""));
  return element;
}

/** Make an element of SVG. */
export function s(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.filter((one) => one != null && one !== false));
  return element;
}

const ICONS = {
  play: "M7 4.5v15l12-7.5z",
  pause: "M6.5 5h4v14h-4zM13.5 5h4v14h-4z",
  mic: "M12 3a3 3 0 0 0-3 3v6a3 3 0 0 0 6 0V6a3 3 0 0 0-3-3zM5 11a7 7 0 0 0 6 6.9V21h2v-3.1A7 7 0 0 0 19 11h-2a5 5 0 0 1-10 0z",
  stop: "M6 6h12v12H6z",
  add: "M11 5h2v6h6v2h-6v6h-2v-6H5v-2h6z",
  trash: "M9 3h6l1 2h4v2H4V5h4zM6 9h12l-1 12H7zm4 2v8h1.5v-8zm2.5 0v8H14v-8z",
  down: "M11 3h2v9l3.5-3.5L18 10l-6 6-6-6 1.5-1.5L11 12zM4 18h16v2.5H4z",
  close: "M6.4 5 12 10.6 17.6 5 19 6.4 13.4 12l5.6 5.6-1.4 1.4-5.6-5.6L6.4 19 5 17.6l5.6-5.6L5 6.4z",
  again: "M12 5V2l5 4-5 4V7a5 5 0 1 0 5 5h2a7 7 0 1 1-7-7z",
  back: "M14.5 5 16 6.5 10.5 12l5.5 5.5-1.5 1.5-7-7z",
  zoomin: "M10 4a6 6 0 0 1 4.7 9.7l5 5-1.4 1.4-5-5A6 6 0 1 1 10 4zm0 2a4 4 0 1 0 0 8 4 4 0 0 0 0-8zm-.8 1.6h1.6v1.6h1.6v1.6h-1.6v1.6H9.2v-1.6H7.6V9.2h1.6z",
  zoomout: "M10 4a6 6 0 0 1 4.7 9.7l5 5-1.4 1.4-5-5A6 6 0 1 1 10 4zm0 2a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM7.6 9.2h4.8v1.6H7.6z",
  gear: "M4 6h9v2H4zm13 0h3v2h-3zM13 4.5h3v5h-3zM4 11h3v2H4zm7 0h9v2h-9zM7.5 9.5h3v5h-3zM4 16h9v2H4zm13 0h3v2h-3zm-4-1.5h3v5h-3z",
  key: "M8 8a4 4 0 0 1 3.9 3H21v3h-2v3h-3v-3h-4.1A4 4 0 1 1 8 8zm0 2.5a1.5 1.5 0 1 0 0 3 1.5 1.5 0 0 0 0-3z",
  sun: "M12 7a5 5 0 1 1 0 10 5 5 0 0 1 0-10zM11 2h2v3h-2zm0 17h2v3h-2zM2 11h3v2H2zm17 0h3v2h-3zM4.2 5.6l1.4-1.4 2.1 2.1-1.4 1.4zm12.1 12.1 1.4-1.4 2.1 2.1-1.4 1.4zM4.2 18.4l2.1-2.1 1.4 1.4-2.1 2.1zM16.3 6.3l2.1-2.1 1.4 1.4-2.1 2.1z",
  moon: "M14 3a9 9 0 1 0 7 12.6A8 8 0 0 1 14 3z",
};

/** Draw one of our signs; it says nothing by itself, its button does. */
export function icon(name) {
  return s("svg", { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true" }, s("path", { d: ICONS[name] }));
}

/** Make a button with a sign; without visible text where `text` is hidden. */
export function button(sign, text, onclick, { kind = "", quiet = false, ...more } = {}) {
  const label = quiet ? { ariaLabel: text, title: text } : {};
  return h(`button${kind && `.${kind}`}${quiet ? ".only" : ""}`, { type: "button", onclick, ...label, ...more }, sign && icon(sign), !quiet && text);
}

/** Tell who listens to the page. */
export function announce(text) {
  const place = document.getElementById("live");
  if (place) place.textContent = text;
}

/** Give the user a file. */
export function save(blob, name) {
  const link = h("a", { href: URL.createObjectURL(blob), download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** Open a dialog; it is gone when it is closed. */
export function dialog(title, ...children) {
  const head = h("header", h("h2", title), button("close", "Close", () => found.close(), { quiet: true }));
  const found = h("dialog", { ariaLabel: title, onclose: () => found.remove() }, head, ...children);
  document.body.append(found);
  found.showModal();
  return found;
}

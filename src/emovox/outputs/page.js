"use strict";
// Everything can be read without this script: it only plays, and shows where it plays.
const player = document.querySelector("audio");
// In the order of time, whatever row they are in.
const segments = [...document.querySelectorAll(".seg")].sort((one, other) => one.dataset.number - other.dataset.number);
const rows = [...document.querySelectorAll("tr[data-start]")];
const heads = [...document.querySelectorAll(".head")];
const picture = document.querySelector(".time svg");
const duration = Number(picture.dataset.duration);
const width = picture.viewBox.baseVal.width;
let stop = null;

function play(one) {
  focusOn(segments.find((other) => other.dataset.number === one.dataset.number));
  if (!player) return;
  player.currentTime = Number(one.dataset.start);
  stop = Number(one.dataset.end);
  player.play().catch(() => {});
}

function focusOn(one) {
  for (const other of segments) other.setAttribute("tabindex", other === one ? "0" : "-1");
}

function show() {
  const now = player.currentTime;
  if (stop !== null && now >= stop) {
    player.pause();
    stop = null;
  }
  for (const head of heads) {
    head.setAttribute("x1", (width * now) / duration);
    head.setAttribute("x2", (width * now) / duration);
    head.removeAttribute("visibility");
  }
  for (const one of [...segments, ...rows]) {
    one.classList.toggle("now", Number(one.dataset.start) <= now && now < Number(one.dataset.end));
  }
  if (!player.paused) requestAnimationFrame(show);
}

for (const one of segments) {
  one.addEventListener("click", (event) => {
    event.stopPropagation();
    play(one);
  });
  one.addEventListener("keydown", (event) => {
    const index = segments.indexOf(one);
    const next = { ArrowRight: index + 1, ArrowLeft: index - 1, Home: 0, End: segments.length - 1 }[event.key];
    if (event.key === "Enter" || event.key === " ") play(one);
    else if (next === undefined) return;
    else if (segments[next]) {
      focusOn(segments[next]);
      segments[next].focus();
    }
    event.preventDefault();
  });
}
for (const row of rows) row.querySelector("button").addEventListener("click", () => play(row));
if (player) {
  player.addEventListener("play", show);
  player.addEventListener("timeupdate", () => player.paused && show());
  player.addEventListener("error", () => document.querySelector("#silent").removeAttribute("hidden"));
  picture.addEventListener("click", (event) => {
    const box = picture.getBoundingClientRect();
    stop = null;
    player.currentTime = (duration * (event.clientX - box.left)) / box.width;
  });
}

// A recording over time, drawn on a canvas: for each row its waveform and its answers, below them every emotion's probability.
// Everything that it shows can be read in the table, too; by keyboard it is a slider from segment to segment.

import { answer, Looks } from "./emotions.js";
import { button, h } from "./dom.js";
import { labelsOf, tracks } from "./result.js";
import { clock, count, percent } from "./text.js";

const WAVE = 64;
const STRIP = 26;
const RIDGE = 22;
const GAP = 14;
const AXIS = 24;
const NAME = 18;
/** Seconds between the marks of the axis. */
const MARKS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600];
/** Seconds that can be looked at at least. */
const CLOSEST = 1;

export class Timeline {
  view = { start: 0, end: 1 };
  selected = -1;
  #rows = [{ name: "", parts: [] }]; // before anything is shown
  #result = { predictions: [], duration: 0 };
  #peaks = null;
  #mixed = null; // the largest of all channels, where there are several
  #looks = new Looks([]);
  #head = null;
  #hover = -1;

  /**
   * @param {object} told
   * @param {(index: number) => void} told.onPick A segment was chosen: its place in `result.predictions`.
   * @param {(seconds: number) => void} told.onSeek A place between segments was chosen.
   * @param {boolean} [told.live] Whether it grows: it shows its end, and there is nothing to choose.
   */
  constructor({ onPick, onSeek, live = false }) {
    Object.assign(this, { onPick, onSeek, live });
    this.canvas = h("canvas", { ariaHidden: "true" });
    this.playhead = h("div.playhead", { hidden: true });
    this.stage = h("div.stage", { tabIndex: live ? -1 : 0 }, this.canvas, this.playhead);
    this.readout = h("p.readout", { ariaHidden: "true" });
    this.overview = h("canvas.overview", { ariaHidden: "true", hidden: true });
    this.zooming = h(
      "div.zoom",
      button("zoomout", "Show more time (-)", () => this.zoom(2), { quiet: true }),
      button("zoomin", "Show less time (+)", () => this.zoom(0.5), { quiet: true }),
    );
    this.element = h("div.timeline", h("div.bar", this.readout, !live && this.zooming), this.stage, this.overview);
    if (!live) this.#listen();
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.stage);
    this.scheme = matchMedia("(prefers-color-scheme: dark)");
    this.redraw = () => this.draw();
    this.scheme.addEventListener("change", this.redraw);
    addEventListener("themechange", this.redraw);
  }

  /** Show a result; `peaks` are those of `picture`, or null. */
  show(result, peaks, labels = labelsOf(result)) {
    this.#result = result;
    this.#peaks = peaks?.length ? peaks : null;
    this.#mixed = peaks?.length > 1 ? peaks[0].map((one, at) => peaks.reduce((most, channel) => Math.max(most, channel[at]), one)) : null;
    this.#looks = new Looks(labels);
    this.#rows = tracks(result);
    if (!this.#rows.length) this.#rows = [{ name: "", parts: [] }];
    if (this.live) this.view = { start: Math.max(0, result.duration - 30), end: Math.max(30, result.duration) };
    else if (!this.shown) this.view = { start: 0, end: result.duration || 1 };
    this.shown = true;
    this.#describe();
    this.draw();
  }

  /** Let go of what it holds. */
  close() {
    this.observer.disconnect();
    this.scheme.removeEventListener("change", this.redraw);
    removeEventListener("themechange", this.redraw);
  }

  /** Choose a segment; it comes into sight. */
  select(index) {
    this.selected = index;
    const one = this.#result.predictions[index];
    if (one) this.#reveal(one.start, one.end);
    this.#describe();
    this.draw();
  }

  /** Show where it plays; null shows nothing. */
  at(seconds) {
    this.#head = seconds;
    if (seconds !== null && (seconds < this.view.start || seconds > this.view.end)) this.#reveal(seconds, seconds);
    this.#place();
  }

  zoom(factor, middle) {
    const { start, end } = this.view;
    const duration = this.#result.duration;
    const one = this.#result.predictions[this.selected];
    const centre = middle ?? (this.#head !== null && this.#head > start && this.#head < end ? this.#head : one && one.end > start && one.start < end ? (one.start + one.end) / 2 : (start + end) / 2);
    const length = Math.min(duration, Math.max(Math.min(CLOSEST, duration), (end - start) * factor));
    const share = (centre - start) / (end - start);
    this.#look(centre - share * length, length);
  }

  #look(start, length = this.view.end - this.view.start) {
    const first = Math.max(0, Math.min(this.#result.duration - length, start));
    this.view = { start: first, end: first + length };
    this.draw();
  }

  #reveal(start, end) {
    const length = this.view.end - this.view.start;
    if (start >= this.view.start && end <= this.view.end) return;
    this.#look(end - start > length ? start : (start + end) / 2 - length / 2);
  }

  // What it is for those who do not see it.

  #describe() {
    const total = this.#result.predictions.length;
    if (this.live) return;
    const stage = this.stage;
    const one = this.#result.predictions[this.selected];
    stage.setAttribute("role", total ? "slider" : "img");
    stage.setAttribute("aria-label", total ? "Segments over time. Left and right choose one, Enter plays it, plus and minus zoom." : "A waveform; nobody speaks.");
    for (const name of ["aria-valuemin", "aria-valuemax", "aria-valuenow", "aria-valuetext"]) if (!total) stage.removeAttribute(name);
    if (!total) return;
    stage.setAttribute("aria-valuemin", "0");
    stage.setAttribute("aria-valuemax", String(total));
    stage.setAttribute("aria-valuenow", String(this.selected + 1));
    stage.setAttribute("aria-valuetext", one ? `${this.selected + 1} of ${total}: ${this.#told(one)}` : count(total, "segment"));
    this.#tell();
  }

  #told(one) {
    const whose = [one.channel && `channel ${one.channel}`, one.speaker && `speaker ${one.speaker}`].filter(Boolean);
    return `${clock(one.start)} to ${clock(one.end)}, ${answer(one)} ${percent(one.confidence)}${whose.length ? `, ${whose.join(", ")}` : ""}`;
  }

  #tell() {
    const one = this.#result.predictions[this.#hover] ?? this.#result.predictions[this.selected];
    const { start, end } = this.view;
    this.readout.textContent = one ? this.#told(one) : `${clock(start)} to ${clock(end)}`;
  }

  // Hands.

  #listen() {
    const stage = this.stage;
    let drag = null;
    stage.addEventListener("pointerdown", (event) => {
      drag = { x: event.clientX, start: this.view.start, moved: false };
    });
    stage.addEventListener("pointermove", (event) => {
      if (drag && event.buttons && this.#zoomed && event.pointerType === "mouse") {
        const far = event.clientX - drag.x;
        if (Math.abs(far) > 4) drag.moved = true;
        if (drag.moved) return this.#look(drag.start - far / this.#scale);
      }
      const hover = this.#find(event);
      if (hover !== this.#hover) {
        this.#hover = hover;
        this.#tell();
      }
    });
    stage.addEventListener("pointerleave", () => {
      this.#hover = -1;
      this.#tell();
    });
    stage.addEventListener("click", (event) => {
      if (drag?.moved) return;
      const index = this.#find(event);
      if (index >= 0) this.onPick(index);
      else this.onSeek(Math.max(0, this.#time(event)));
    });
    stage.addEventListener("wheel", (event) => {
      if (event.ctrlKey || event.metaKey) {
        event.preventDefault();
        this.zoom(event.deltaY > 0 ? 1.25 : 0.8, this.#time(event));
      } else if (Math.abs(event.deltaX) > Math.abs(event.deltaY) && this.#zoomed) {
        event.preventDefault();
        this.#look(this.view.start + event.deltaX / this.#scale);
      }
    }, { passive: false });
    stage.addEventListener("keydown", (event) => this.#press(event));
    const jump = (event) => {
      if (event.type === "pointermove" && !event.buttons) return;
      const box = this.overview.getBoundingClientRect();
      const length = this.view.end - this.view.start;
      this.#look(((event.clientX - box.left) / box.width) * this.#result.duration - length / 2);
    };
    this.overview.addEventListener("pointerdown", jump);
    this.overview.addEventListener("pointermove", jump);
  }

  #press(event) {
    const total = this.#result.predictions.length;
    const next = { ArrowRight: this.selected + 1, ArrowLeft: this.selected - 1, Home: 0, End: total - 1, PageUp: this.selected - 10, PageDown: this.selected + 10 }[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (next !== undefined && total) {
      const index = Math.max(0, Math.min(total - 1, next));
      this.select(index);
      this.onSelect?.(index);
    } else if (event.key === "Enter" && this.selected >= 0) this.onPick(this.selected);
    else if (event.key === "+" || event.key === "=") this.zoom(0.5);
    else if (event.key === "-") this.zoom(2);
    else return;
    event.preventDefault();
  }

  get #zoomed() {
    return this.view.end - this.view.start < this.#result.duration - 1e-6;
  }

  get #gutter() {
    return this.width < 560 ? 22 : 86;
  }

  /** Points of the screen a second. */
  get #scale() {
    return Math.max(1, this.width - this.#gutter) / (this.view.end - this.view.start);
  }

  #x(seconds) {
    return this.#gutter + (seconds - this.view.start) * this.#scale;
  }

  #time(event) {
    return this.view.start + (event.clientX - this.stage.getBoundingClientRect().left - this.#gutter) / this.#scale;
  }

  #find(event) {
    const time = this.#time(event);
    const y = event.clientY - this.stage.getBoundingClientRect().top;
    const row = this.#rows.find((_, place) => y >= this.#tops[place] && y < this.#tops[place] + this.#height) ?? this.#current;
    const part = row?.parts.find(({ one }) => one.start <= time && time < one.end);
    return part ? part.index : -1;
  }

  /** The row whose probabilities are shown. */
  get #current() {
    return this.#rows.find((row) => row.parts.some((part) => part.index === this.selected)) ?? this.#rows[0];
  }

  #tops = [];
  #height = WAVE + STRIP;

  // Ink.

  draw() {
    const width = this.stage.clientWidth;
    if (!width || !this.shown) return;
    this.width = width;
    const named = this.#rows.some((row) => row.name);
    let top = 0;
    this.#tops = this.#rows.map(() => {
      top += named ? NAME : 0;
      const mine = top;
      top += this.#height + (named ? 8 : 0);
      return mine;
    });
    const labels = this.#looks.labels;
    const ridges = top + GAP + (named ? NAME : 0);
    const height = ridges + RIDGE * labels.length + AXIS;
    const style = getComputedStyle(this.element);
    this.ink = Object.fromEntries(["ink", "quiet", "line", "card", "wave", "accent"].map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
    const pen = fitted(this.canvas, width, height);
    this.pen = pen;
    pen.font = `12px ${style.fontFamily}`;
    pen.textBaseline = "middle";
    this.#rows.forEach((row, place) => this.#drawRow(row, this.#tops[place], named));
    this.#drawRidges(ridges, labels, named);
    this.#drawAxis(height - AXIS);
    this.#drawOverview();
    this.zooming.hidden = this.#result.duration <= CLOSEST;
    this.#place();
    this.#tell();
  }

  #visible(row) {
    return row.parts.filter(({ one }) => one.end > this.view.start && one.start < this.view.end);
  }

  #drawRow(row, top, named) {
    const { pen, ink } = this;
    const left = this.#gutter;
    if (named) {
      pen.fillStyle = ink.quiet;
      pen.textAlign = "left";
      pen.fillText(row.name, left, top - NAME / 2);
    }
    pen.save();
    pen.beginPath();
    pen.rect(left, top, this.width - left, this.#height);
    pen.clip();
    const parts = this.#visible(row);
    for (const { one } of parts) {
      pen.globalAlpha = one.abstained ? 0.1 : 0.28;
      pen.fillStyle = this.#looks.get(one.label).colour;
      pen.fillRect(this.#x(one.start), top, Math.max(1, (one.end - one.start) * this.#scale), WAVE);
    }
    pen.globalAlpha = 1;
    this.#drawWave(row, top);
    pen.fillStyle = ink.line;
    pen.fillRect(left, top + WAVE, this.width, 1);
    for (const part of parts) this.#drawSegment(part, top);
    pen.restore();
  }

  #drawWave(row, top) {
    const { pen, ink } = this;
    const middle = top + WAVE / 2;
    pen.fillStyle = ink.wave;
    if (!this.#peaks) {
      pen.fillRect(this.#gutter, middle, this.width, 1);
      return;
    }
    const channel = row.parts[0]?.one.channel;
    const peaks = (channel ? this.#peaks[channel - 1] : this.#mixed) ?? this.#peaks[0];
    // Drawn as tall as there is room; what is almost silent stays small.
    if (this.live || this.#measured !== peaks) {
      const from = this.live ? Math.max(0, peaks.length - 3000) : 0;
      this.#loudest = peaks.subarray(from).reduce((most, one) => Math.max(most, one), 40);
      this.#measured = peaks;
    }
    const loudest = this.#loudest;
    const rate = peaks.length / this.#result.duration;
    for (let x = this.#gutter; x < this.width; x += 3) {
      const [start, end] = [x, x + 3].map((one) => (this.view.start + (one - this.#gutter) / this.#scale) * rate);
      let most = 0;
      for (let place = Math.floor(start); place < Math.max(Math.floor(start) + 1, end) && place < peaks.length; place++) most = Math.max(most, peaks[place]);
      const tall = Math.max(1, (most / loudest) * (WAVE - 10));
      pen.fillRect(x, middle - tall / 2, 2, tall);
    }
  }

  #loudest = 40;
  #measured = null;

  #drawSegment({ one, index }, top) {
    const { pen, ink } = this;
    const look = this.#looks.get(one.label);
    const [x, y] = [this.#x(one.start), top + WAVE + 2];
    const wide = Math.max(1.5, (one.end - one.start) * this.#scale - 1);
    const tall = STRIP - 2;
    pen.fillStyle = one.abstained ? ink.card : look.colour;
    pen.fillRect(x, y, wide, tall);
    if (one.abstained) hatch(pen, x, y, wide, tall, look.colour);
    if (wide < 4 && index !== this.selected) return;
    pen.strokeStyle = index === this.selected ? ink.ink : ink.quiet;
    pen.lineWidth = index === this.selected ? 2.5 : 0.6;
    pen.strokeRect(x + pen.lineWidth / 2, y + pen.lineWidth / 2, Math.max(0.5, wide - pen.lineWidth), tall - pen.lineWidth);
    if (wide < 12) return;
    const text = one.abstained ? (wide > 26 ? `${look.letter}?` : "?") : wide > 8 * one.label.length + 12 ? one.label : look.letter;
    const middle = Math.min(Math.max(x + wide / 2, this.#gutter + 8), this.width - 8);
    pen.textAlign = "center";
    if (one.abstained) {
      pen.fillStyle = ink.card;
      pen.beginPath();
      pen.ellipse(middle, y + tall / 2, text.length > 1 ? 13 : 8, 9, 0, 0, 7);
      pen.fill();
    }
    pen.fillStyle = one.abstained ? ink.ink : look.ink;
    pen.fillText(text, middle, y + tall / 2 + 1);
  }

  #drawRidges(top, labels, named) {
    const { pen, ink } = this;
    const left = this.#gutter;
    const row = this.#current;
    const parts = this.#visible(row);
    if (named) {
      pen.fillStyle = ink.quiet;
      pen.textAlign = "left";
      pen.fillText(`Probabilities, ${row.name[0].toLowerCase()}${row.name.slice(1)}`, left, top - NAME / 2);
    }
    labels.forEach((label, place) => {
      const look = this.#looks.get(label);
      const bottom = top + (place + 1) * RIDGE;
      pen.fillStyle = ink.quiet;
      pen.textAlign = "right";
      pen.fillText(left > 30 ? label : look.letter, left - 8, bottom - RIDGE / 2 + 1);
      pen.fillStyle = ink.line;
      pen.fillRect(left, bottom - 1, this.width - left, 1);
      pen.save();
      pen.beginPath();
      pen.rect(left, top, this.width - left, RIDGE * labels.length);
      pen.clip();
      for (const { one } of parts) {
        const share = one.probabilities[label] ?? 0;
        const tall = share * (RIDGE - 3);
        const [x, wide] = [this.#x(one.start), Math.max(1, (one.end - one.start) * this.#scale - 1)];
        pen.fillStyle = look.colour;
        pen.fillRect(x, bottom - 1 - tall, wide, tall);
        if (label === one.label) {
          pen.fillStyle = ink.ink;
          pen.fillRect(x, bottom - 2 - tall, wide, 1.5);
        }
      }
      pen.restore();
    });
  }

  #drawAxis(top) {
    const { pen, ink } = this;
    const step = MARKS.find((mark) => mark * this.#scale >= 72) ?? MARKS.at(-1);
    pen.fillStyle = ink.quiet;
    for (let mark = Math.ceil(this.view.start / step - 1e-9); mark * step <= this.view.end; mark++) {
      const x = this.#x(mark * step);
      pen.fillRect(x, top, 1, 4);
      pen.textAlign = x > this.width - 20 ? "right" : x < this.#gutter + 12 ? "left" : "center";
      pen.fillText(clock(mark * step, step < 1 ? 1 : 0), x, top + 14);
    }
  }

  #drawOverview() {
    this.overview.hidden = !this.#zoomed || this.live;
    if (this.overview.hidden) return;
    const pen = fitted(this.overview, this.width, 34);
    const scale = this.width / this.#result.duration;
    pen.fillStyle = this.ink.line;
    pen.fillRect(0, 6, this.width, 22);
    this.#rows.forEach((row, place) => {
      const tall = 22 / this.#rows.length;
      for (const { one } of row.parts) {
        pen.globalAlpha = one.abstained ? 0.3 : 1;
        pen.fillStyle = this.#looks.get(one.label).colour;
        pen.fillRect(one.start * scale, 6 + place * tall, Math.max(0.5, (one.end - one.start) * scale), tall - 1);
      }
    });
    pen.globalAlpha = 1;
    pen.strokeStyle = this.ink.ink;
    pen.lineWidth = 2;
    pen.strokeRect(this.view.start * scale + 1, 2, Math.max(6, (this.view.end - this.view.start) * scale - 2), 30);
  }

  #place() {
    const time = this.#head;
    this.playhead.hidden = time === null || !this.width || time < this.view.start || time > this.view.end;
    if (!this.playhead.hidden) this.playhead.style.transform = `translateX(${this.#x(time)}px)`;
  }
}

/** Give a canvas its size on the screen, and a pen whose unit is a point. */
export function fitted(canvas, width, height) {
  const ratio = devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  return pen;
}

/** Fill with slanted lines: an answer that is not given. */
export function hatch(pen, x, y, wide, tall, colour) {
  pen.save();
  pen.beginPath();
  pen.rect(x, y, wide, tall);
  pen.clip();
  pen.strokeStyle = colour;
  pen.lineWidth = 2;
  pen.beginPath();
  for (let place = x - tall - (x % 7); place < x + wide; place += 7) {
    pen.moveTo(place, y + tall);
    pen.lineTo(place + tall, y);
  }
  pen.stroke();
  pen.restore();
}

// Results as files: the bytes that `emovox predict --format ... --out` writes (tests/serve/test_page.py holds them equal).

import { UNSURE } from "./emotions.js";
import { fixed, nine, percent, roundEven, shown, stem } from "./text.js";

const ROUNDING = 0.5 / 16000;
// eslint-disable-next-line no-control-regex
const BLANKS = /[\s\x00-\x1f\x7f-\x9f]+/g;
const FORMULA = /^'*(?![+-]?[\d.]+(e[+-]?\d+)?$)[=+\-@\t\r\uff1d\uff0b\uff0d\uff20]/;

/** Formats: how a file's name ends, its media type, whether it holds one recording only, and who writes it. */
export const FORMATS = {
  json: { title: "JSON", ending: ".json", type: "application/json", one: false, write: toJson },
  csv: { title: "CSV table", ending: ".csv", type: "text/csv", one: false, write: toCsv },
  vtt: { title: "WebVTT subtitles", ending: ".vtt", type: "text/vtt", one: true, write: toVtt },
  srt: { title: "SubRip subtitles", ending: ".srt", type: "application/x-subrip", one: true, write: toSrt },
  textgrid: { title: "Praat TextGrid", ending: ".TextGrid", type: "text/x-textgrid", one: true, write: toTextgrid },
  rttm: { title: "RTTM", ending: ".rttm", type: "text/x-rttm", one: false, write: toRttm },
  audacity: { title: "Audacity labels", ending: ".txt", type: "text/x-audacity-labels", one: true, write: toAudacity },
};

/**
 * Write results in a format.
 *
 * @param {string} format One of FORMATS.
 * @param {object[]} results One, where the format holds one only.
 */
export function write(format, results) {
  return FORMATS[format].write(results.flatMap((one) => one.predictions), results);
}

/** Give each recording a name of its own, without folder and ending. */
export class Names {
  #taken = new Set();

  get(file) {
    const first = stem(file).replace(/^[<>]+|[<>]+$/g, "") || "recording";
    let name = first;
    for (let number = 2; this.#taken.has(name.toLowerCase()); number++) name = `${first}-${number}`;
    this.#taken.add(name.toLowerCase());
    return name;
  }
}

function toJson(predictions) {
  return predictions.length ? `[\n${predictions.map((one) => JSON.stringify(one)).join(",\n")}\n]\n` : "[\n]\n";
}

const spokenOf = (first) => first && (first.transcript != null || (first.why ?? []).some((line) => !line.startsWith("too little speech")));

function row(one) {
  const prefixed = (mark, values) => Object.entries(values ?? {}).map(([name, value]) => [mark + name, value]);
  const found = new Map([
    ...["file", "start", "end", "label", "confidence", "abstained", "model", "speaker"].map((name) => [name, one[name]]),
    ...prefixed("p_", one.probabilities),
    ...["transcript", "baseline", "channel"].map((name) => [name, one[name]]),
    ["setting", one.setting?.name],
    ...prefixed("d_", one.dimensions),
  ]);
  for (const [name, value] of Object.entries(one.columns ?? {})) found.set(found.has(name) ? `given_${name}` : name, value);
  return found;
}

function toCsv(predictions) {
  if (!predictions.length) return "";
  const fields = [...row(predictions[0]).keys()].filter((name) => name !== "transcript" || spokenOf(predictions[0]));
  const lines = predictions.map(row).map((values) => fields.map((name) => csvCell(cell(name, values.get(name)))).join(","));
  return [fields.map(csvCell).join(","), ...lines, ""].join("\n");
}

function cell(name, value) {
  if (value == null) return "";
  if (name === "start" || name === "end") return fixed(value, 3);
  if (name === "confidence" || name.startsWith("p_") || name.startsWith("d_")) return fixed(value, 4);
  return String(value);
}

function csvCell(text) {
  const line = shown(text);
  const safe = FORMULA.test(line) ? `'${line}` : line;
  return /[",]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

const emotion = (one) => (one.abstained ? `${UNSURE} (${one.label})` : one.label);
const describe = (one) => `${emotion(one)} ${percent(one.confidence)}`;
const oneLine = (text) => shown(text.replace(BLANKS, " ").trim());
const oneWord = (text) => shown(text.trim().replace(BLANKS, "_")) || "unknown";
const escaped = (text) => oneLine(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

function cue(one) {
  const time = (whole) => {
    const two = (value) => String(value).padStart(2, "0");
    const seconds = Math.floor(whole / 1000);
    return `${two(Math.floor(seconds / 3600))}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}.${String(whole % 1000).padStart(3, "0")}`;
  };
  const start = roundEven(1000 * one.start);
  return `${time(start)} --> ${time(Math.max(start + 1, roundEven(1000 * one.end)))}`;
}

function toVtt(predictions) {
  const cues = predictions.map((one) => {
    const said = one.transcript?.trim() ? `${escaped(one.transcript)}\n` : "";
    return `\n${cue(one)}\n${one.speaker ? `<v ${escaped(one.speaker)}>` : ""}${escaped(describe(one))}\n${said}`;
  });
  return `WEBVTT\n${cues.join("")}`;
}

function toSrt(predictions) {
  return predictions
    .map((one, place) => {
      const said = one.transcript?.trim() ? `${oneLine(one.transcript)}\n` : "";
      const speaker = one.speaker ? `${oneLine(one.speaker)}: ` : "";
      return `${place + 1}\n${cue(one).replaceAll(".", ",")}\n${speaker}${oneLine(describe(one))}\n${said}\n`;
    })
    .join("");
}

function toTextgrid(predictions, [{ duration }]) {
  const found = [...predictions].sort((a, b) => a.start - b.start);
  const length = found.reduce((longest, one) => Math.max(longest, one.end), duration ?? 0);
  const channels = [...new Set(found.map((one) => one.channel ?? 0))].sort((a, b) => a - b);
  const tiers = (channels.length ? channels : [0]).flatMap((channel) => {
    const of = channel ? ` (channel ${channel})` : "";
    const stretches = withoutGaps(found.filter((one) => (one.channel ?? 0) === channel), length);
    return [
      [`emotion${of}`, stretches.map(([start, end, one]) => [start, end, one ? emotion(one) : ""])],
      [`confidence${of}`, stretches.map(([start, end, one]) => [start, end, one ? fixed(one.confidence, 4) : ""])],
    ];
  });
  const lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0", `xmax = ${nine(length)}`];
  lines.push("tiers? <exists>", `size = ${tiers.length}`, "item []:");
  tiers.forEach(([name, intervals], place) => {
    lines.push(`    item [${place + 1}]:`, '        class = "IntervalTier"', `        name = "${name}"`);
    lines.push("        xmin = 0", `        xmax = ${nine(length)}`, `        intervals: size = ${intervals.length}`);
    intervals.forEach(([start, end, text], index) => {
      lines.push(`        intervals [${index + 1}]:`, `            xmin = ${nine(start)}`, `            xmax = ${nine(end)}`);
      lines.push(`            text = "${oneLine(text).replaceAll('"', '""')}"`);
    });
  });
  return `${lines.join("\n")}\n`;
}

function withoutGaps(predictions, length) {
  const stretches = [];
  let position = 0;
  for (const one of predictions) {
    const start = one.start > position + ROUNDING ? one.start : position;
    if (start > position) stretches.push([position, start, null]);
    if (one.end > start) stretches.push([start, one.end, one]);
    position = Math.max(position, one.end);
  }
  if (length > position + ROUNDING) stretches.push([position, length, null]);
  else if (stretches.length) stretches.at(-1)[1] = length;
  return stretches;
}

function toRttm(predictions) {
  const names = new Names();
  const named = new Map();
  return predictions
    .map((one) => {
      if (!named.has(one.file)) named.set(one.file, names.get(one.file));
      const [start, end] = [one.start, one.end].map((time) => Number(fixed(time, 3)));
      const label = one.abstained ? "unknown" : oneWord(one.label);
      const stretch = `${fixed(start, 3)} ${fixed(end - start, 3)}`;
      const who = one.speaker ? `${label} <NA> ${oneWord(one.speaker)}` : `<NA> <NA> ${label}`;
      return `SPEAKER ${oneWord(named.get(one.file))} ${one.channel ?? 1} ${stretch} ${who} ${fixed(one.confidence, 4)} <NA>\n`;
    })
    .join("");
}

function toAudacity(predictions) {
  return predictions.map((one) => `${fixed(one.start, 6)}\t${fixed(one.end, 6)}\t${oneLine(describe(one))}\n`).join("");
}

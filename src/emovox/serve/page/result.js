// What is in a result: who speaks when, what there was how much of.  The same sums as emovox.Summary.

import { UNSURE } from "./emotions.js";
import { percent } from "./text.js";

/** Labels of a result, in the model's order. */
export function labelsOf(result) {
  return [...new Set(result.predictions.flatMap((one) => [...Object.keys(one.probabilities), one.label]))].filter(Boolean);
}

/**
 * Sort predictions into rows: one for each channel and speaker, in the order in which they come.
 *
 * @returns {{name: string, parts: {index: number, one: object}[]}[]} `index` is the place in `result.predictions`.
 */
export function tracks(result) {
  const found = new Map();
  result.predictions.forEach((one, index) => {
    const name = [one.channel && `Channel ${one.channel}`, one.speaker && `Speaker ${one.speaker}`].filter(Boolean).join(", ");
    if (!found.has(name)) found.set(name, []);
    found.get(name).push({ index, one });
  });
  const names = [...found.keys()].sort((a, b) => (found.get(a)[0].one.channel ?? 0) - (found.get(b)[0].one.channel ?? 0));
  return names.map((name) => ({ name, parts: found.get(name).sort((a, b) => a.one.start - b.one.start) }));
}

/** Sum a result up: seconds judged, shares of time, transitions, strongest moments. */
export function summary(predictions) {
  const named = predictions.filter((one) => one.label);
  const seconds = (one) => one.end - one.start;
  const total = (ones) => ones.reduce((sum, one) => sum + seconds(one), 0);
  const judged = total(predictions);
  const time = new Map();
  for (const one of named) time.set(one.label, (time.get(one.label) ?? 0) + seconds(one));
  const ranked = [...time].sort((a, b) => b[1] - a[1]);
  const changes = new Map();
  for (let place = 1; place < named.length; place++) {
    const [before, after] = [named[place - 1].label, named[place].label];
    if (before !== after) changes.set(`${before}\n${after}`, (changes.get(`${before}\n${after}`) ?? 0) + 1);
  }
  const strongest = ranked.map(([label]) =>
    named.filter((one) => one.label === label).reduce((best, one) => (one.confidence > best.confidence ? one : best)),
  );
  return {
    judged,
    segments: predictions.length,
    abstained: judged ? total(predictions.filter((one) => one.abstained)) / judged : 0,
    // Of the share, `unsure` is what was not sure enough for an answer.
    share: ranked.map(([label, time]) => ({
      label,
      seconds: time,
      share: time / judged,
      unsure: total(named.filter((one) => one.label === label && one.abstained)) / judged,
    })),
    transitions: [...changes]
      .sort((a, b) => b[1] - a[1])
      .map(([pair, count]) => ({ from: pair.split("\n")[0], to: pair.split("\n")[1], count })),
    strongest,
  };
}

/** Say a result in one sentence: what it is mostly, and how much of it is not known. */
export function sentence(result) {
  const sure = result.predictions.filter((one) => !one.abstained);
  if (!result.predictions.length) return "Nobody speaks in this recording.";
  const all = summary(result.predictions);
  if (!all.share.length) return "This model tells dimensions only.";
  if (result.predictions.length === 1) {
    const [one] = result.predictions;
    return one.abstained
      ? `The model does not know. Its best guess is ${one.label}, with ${percent(one.confidence)}.`
      : `Sounds ${one.label}, with ${percent(one.confidence)}.`;
  }
  if (!sure.length) return `The model is not sure anywhere. Its best guess is mostly ${all.share[0].label}.`;
  const firm = summary(sure);
  const [first, second] = firm.share;
  const shares = (one) => `${one.label} (${percent((one.share * firm.judged) / all.judged)} of the time)`;
  const head = second ? `Sounds ${shares(first)}, then ${shares(second)}.` : `Sounds ${shares(first)}.`;
  return all.abstained ? `${head} ${UNSURE[0].toUpperCase()}${UNSURE.slice(1)}: ${percent(all.abstained)}.` : head;
}

/** Put neighbours that touch and have the same answer together: what a small picture shows. */
export function runs(predictions) {
  const found = [];
  for (const one of predictions) {
    const last = found.at(-1);
    if (last && last.label === one.label && last.abstained === one.abstained && one.start - last.end < 0.01) last.end = one.end;
    else found.push({ start: one.start, end: one.end, label: one.label, abstained: one.abstained });
  }
  return found;
}

// Colours and letters of emotions, the same as in the library's other pictures (emovox.drawing): Okabe and Ito's colours,
// which colour-blind people can tell apart, and a letter for each.

export const UNSURE = "don't know";

const PALETTE = {
  neutral: "#999999",
  calm: "#56B4E9",
  happy: "#F0E442",
  sad: "#0072B2",
  angry: "#D55E00",
  fearful: "#CC79A7",
  disgust: "#009E73",
  surprised: "#E69F00",
};
const MORE = ["#7F4F24", "#B5A6E3", "#5B5B5B", "#A3C586"];
const LETTERS = { ...Object.fromEntries(Object.keys(PALETTE).map((label) => [label, label[0].toUpperCase()])), surprised: "U" };

/** Look up what a label looks like: {colour, letter, ink}. */
export class Looks {
  /** @param {Iterable<string>} labels All that may occur. */
  constructor(labels) {
    this.labels = [...new Set(labels)].filter(Boolean);
    this.of = new Map();
    const taken = new Set(this.labels.map((label) => LETTERS[label]).filter(Boolean));
    let others = 0;
    for (const label of this.labels) {
      const colour = PALETTE[label] ?? MORE[others++ % MORE.length];
      let letter = LETTERS[label];
      if (!letter) {
        letter = [...label.toUpperCase(), ..."ABCDEFGHIJKLMNOPQRSTUVWXYZ"].find((one) => /[A-Z0-9]/.test(one) && !taken.has(one)) ?? "*";
        taken.add(letter);
      }
      this.of.set(label, { colour, letter, ink: ink(colour) });
    }
  }

  /** @param {string} label */
  get(label) {
    return this.of.get(label) ?? { colour: "#999999", letter: "·", ink: "#000" };
  }
}

/** Choose black or white for writing on a colour: what has the higher contrast (WCAG 2.2). */
export function ink(colour) {
  const linear = [1, 3, 5]
    .map((place) => parseInt(colour.slice(place, place + 2), 16) / 255)
    .map((one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4));
  const luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  return (luminance + 0.05) / 0.05 >= 1.05 / (luminance + 0.05) ? "#000" : "#fff";
}

/** Say an answer in words. */
export const answer = (one) => (one.abstained ? `${UNSURE} (${one.label})` : one.label);

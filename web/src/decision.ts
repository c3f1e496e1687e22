/** From class probabilities to a decision: averaging over windows and abstention. */

import type { Prediction } from "./types.ts";

/** How the reason begins that is given where there is too little speech for an answer. */
export const TOO_SHORT = "too little speech";

/** The weighted mean of rows of probabilities; it sums to 1. */
export function combine(rows: readonly (readonly number[])[], weights: readonly number[]): number[] {
  const total = weights.reduce((sum, one) => sum + one, 0);
  const mean = rows[0]!.map((_, column) => rows.reduce((sum, row, at) => sum + row[column]! * weights[at]!, 0) / total);
  const sum = mean.reduce((all, one) => all + one, 0);
  return mean.map((one) => one / sum);
}

/** The most probable label, its probability, and whether the model abstains. */
export function decide(
  probabilities: readonly number[],
  labels: readonly string[],
  threshold: number,
): { label: string; confidence: number; abstained: boolean } {
  if (!labels.length) return { label: "", confidence: 0, abstained: false };
  const confidence = Math.max(...probabilities);
  return { label: labels[probabilities.indexOf(confidence)]!, confidence, abstained: confidence < threshold };
}

/** Whether an answer is an abstention because there was too little speech. */
export function tooShort(one: Prediction): boolean {
  return (one.why ?? []).some((line) => line.startsWith(TOO_SHORT));
}

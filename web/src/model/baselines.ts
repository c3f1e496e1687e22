/** What was heard of a setting or of a speaker, as a model takes it: how much, and mean and variance of the axes. */

/** Count, mean and variance of the axes of the utterances that were heard: one level of a baseline. */
export class Statistics {
  /** Utterances heard; 0: nothing is known. */
  readonly count: number;
  readonly mean: readonly number[];
  /** Divided by `count`. */
  readonly variance: readonly number[];

  constructor(count: number, mean: readonly number[], variance: readonly number[]) {
    this.count = count;
    this.mean = mean;
    this.variance = variance;
  }

  /** Compute the statistics of some utterances' axes, each of a width. */
  static of(rows: readonly ArrayLike<number>[], width: number): Statistics {
    const axes = Array.from({ length: width }, (_, at) => at);
    const average = (value: (row: ArrayLike<number>, at: number) => number): number[] =>
      axes.map((at) => (rows.length ? rows.reduce((sum, row) => sum + value(row, at), 0) / rows.length : 0));
    const mean = average((row, at) => row[at]!);
    return new Statistics(rows.length, mean, average((row, at) => (row[at]! - mean[at]!) ** 2));
  }

  /** The statistics of both together. Source: Chan, Golub and LeVeque 1983. */
  merged(other: Statistics): Statistics {
    const count = this.count + other.count;
    if (!count) return this;
    const share = other.count / count;
    const apart = this.mean.map((one, at) => other.mean[at]! - one);
    const mean = this.mean.map((one, at) => one + share * apart[at]!);
    const variance = this.variance.map(
      (one, at) => (1 - share) * one + share * other.variance[at]! + share * (1 - share) * apart[at]! ** 2,
    );
    return new Statistics(count, mean, variance);
  }

  /** One level of a model's input `baseline`. */
  packed(): number[] {
    return [this.count, ...this.mean, ...this.variance];
  }
}

import type { Ratio } from '../questions/question.js';
import type { Spread } from '../run/statistics.js';

/** What a ratio has to keep, as `budget.json` has it. */
export interface Budget {
  readonly name: string;
  readonly ratio: number;
  /** Whether the ratio may not be less, or not be more. */
  readonly direction: 'min' | 'max';
}

/**
 * - `kept`: within the budget.
 * - `within noise`: outside, but by no more than the distance between the quartiles of this run's rounds.
 * - `missed`: outside by more.
 * - `no budget`: measured for whoever wants to set one.
 */
export type Verdict = 'kept' | 'within noise' | 'missed' | 'no budget';

export interface Judgement {
  readonly name: string;
  readonly value: Spread;
  readonly budget: Budget | undefined;
  readonly verdict: Verdict;
}

/**
 * Compares ratios with their budgets.
 *
 * @param complete whether all questions were asked
 * @throws Error when they were, and a budget has no ratio: it would be kept for ever
 */
export function judge(ratios: readonly Ratio[], budgets: readonly Budget[], complete: boolean): Judgement[] {
  const idle = budgets.filter((budget) => ratios.every(({ name }) => name !== budget.name));
  if (complete && idle.length > 0)
    throw new Error(`Nothing measures ${idle.map(({ name }) => name).join(', ')}.`);
  return ratios.map(({ name, value }) => {
    const budget = budgets.find((each) => each.name === name);
    return { name, value, budget, verdict: budget ? verdictOf(value, budget) : 'no budget' };
  });
}

function verdictOf({ median, low, high }: Spread, { ratio, direction }: Budget): Verdict {
  const excess = direction === 'min' ? ratio - median : median - ratio;
  if (excess <= 0) return 'kept';
  return excess <= high - low ? 'within noise' : 'missed';
}

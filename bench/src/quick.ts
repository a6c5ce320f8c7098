// npm run quick: the ratios that have budgets, in less than two minutes. Ends with 1 when one misses its budget.
import { readFile } from 'node:fs/promises';
import type { Ratio } from './questions/question.js';
import { type Budget, judge } from './report/budget.js';
import { printTable } from './report/terminal.js';
import { readOptions } from './run/command-line.js';
import { loadQuestions, select } from './run/questions.js';
import { QUICK_PACE, withWorkbench } from './run/workbench.js';

const { names, pace } = readOptions(QUICK_PACE);
const budgets = JSON.parse(await readFile(new URL('../budget.json', import.meta.url), 'utf8')) as Budget[];
const start = performance.now();

const ratios: Ratio[] = [];
for (const question of select(await loadQuestions(), names)) {
  if (!question.quick) continue;
  const progress = (message: string) => process.stderr.write(`${question.name}: ${message}\n`);
  ratios.push(...(await withWorkbench(pace, progress, async (bench) => question.quick!(bench))));
}

const verdicts = judge(ratios, budgets, names.length === 0);
printTable({
  title: `Ratios and their budgets (${Math.round((performance.now() - start) / 1e3)} s)`,
  columns: [
    { key: 'ratio', label: 'ratio' },
    { key: 'budget', label: 'budget' },
    { key: 'verdict', label: '' },
  ],
  rows: verdicts.map(({ name, value, budget, verdict }) => ({
    name,
    values: {
      ratio: value,
      budget: budget && `${budget.direction === 'min' ? 'at least' : 'at most'} ${budget.ratio}`,
      verdict,
    },
  })),
});
if (verdicts.some(({ verdict }) => verdict === 'missed')) process.exitCode = 1;

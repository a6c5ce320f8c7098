// npm run bench [-- question …] [--heats 3] [--rounds 3] [--slice 0.8] [--warm-up 1.5] [--output folder]
// npm run bench -- growth [--rows 10000000 | --quick] [--databases postgres,mysql] [--output folder]
import { fileURLToPath } from 'node:url';
import { type Answer, readResults, writeResults } from './report/results.js';
import { printTable } from './report/terminal.js';
import { readOptions } from './run/command-line.js';
import { readGrowthSizes } from './growth/sizes.js';
import { describeMachine, describeVersions } from './run/machine.js';
import { loadQuestions, select } from './run/questions.js';
import { FULL_PACE, type Workbench, withWorkbench } from './run/workbench.js';

const { names, pace, values } = readOptions(FULL_PACE, {
  output: { type: 'string', default: fileURLToPath(new URL('..', import.meta.url)) },
  rows: { type: 'string' },
  quick: { type: 'boolean', default: false },
  databases: { type: 'string' },
});
const folder = values.output as string;
const growth = readGrowthSizes(values);
const questions = select(await loadQuestions(), names);

for (const question of questions) {
  const start = performance.now();
  const progress = (message: string) => process.stderr.write(`${question.name}: ${message}\n`);
  const ask = async (bench: Workbench): Promise<Answer> => {
    const tables = await question.answer(bench);
    return {
      title: question.title,
      order: question.order,
      date: new Date().toISOString().slice(0, 16).replace('T', ' ') + ' UTC',
      machine: describeMachine(),
      versions: { ...describeVersions(), ...Object.fromEntries(bench.databaseVersions) },
      pace,
      tables,
    };
  };
  const answer = await withWorkbench(pace, progress, ask, growth);
  for (const table of answer.tables) printTable(table);
  progress(`took ${Math.round((performance.now() - start) / 1e3)} s`);
  // After each question, so that what is done is not lost when a later one fails.
  await writeResults(folder, { ...(await readResults(folder)), [question.name]: answer });
}

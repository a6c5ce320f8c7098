import type { Table } from '../questions/question.js';
import { cellText } from './cell.js';
import type { Answer, Results } from './results.js';

/** The report for people. */
export function toMarkdown(results: Results): string {
  const answers = Object.entries(results).toSorted(([, a], [, b]) => a.order - b.order);
  return `# Results

Written by the benchmark, whose README.md says what is measured and how. Figures are medians over rounds, with
quartiles in parentheses. Absolute figures hold for the machine they were measured on; ratios are what counts.

${answers.map(([name, answer]) => questionText(name, answer)).join('\n\n')}
`;
}

function questionText(name: string, answer: Answer): string {
  return [`## ${answer.title}`, circumstances(name, answer), ...answer.tables.map(tableText)].join('\n\n');
}

function circumstances(name: string, { date, machine, versions, pace }: Answer): string {
  const { cpu, cores, memoryGb, os, pinned } = machine;
  const cored = pinned ? 'server and load generator on a core each' : 'processes not pinned to cores';
  const used = Object.entries(versions).map(([what, version]) => `${what} ${version}`);
  return `\`npm run bench -- ${name}\` on ${date}: Node ${versions['node']}, ${cpu}, ${cores} cores, ${memoryGb} GiB, ${os}, ${cored}; ${pace.heats} heats of ${pace.rounds} rounds of ${pace.slice} s after a warm-up of ${pace.warmUp} s.

<details><summary>Versions</summary>

${used.join(', ')}

</details>`;
}

function tableText({ title, text, columns, rows }: Table): string {
  const head = ['', ...columns.map(({ label }) => label)];
  const rule = [':--', ...columns.map(() => '--:')];
  const body = rows.map(({ name, values }) => [
    name,
    ...columns.map(({ key, format }) => cellText(values[key], format)),
  ]);
  const lines = [head, rule, ...body].map((cells) => `| ${cells.map(escape).join(' | ')} |`);
  return `### ${title}\n\n${text}\n\n${lines.join('\n')}`;
}

function escape(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ');
}

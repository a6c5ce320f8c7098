import type { Table } from '../questions/question.js';
import { cellText } from './cell.js';

/** Prints a table in columns. */
export function printTable({ title, columns, rows }: Pick<Table, 'title' | 'columns' | 'rows'>): void {
  const cells = [
    ['', ...columns.map(({ label }) => label)],
    ...rows.map(({ name, values }) => [
      name,
      ...columns.map(({ key, format }) => cellText(values[key], format)),
    ]),
  ];
  const widths = cells[0]!.map((_, column) => Math.max(...cells.map((row) => row[column]!.length)));
  const lines = cells.map((row) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
      .join('  ')
      .trimEnd(),
  );
  process.stdout.write(`\n${title}\n${lines.join('\n')}\n`);
}

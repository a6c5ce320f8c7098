import type { Column } from '../questions/question.js';
import type { Spread } from '../run/statistics.js';

/** What a cell holds. */
export type Cell = Spread | number | string | undefined;

/** A cell as text; a spread with its quartiles, where it has any. */
export function cellText(cell: Cell, format: Column['format'] = 'number'): string {
  if (cell === undefined) return '–';
  if (typeof cell === 'string') return cell;
  if (typeof cell === 'number') return figure(cell, format);
  const { median, low, high } = cell;
  if (low === high) return figure(median, format);
  return `${figure(median, format)} (${figure(low, format)}–${figure(high, format)})`;
}

/** A number to three significant digits, more where it has more before the point. */
export function figure(value: number, format: Column['format'] = 'number'): string {
  if (format === 'percent') return `${round(value * 100)} %`;
  if (format === 'bytes') return `${round(value)} B`;
  return round(value);
}

function round(value: number): string {
  const size = Math.abs(value);
  const digits = size >= 100 ? 0 : size >= 10 ? 1 : 2;
  const isWhole = Number.isInteger(value);
  return value.toLocaleString('en-GB', {
    minimumFractionDigits: isWhole ? 0 : digits,
    maximumFractionDigits: digits,
  });
}

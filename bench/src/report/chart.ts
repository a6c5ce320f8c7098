import type { Chart, Row, Table } from '../questions/question.js';
import { figure } from './cell.js';
import type { Cell } from './cell.js';

const WIDTH = 760;
/** Of a character, generously: the font is the reader's. */
const CHARACTER = 7.2;
const VALUES = 80;
const ROW = 28;
const BAR = 16;
const TOP = 46;
const BOTTOM = 12;

const STYLE = `
  text { font: 13px system-ui, sans-serif; fill: #1f2328; }
  .title { font-weight: 600; font-size: 14px; }
  .name { text-anchor: end; }
  .bar { fill: #8c959f; }
  .ours { fill: #0969da; }
  .axis, .spread { stroke: #59636e; stroke-width: 1; }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc; }
    .bar { fill: #656c76; }
    .ours { fill: #4493f8; }
    .axis, .spread { stroke: #9198a1; }
  }
`;

/** A bar chart of one column of a table, with a line from quartile to quartile on each bar. */
export function drawChart(table: Table, chart: Chart): string {
  const format = table.columns.find(({ key }) => key === chart.column)?.format;
  const bars = table.rows.flatMap((row) => toBar(row, chart));
  if (bars.length === 0) throw new Error(`The table "${table.name}" has nothing in "${chart.column}".`);
  const left = Math.round(Math.max(...bars.map(({ name }) => name.length)) * CHARACTER) + 16;
  const scale = (WIDTH - left - VALUES) / Math.max(...bars.map(({ high }) => high));
  const height = TOP + bars.length * ROW + BOTTOM;
  const rows = bars.map(({ name, median, low, high, isOurs }, index) => {
    const middle = TOP + index * ROW + ROW / 2;
    const end = left + high * scale;
    const line =
      low === high
        ? ''
        : `<line class="spread" x1="${px(left + low * scale)}" x2="${px(end)}" y1="${middle}" y2="${middle}"/>`;
    return `  <text class="name" x="${left - 8}" y="${middle + 4}">${escape(name)}</text>
  <rect class="${isOurs ? 'ours' : 'bar'}" x="${left}" y="${middle - BAR / 2}" width="${px(median * scale)}" height="${BAR}"/>
  ${line}<text x="${px(end + 8)}" y="${middle + 4}">${escape(figure(median, format))}</text>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-labelledby="title">
  <style>${STYLE}  </style>
  <title id="title">${escape(chart.title)}</title>
  <text class="title" x="8" y="24">${escape(chart.title)}</text>
${rows.join('\n')}
  <line class="axis" x1="${left}" x2="${left}" y1="${TOP}" y2="${height - BOTTOM}"/>
</svg>
`;
}

interface Bar {
  readonly name: string;
  readonly median: number;
  readonly low: number;
  readonly high: number;
  readonly isOurs: boolean;
}

function toBar({ name, values }: Row, { column, highlight = [] }: Chart): Bar[] {
  const cell: Cell = values[column];
  if (cell === undefined || typeof cell === 'string') return [];
  const spread = typeof cell === 'number' ? { median: cell, low: cell, high: cell } : cell;
  return [{ name, ...spread, isOurs: highlight.includes(name) }];
}

function px(value: number): string {
  return value.toFixed(1);
}

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

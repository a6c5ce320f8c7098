import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { format, resolveConfig } from 'prettier';
import type { Pace, Table } from '../questions/question.js';
import type { Machine } from '../run/machine.js';
import { toMarkdown } from './markdown.js';

/** One question's answer, as `results.json` keeps it. */
export interface Answer {
  readonly title: string;
  readonly order: number;
  /** ISO 8601, to the minute. */
  readonly date: string;
  readonly machine: Machine;
  readonly versions: Readonly<Record<string, string>>;
  readonly pace: Pace;
  readonly tables: readonly Table[];
}

/** All answers by the questions' names. */
export type Results = Readonly<Record<string, Answer>>;

/** What was measured before; nothing where there is no file yet. */
export async function readResults(folder: string): Promise<Results> {
  try {
    return JSON.parse(await readFile(join(folder, 'results.json'), 'utf8')) as Results;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {};
    throw error;
  }
}

/** Writes `results.json`, for programs, and `RESULTS.md`, for people, as the repository's formatter has them. */
export async function writeResults(folder: string, results: Results): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeFormatted(join(folder, 'results.json'), JSON.stringify(results));
  await writeFormatted(join(folder, 'RESULTS.md'), toMarkdown(results));
}

async function writeFormatted(filepath: string, text: string): Promise<void> {
  await writeFile(filepath, await format(text, { ...(await resolveConfig(filepath)), filepath }));
}

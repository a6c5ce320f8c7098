import { parseArgs, type ParseArgsConfig } from 'node:util';
import type { Pace } from '../questions/question.js';

/** Names and options of a command; the pace is that given, but for what the options say. */
export function readOptions(
  pace: Pace,
  more: NonNullable<ParseArgsConfig['options']> = {},
): { names: string[]; pace: Pace; values: Record<string, unknown> } {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: {
      ...more,
      heats: { type: 'string', default: String(pace.heats) },
      rounds: { type: 'string', default: String(pace.rounds) },
      slice: { type: 'string', default: String(pace.slice) },
      'warm-up': { type: 'string', default: String(pace.warmUp) },
    },
  });
  const all = values as Record<string, unknown>;
  const seconds = (name: string) => {
    const value = Number(all[name]);
    if (!(value > 0)) throw new Error(`--${name} must be a positive number.`);
    return value;
  };
  return {
    names: positionals,
    pace: {
      heats: seconds('heats'),
      rounds: seconds('rounds'),
      slice: seconds('slice'),
      warmUp: seconds('warm-up'),
    },
    values: all,
  };
}

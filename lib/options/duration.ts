/** A length of time: seconds as a number, or a string such as `'500ms'`, `'10s'`, `'15m'`, `'24h'`, `'30d'`, `'2w'`. */
export type Duration = number | string;

const UNIT_MS: Record<string, number> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
};

/** The duration in milliseconds, or `undefined` when it is not one. */
export function parseDuration(duration: unknown): number | undefined {
  if (typeof duration === 'number') return duration >= 0 ? exact(duration * 1_000) : undefined;
  if (typeof duration !== 'string') return undefined;
  const match = /^(\d{1,15}(?:\.\d{1,3})?) ?(ms|s|m|h|d|w)?$/.exec(duration.trim());
  if (!match) return undefined;
  return exact(Number(match[1]) * UNIT_MS[match[2] ?? 's']!);
}

function exact(ms: number): number | undefined {
  const rounded = Math.round(ms);
  return Number.isSafeInteger(rounded) ? rounded : undefined;
}

import type { ValueTransformer } from 'typeorm';

/**
 * Whole numbers, which drivers may give as text: those of `bigint` columns always, others where the application wants that.
 * Times are epoch milliseconds in `bigint` columns: exact on every database, where date columns differ and lose milliseconds.
 */
export const wholeNumber: ValueTransformer = {
  from: (value: string | number | null) => (value === null ? null : Number(value)),
  to: (value: unknown) => value,
};

/**
 * Any JSON as plain ASCII text: it survives whatever character set the database was made with, and its length in
 * characters is its length in bytes.
 */
export function toAsciiJson(value: unknown): string {
  return JSON.stringify(value).replace(
    /[\u007f-\uffff]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

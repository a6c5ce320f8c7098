import type { ValueTransformer } from 'typeorm';

/**
 * Converts whole numbers, because drivers may give them as text: always for `bigint` columns, and for others if the
 * application has set so. Times are epoch milliseconds in `bigint` columns. These are exact on every database, whereas date
 * columns differ between databases and may lose milliseconds.
 */
export const wholeNumber: ValueTransformer = {
  from: (value: string | number | null) => (value === null ? null : Number(value)),
  to: (value: unknown) => value,
};

/**
 * JSON as ASCII text. Every character set of a database can store it, and its length in characters is its length in bytes.
 */
export function toAsciiJson(value: unknown): string {
  return JSON.stringify(value).replace(
    /[\u007f-\uffff]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

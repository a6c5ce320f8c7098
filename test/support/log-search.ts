import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { inspect } from 'node:util';

/*
 * Nothing that the suites write may contain a secret, a token or a cookie. Each process appends what it writes to files of
 * one folder, and `log-search.global.ts` searches them at the end of the run.
 */

/** The environment variable with the folder. Workers inherit it. */
export const LOG_FOLDER = 'TEST_LOG_FOLDER';

/** The ends of the files' names. Each line of a file is JSON. */
export const TEXTS = '.texts';
export const SECRETS = '.secrets';

/** A text that a process has written. */
export interface LoggedText {
  readonly text: string;
  /** Where it comes from, for people. */
  readonly source: string;
}

/** Tokens look like this, wherever they are made. */
const TOKENS: Readonly<Record<string, RegExp>> = {
  'an access token': /\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}/,
  // Base64url of version 1 and of a key id below 2^28.
  'a refresh token': /(?<![\w-])AQ[\w-]{93}(?![\w-])/,
};

/** And this is what else must not be written. */
const SENSITIVE: Readonly<Record<string, RegExp>> = {
  ...TOKENS,
  'a session cookie': /(?:_access|_refresh)=[\w.-]{12,}/,
  'the secret of a session': /\b(?:sessionSecret|secretHash)\W{1,4}(?:Buffer|[\w+/-]{16,})/i,
  'a private key': /-----BEGIN [A-Z ]*PRIVATE KEY-----|\bk\W{1,4}[\w-]{43}(?![\w-])|\bd\W{1,4}[\w-]{43,}/,
};

/** Hands something that is written, or would be, to the search. */
export function handToSearch(source: string, ...parts: readonly unknown[]): void {
  const text = parts
    .map((each) => (typeof each === 'string' ? each : inspect(each, { depth: 10 })))
    .join(' ');
  append(TEXTS, { text, source } satisfies LoggedText);
}

/** Hands a parameter of a statement to the search, if it is a token. Statements themselves are no log. */
export function searchParameter(parameter: unknown): void {
  const isToken = Object.values(TOKENS).some(
    (format) => typeof parameter === 'string' && format.test(parameter),
  );
  if (isToken) handToSearch('a parameter of a statement', parameter);
}

/** Has a text searched for that has no format of its own, such as a CSRF token or the `secret` of an application. */
export function keepSecret(secret: unknown): void {
  for (const each of [secret].flat()) {
    // Short and dull ones are in other texts by chance.
    if (typeof each === 'string' && new Set(each).size > 8) append(SECRETS, each);
  }
}

/** What a text has that must not be written, with the text before it but without the thing itself. */
export function findSecrets(text: string, secrets: Iterable<string>): string[] {
  const found = Object.entries(SENSITIVE).map(([name, format]) => [name, format.exec(text)] as const);
  const places = found.flatMap(([name, match]) => (match ? [[name, match.index] as const] : []));
  for (const secret of secrets) {
    const at = text.indexOf(secret);
    if (at >= 0) places.push(['a secret or a CSRF token', at]);
  }
  return places.map(([name, at]) => {
    const around = text.slice(Math.max(0, at - 100), at + 6).replaceAll(/[\w.-]{24,}/g, '…');
    return `${name}, at the end of ${JSON.stringify(around)}`;
  });
}

function append(end: string, value: unknown): void {
  const folder = process.env[LOG_FOLDER];
  if (folder !== undefined)
    appendFileSync(join(folder, `${process.pid}${end}`), `${JSON.stringify(value)}\n`);
}

import { NAME_PREFIX } from './cookie-name.js';
import type { ResolvedCookieOptions } from './cookie-options.js';
import { fail, oneOf, text } from './option-checks.js';
import type { SessionHeaderOptions, TransportMode } from './session-module.options.js';

export type ResolvedHeaderOptions = Readonly<Required<SessionHeaderOptions>>;

export function resolveTransport(value: unknown): TransportMode {
  return oneOf('transport', value, ['cookie', 'header', 'any'], 'any');
}

/** Proxies drop names with other characters: nginx those with `_` and `.`. */
const NAME = /^[a-z\d]+(?:-[a-z\d]+)*$/;

/** Names that mean something else: to HTTP, to browsers, to proxies, or to JavaScript. */
const TAKEN =
  /^(?:(?:accept|access-control|content|if|proxy|sec|x-forwarded)(?:-.*)?|age|allow|authorization|cache-control|clear-site-data|connection|constructor|cookie2?|date|etag|expect|expires|forwarded|from|host|keep-alive|last-modified|link|location|origin|pragma|range|referer|refresh|retry-after|server|set-cookie2?|strict-transport-security|te|trailer|transfer-encoding|upgrade|user-agent|vary|via|warning|www-authenticate)$/;

/**
 * @param cookies another name of the refresh cookie gives the refresh header another name, so that two modules of one
 *   application differ in both
 * @param csrfHeader a name that is taken
 */
export function resolveHeaders(
  input: SessionHeaderOptions | undefined,
  { refreshName }: Pick<ResolvedCookieOptions, 'refreshName'>,
  csrfHeader: string,
): ResolvedHeaderOptions {
  const nameOf = (key: keyof SessionHeaderOptions, fallback: string) => {
    const name = (text(`headers.${key}`, input?.[key]) ?? fallback).toLowerCase();
    if (!NAME.test(name)) {
      fail(
        `headers.${key}`,
        `${JSON.stringify(name)} is not a header name of letters, digits and "-". Proxies drop others.`,
      );
    }
    if (TAKEN.test(name)) fail(`headers.${key}`, `"${name}" has another meaning. Choose another name.`);
    if (name === csrfHeader) fail(`headers.${key}`, `"${name}" is csrf.header. Choose another name.`);
    return name;
  };
  const headers = {
    access: nameOf('access', 'access-token'),
    refresh: nameOf('refresh', refreshHeaderOf(refreshName)),
    lookAgain: nameOf('lookAgain', 'look-again'),
    transport: nameOf('transport', 'session-transport'),
  };
  if (new Set(Object.values(headers)).size < 4) fail('headers', 'two headers have the same name.');
  return headers;
}

function refreshHeaderOf(cookieName: string): string {
  if (cookieName === 'session_refresh') return 'refresh-token';
  const words = cookieName
    .replace(NAME_PREFIX, '')
    .split(/[^A-Za-z\d]+/)
    .filter(Boolean);
  return [...words.filter((word) => word.toLowerCase() !== 'token'), 'token'].join('-');
}

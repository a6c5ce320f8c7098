import type { ServerResponse } from 'node:http';
import { beforeHeaders } from './before-headers.js';
import { type HttpResponse, rawResponse, responseHeader, setResponseHeader } from './messages.js';

/** What no cache stores. */
const PRIVATE = 'private, no-store';

/** Headers by which an application speaks to some caches alone (RFC 9213, and what came before it). */
const TARGETED = [
  'cdn-cache-control',
  'surrogate-control',
  'cloudflare-cdn-cache-control',
  'vercel-cdn-cache-control',
];

/**
 * Sees that no shared cache stores a response that carries tokens of ours: it would hand one client's session to others. What
 * counts is what the response says when its headers leave. Stricter settings of the application stay.
 */
export function keepPrivate(response: HttpResponse): void {
  if (response.getHeader('cache-control') === undefined) {
    setResponseHeader(response, 'cache-control', PRIVATE);
  }
  const raw = rawResponse(response);
  // Whatever looks like a response, but has no headers to wait for, is left to its maker.
  if (typeof raw.writeHead === 'function') beforeHeaders(raw, enforce);
}

function enforce(response: ServerResponse): void {
  // Nearly always the application says nothing.
  if (response.getHeader('cache-control') !== PRIVATE) {
    const cacheControl = responseHeader(response, 'cache-control').join(',').toLowerCase();
    if (!isForOneClient(cacheControl)) response.setHeader('cache-control', PRIVATE);
  }
  for (const name of TARGETED) {
    if (response.hasHeader(name)) response.removeHeader(name);
  }
}

/** Whether no shared cache may store this (RFC 9111, 5.2.2). */
function isForOneClient(cacheControl: string): boolean {
  const directives = cacheControl.split(',').map((each) => each.split('=')[0]!.trim());
  if (directives.includes('no-store')) return true;
  return (
    directives.includes('private') && !directives.some((each) => each === 'public' || each === 's-maxage')
  );
}

import type { ServerResponse } from 'node:http';
import { beforeHeaders } from './before-headers.js';
import {
  areHeadersSent,
  type HttpResponse,
  rawResponse,
  responseHeader,
  setResponseHeader,
} from './messages.js';

/** What no cache stores. */
const PRIVATE = 'private, no-store';

/** What no shared cache stores. */
const MINE = 'private';

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
  const present = response.getHeader('cache-control');
  if (present === undefined || present === MINE) {
    setResponseHeader(response, 'cache-control', PRIVATE);
  }
  const raw = rawResponse(response);
  // Whatever looks like a response, but has no headers to wait for, is left to its maker.
  if (typeof raw.writeHead === 'function') beforeHeaders(raw, enforce);
}

/**
 * Says that a response is for one client, unless the application has said something else. What a handler says later stands.
 * Nothing waits for the headers: that would cost each request several times as much.
 */
export function markPrivate(response: HttpResponse): void {
  if (areHeadersSent(response) || response.getHeader('cache-control') !== undefined) return;
  setResponseHeader(response, 'cache-control', MINE);
}

/** Makes the browser forget what it has stored of the origin (W3C Clear Site Data). What the application clears stays. */
export function clearCache(response: HttpResponse): void {
  if (areHeadersSent(response)) return;
  const present = responseHeader(response, 'clear-site-data').join(', ');
  if (/"(?:cache|\*)"/.test(present)) return;
  setResponseHeader(response, 'clear-site-data', present === '' ? '"cache"' : `${present}, "cache"`);
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

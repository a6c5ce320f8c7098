import type { AccessTokenExpectations } from '../tokens/access-token-verifier.js';
import { cookieName, impersonationName } from './cookie-name.js';
import type { RemoteKeysOptions } from '../keys/remote-keys.js';
import { resolveCookies } from './cookie-options.js';
import { type ResolvedCsrfOptions, resolveCsrf } from './csrf-options.js';
import {
  checkNames,
  clockTolerance,
  duration,
  fail,
  flag,
  oneOf,
  text,
  wholeNumber,
} from './option-checks.js';
import { resolveTransport } from './header-options.js';
import type { TransportMode } from './session-module.options.js';
import type { SessionVerifierOptions } from './session-verifier.options.js';

/** How a service asks for revocations. Times in milliseconds. */
export interface ResolvedRemoteRevocations {
  readonly uri: URL;
  /** The shortest time between two requests. */
  readonly interval: number;
  /** How old the newest list may be. */
  readonly maxStaleness: number;
  /** What happens to tokens when it is older. */
  readonly whenStale: 'accept' | 'refuse';
  /** How long a request may take, until all of the list is there. */
  readonly timeout: number;
  /** How long a token waits for a list at most. After that, what is known decides. */
  readonly patience: number;
}

/** The options as the verifier uses them. Durations are in milliseconds. */
export interface ResolvedVerifierOptions {
  readonly keys: RemoteKeysOptions;
  readonly expected: AccessTokenExpectations;
  readonly revocations: ResolvedRemoteRevocations | undefined;
  readonly transport: TransportMode;
  readonly cookieName: string;
  readonly impersonationName: string;
  readonly csrf: ResolvedCsrfOptions;
  /** See `caches.private`. */
  readonly marksPrivate: boolean;
}

const KNOWN = {
  '': [
    'jwksUri',
    'issuer',
    'audience',
    'clockTolerance',
    'cacheSize',
    'cacheMaxAge',
    'cooldown',
    'timeout',
    'newsTimeout',
    'revocations',
    'transport',
    'cookies',
    'csrf',
    'caches',
  ],
  cookies: ['accessName', 'prefix', 'domain', 'path', 'secure'],
  csrf: ['mode', 'header', 'trustedOrigins'],
  caches: ['private'],
  revocations: ['uri', 'interval', 'maxStaleness', 'whenStale'],
};

const SECOND = 1_000;

/** @throws {@link InvalidOptionError} for the first wrong option. The message says what is wrong, why, and how to fix it */
export function resolveVerifierOptions(input: SessionVerifierOptions | undefined): {
  options: ResolvedVerifierOptions;
  warnings: string[];
} {
  // The result of a factory without a return statement.
  if (input === undefined) fail('options', 'must be an object.');
  checkNames(input, KNOWN);
  const warnings: string[] = [];
  const csrf = resolveCsrf(input.csrf, warnings);
  if (csrf.mode === 'token') {
    fail(
      'csrf.mode',
      '"token" needs the keys of refresh tokens, which this service does not have. Choose "origin".',
    );
  }
  const cookies = resolveCookies(input.cookies, 'endpoint', warnings);
  const timeout = duration('timeout', input.timeout, 5 * SECOND, 100);
  const patience = duration('newsTimeout', input.newsTimeout, SECOND, 1);
  const options: ResolvedVerifierOptions = {
    keys: {
      jwksUri: resolveUri('jwksUri', input.jwksUri, '/.well-known/jwks.json'),
      cacheMaxAge: duration('cacheMaxAge', input.cacheMaxAge, 30 * SECOND, SECOND),
      cooldown: duration('cooldown', input.cooldown, 5 * SECOND, 100),
      timeout,
      patience,
    },
    revocations: resolveRevocations(input.revocations, { timeout, patience }),
    expected: {
      // A token for another service must be refused here (RFC 8725, 3.8 and 3.9).
      issuer: required('issuer', input.issuer),
      audience: required('audience', input.audience),
      clockTolerance: clockTolerance('clockTolerance', input.clockTolerance),
      cacheSize: wholeNumber('cacheSize', input.cacheSize, 10_000, 0, 10_000_000),
    },
    transport: resolveTransport(input.transport),
    cookieName: cookieName(cookies.accessName, cookies, true),
    impersonationName: cookieName(impersonationName(cookies.accessName), cookies, true),
    csrf,
    marksPrivate: flag('caches.private', input.caches?.private, true),
  };
  return { options, warnings };
}

function required(option: string, value: unknown): string {
  return text(option, value) ?? fail(option, 'is missing. It has to be what the tokens are issued with.');
}

function resolveRevocations(
  input: SessionVerifierOptions['revocations'],
  waits: Pick<ResolvedRemoteRevocations, 'timeout' | 'patience'>,
): ResolvedRemoteRevocations | undefined {
  if (input === undefined) return undefined;
  const interval = duration('revocations.interval', input.interval, SECOND, 10);
  const maxStaleness = duration('revocations.maxStaleness', input.maxStaleness, 60 * SECOND, 20);
  if (maxStaleness < 2 * interval) {
    fail(
      'revocations.maxStaleness',
      'must be at least twice revocations.interval: lists are not newer than that.',
    );
  }
  return {
    uri: resolveUri('revocations.uri', input.uri, '/.well-known/session-revocations'),
    interval,
    maxStaleness,
    whenStale: oneOf('revocations.whenStale', input.whenStale, ['accept', 'refuse'], 'accept'),
    ...waits,
  };
}

function resolveUri(option: string, value: unknown, example: string): URL {
  const uri = typeof value === 'string' ? parseUrl(value) : undefined;
  if (!uri || !/^https?:$/.test(uri.protocol)) {
    fail(option, `must be an address such as "https://accounts.example.com${example}".`);
  }
  // fetch() refuses such an address, with an error that quotes it.
  if (uri.username !== '' || uri.password !== '') {
    fail(option, 'must have no user and no password. Public keys need none.');
  }
  // Whoever can change the response in transit can replace the keys, and so make tokens, and can hold back revocations.
  if (uri.protocol === 'http:' && !/^(localhost|127(\.\d+){3}|\[::1\])$/.test(uri.hostname)) {
    fail(option, 'must be an https: address; http: is for loopback addresses only.');
  }
  return uri;
}

function parseUrl(value: string): URL | undefined {
  try {
    return new URL(value);
  } catch {
    return undefined;
  }
}

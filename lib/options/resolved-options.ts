import { deepFreeze } from '../util/deep-freeze.js';
import type { SigningAlgorithm, SigningKeySource } from '../keys/signing-key.js';
import type { RotationTimes } from '../protocol/rotation.js';
import { type ResolvedCookieOptions, resolveCookies } from './cookie-options.js';
import { type ResolvedCsrfOptions, resolveCsrf } from './csrf-options.js';
import { type ResolvedHeaderOptions, resolveHeaders, resolveTransport } from './header-options.js';
import {
  checkNames,
  clockTolerance,
  COOKIE_PATH,
  duration,
  fail,
  flag,
  joinPath,
  oneOf,
  share,
  text,
  wholeNumber,
} from './option-checks.js';
import type {
  DeviceOptions,
  RefreshMode,
  RevocationMode,
  SessionModuleExtras,
  SessionModuleOptions,
  TheftPolicy,
  TheftScope,
  TransportMode,
} from './session-module.options.js';

/** The options as the module uses them: complete, checked and frozen. Durations are in milliseconds. */
export interface ResolvedOptions {
  readonly secrets: readonly string[];
  readonly deployment: string | undefined;
  readonly maxSessionsPerUser: { readonly limit: number; readonly policy: 'oldest' | 'refuse' } | undefined;
  readonly accessToken: {
    readonly ttl: number;
    readonly algorithm: SigningAlgorithm;
    readonly issuer: string | undefined;
    readonly audience: string | undefined;
    readonly clockTolerance: number;
    readonly cacheSize: number;
  };
  readonly refreshToken: { readonly ttl: number; readonly absoluteTtl: number };
  readonly rotation: RotationTimes;
  readonly lookAgain: boolean;
  readonly theft: TheftPolicy;
  readonly events: 'process' | 'everywhere';
  readonly refresh: RefreshMode;
  readonly refreshPath: string | undefined;
  readonly jwksPath: string | undefined;
  readonly revocationsPath: string | undefined;
  readonly signingKeys: { readonly rotation: number; readonly source: SigningKeySource | undefined };
  readonly revocation: RevocationMode;
  readonly revocationInterval: number;
  readonly revocationPush: boolean;
  readonly transport: TransportMode;
  readonly headers: ResolvedHeaderOptions;
  readonly newsTimeout: number;
  readonly databaseTimeout: number;
  readonly csrf: ResolvedCsrfOptions;
  readonly cookies: ResolvedCookieOptions;
  readonly devices: Readonly<Required<DeviceOptions>>;
  readonly caches: { readonly private: boolean; readonly clearAtSignOut: boolean };
  readonly cleanup: { readonly interval: number; readonly batchSize: number } | false;
}

/** How long an access token can be accepted after it was signed, in milliseconds. */
export function longestLife({ accessToken }: Pick<ResolvedOptions, 'accessToken'>): number {
  return accessToken.ttl + accessToken.clockTolerance;
}

const KNOWN = {
  '': [
    'secret',
    'deployment',
    'maxSessionsPerUser',
    'accessToken',
    'refreshToken',
    'reuseWindow',
    'lookAgain',
    'theft',
    'events',
    'refresh',
    'signingKeys',
    'revocation',
    'revocationInterval',
    'revocationPush',
    'transport',
    'headers',
    'newsTimeout',
    'databaseTimeout',
    'csrf',
    'cookies',
    'devices',
    'caches',
    'cleanup',
    'database',
    'sqliteConnection',
  ],
  accessToken: ['ttl', 'jitter', 'algorithm', 'issuer', 'audience', 'clockTolerance', 'cacheSize'],
  refreshToken: ['ttl', 'absoluteTtl'],
  signingKeys: ['rotation', 'source'],
  headers: ['access', 'refresh', 'lookAgain', 'transport'],
  csrf: ['mode', 'header', 'trustedOrigins'],
  cookies: [
    'accessName',
    'refreshName',
    'lookAgainName',
    'indicatorName',
    'prefix',
    'domain',
    'path',
    'refreshPath',
    'sameSite',
    'secure',
    'partitioned',
    'formerDomains',
  ],
  devices: ['userAgent', 'ip'],
  caches: ['private', 'clearAtSignOut'],
  cleanup: ['interval', 'batchSize'],
};

/**
 * Names of the options that stand beside `useFactory`. They are often put in the wrong place, so this has its own message.
 */
const EXTRAS: ReadonlySet<string> = new Set([
  'name',
  'isGlobal',
  'refreshPath',
  'jwksPath',
  'revocationsPath',
  'dataSourceToken',
]);

const SECOND = 1_000;
const MINUTE = 60_000;
const DAY = 86_400_000;
const ALGORITHMS = ['HS256', 'ES256', 'EdDSA', 'RS256'] as const;

/**
 * Checks the application's options and fills in the defaults.
 *
 * @param extras the extras of the module that concern the options
 * @returns the options; `warnings` about settings that are weaker than necessary; `notes` about consequences of settings
 *   that may be intended
 * @throws {@link InvalidOptionError} for the first wrong option. The message says what is wrong, why, and how to fix it
 */
export function resolveOptions(
  input: SessionModuleOptions = {},
  {
    refreshPath,
    jwksPath,
    revocationsPath,
  }: Pick<SessionModuleExtras, 'refreshPath' | 'jwksPath' | 'revocationsPath'> = {},
): { options: ResolvedOptions; warnings: string[]; notes: string[] } {
  checkNames(input, KNOWN, (name) =>
    EXTRAS.has(name)
      ? 'belongs beside useFactory, useClass or useExisting in forRootAsync, not into the options that it makes.'
      : undefined,
  );
  const warnings: string[] = [];
  const notes: string[] = [];

  const secrets = resolveSecrets(input);
  if (secrets.length === 0 && input.secret !== false) {
    warnings.push(
      'No "secret" is set: signing keys lie in the database in plain text, so whoever reads it can forge access ' +
        'tokens. Set one of at least 32 random characters, the same in every process.',
    );
  }

  const deployment = text('deployment', input.deployment);
  if (deployment === undefined && 'deployment' in input) {
    fail(
      'deployment',
      'is undefined. Is an environment variable not set, or misspelt? To have none, leave it out.',
    );
  }
  if (deployment !== undefined && secrets.length === 0) {
    fail('deployment', 'needs a "secret": keys that are not encrypted are good wherever they are copied to.');
  }
  if (deployment !== undefined && deployment.length > 200)
    fail('deployment', 'is longer than 200 characters.');

  const accessTtl = duration('accessToken.ttl', input.accessToken?.ttl, 15 * 60 * SECOND, SECOND);
  if (accessTtl % SECOND !== 0) fail('accessToken.ttl', 'must be whole seconds, because JWT times are.');
  const refreshTtl = duration('refreshToken.ttl', input.refreshToken?.ttl, 30 * DAY, SECOND);
  if (refreshTtl <= accessTtl) {
    fail(
      'refreshToken.ttl',
      'must be longer than accessToken.ttl; a session could not be refreshed otherwise.',
    );
  }
  const absoluteTtl = duration(
    'refreshToken.absoluteTtl',
    input.refreshToken?.absoluteTtl,
    Math.max(365 * DAY, refreshTtl),
    SECOND,
  );
  if (absoluteTtl < refreshTtl) {
    fail('refreshToken.absoluteTtl', 'is shorter than refreshToken.ttl. Shorten that as well.');
  }
  const rotation = resolveRotation(input, accessTtl, notes);

  const refresh = oneOf('refresh', input.refresh, ['transparent', 'endpoint'], 'transparent');
  checkRoute('refreshPath', refreshPath, '/auth/refresh');
  checkRoute('jwksPath', jwksPath, '/.well-known/jwks.json');
  checkRoute('revocationsPath', revocationsPath, '/.well-known/session-revocations');
  if (revocationsPath !== undefined && jwksPath === undefined) {
    fail(
      'revocationsPath',
      'needs "jwksPath": services check the signature of the list with the keys there.',
    );
  }
  if (refresh === 'endpoint' && refreshPath === undefined) {
    fail(
      'refresh',
      '"endpoint" needs the module option "refreshPath" (in forRootAsync it stands beside useFactory), such as refreshPath: "/auth/refresh".',
    );
  }

  const { source } = input.signingKeys ?? {};
  if (source !== undefined && typeof source !== 'function') fail('signingKeys.source', 'must be a function.');
  // Only asymmetric keys have a public half. Among them, most libraries and gateways support ES256.
  const algorithm = oneOf(
    'accessToken.algorithm',
    input.accessToken?.algorithm,
    ALGORITHMS,
    jwksPath === undefined ? 'HS256' : 'ES256',
  );
  if (jwksPath !== undefined && algorithm === 'HS256' && source === undefined) {
    fail(
      'jwksPath',
      'needs keys with a public half, and HS256 has none. Choose accessToken.algorithm "ES256", "EdDSA" or "RS256".',
    );
  }
  const { issuer, audience } = input.accessToken ?? {};
  if (jwksPath !== undefined && (issuer === undefined || audience === undefined)) {
    warnings.push(
      'jwksPath publishes the keys, but accessToken.issuer or accessToken.audience is not set: services cannot tell which tokens are for them.',
    );
  }
  const revocation = oneOf('revocation', input.revocation, ['feed', 'database', 'none'], 'feed');
  if (revocation === 'none' && accessTtl > DAY) {
    warnings.push(
      'accessToken.ttl is over a day and revocation is "none": a revoked session keeps working that long.',
    );
  }
  const revocationInterval = duration('revocationInterval', input.revocationInterval, SECOND, 1);
  if (revocationInterval > MINUTE) {
    warnings.push(
      `revocationInterval is over a minute: for ${revocationInterval / SECOND} s, other processes accept access tokens of sessions that are revoked, and of keys that are dropped.`,
    );
  }
  const revocationPush = flag('revocationPush', input.revocationPush, false);
  if (revocationPush && revocation !== 'feed')
    fail('revocationPush', `needs revocation "feed", and it is "${revocation}".`);
  const csrf = resolveCsrf(input.csrf, warnings);
  const cookies = resolveCookies(input.cookies, refresh, warnings);
  oneOf('sqliteConnection', input.sqliteConnection, ['own', 'shared'], 'own');

  const options: ResolvedOptions = {
    secrets,
    deployment,
    maxSessionsPerUser: resolveCap(input.maxSessionsPerUser),
    accessToken: {
      ttl: accessTtl,
      algorithm,
      issuer: text('accessToken.issuer', input.accessToken?.issuer),
      audience: text('accessToken.audience', input.accessToken?.audience),
      clockTolerance: clockTolerance('accessToken.clockTolerance', input.accessToken?.clockTolerance),
      cacheSize: wholeNumber('accessToken.cacheSize', input.accessToken?.cacheSize, 10_000, 0, 10_000_000),
    },
    refreshToken: { ttl: refreshTtl, absoluteTtl },
    rotation,
    lookAgain: flag('lookAgain', input.lookAgain, true),
    theft:
      typeof input.theft === 'function'
        ? input.theft
        : oneOf<TheftScope>('theft', input.theft, ['session', 'user'], 'session'),
    events: oneOf('events', input.events, ['process', 'everywhere'], 'process'),
    refresh,
    refreshPath: refreshPath === undefined ? undefined : joinPath(refreshPath),
    jwksPath: jwksPath === undefined ? undefined : joinPath(jwksPath),
    revocationsPath: revocationsPath === undefined ? undefined : joinPath(revocationsPath),
    signingKeys: {
      rotation: duration('signingKeys.rotation', input.signingKeys?.rotation, DAY, SECOND),
      source,
    },
    revocation,
    revocationInterval,
    revocationPush,
    transport: resolveTransport(input.transport),
    headers: resolveHeaders(input.headers, cookies, csrf.header),
    newsTimeout: duration('newsTimeout', input.newsTimeout, SECOND, 1),
    databaseTimeout: duration('databaseTimeout', input.databaseTimeout, 5 * SECOND, 1),
    csrf,
    cookies,
    devices: {
      userAgent: flagOrFunction('devices.userAgent', input.devices?.userAgent),
      ip: flagOrFunction('devices.ip', input.devices?.ip),
    },
    caches: {
      private: flag('caches.private', input.caches?.private, true),
      clearAtSignOut: flag('caches.clearAtSignOut', input.caches?.clearAtSignOut, false),
    },
    cleanup: resolveCleanup(input.cleanup),
  };
  return { options: deepFreeze(options), warnings, notes };
}

/**
 * D = W / 9: the longest delay of a response, and the largest difference of two processes. The model (`test/model`) shows that
 * the rotation rules hold with this proportion.
 */
const delayOf = (reuseWindow: number) => (reuseWindow === 0 ? 10 * SECOND : reuseWindow / 9);

/**
 * The shortest window with which a killed browser stays signed in. Chromium writes cookies to disk up to 30 s late. The
 * model allows a killed browser to have lost the cookies of the last 4/9 W, less the time in flight: 4/9 × 70 s = 31 s.
 */
const KILLED_BROWSER = 70 * SECOND;

function resolveRotation(
  { reuseWindow: window, accessToken }: SessionModuleOptions,
  ttl: number,
  notes: string[],
): RotationTimes {
  const reuseWindow = duration('reuseWindow', window, Math.min(90 * SECOND, ttl / 2), 0);
  if (reuseWindow > ttl / 2) {
    fail(
      'reuseWindow',
      `must be at most half of accessToken.ttl; with that of ${ttl / SECOND} s, ${ttl / 2 / SECOND} s. A generation of tokens is proven when it is older than the window, and its access tokens must live on for that.`,
    );
  }
  if (reuseWindow < KILLED_BROWSER) {
    notes.push(
      `With reuseWindow = ${reuseWindow / SECOND} s, a browser that is killed may come back signed out: Chromium writes cookies to disk up to 30 s late, which takes a window of 70 s, and an accessToken.ttl of twice that.`,
    );
  }
  const jitter = share('accessToken.jitter', accessToken?.jitter, 0.05, 0.25);
  return { reuseWindow, ttl, jitter, delay: delayOf(reuseWindow) };
}

/** What makes a secret, for messages. */
const MAKE_SECRET = 'Make one with: openssl rand -base64 48';

function resolveSecrets(input: SessionModuleOptions): string[] {
  const { secret } = input;
  if (secret === false) return [];
  if (secret === undefined) {
    const isGiven = 'secret' in input;
    if (isGiven) {
      fail(
        'secret',
        `is undefined. Is an environment variable not set, or misspelt? ${MAKE_SECRET}. To have keys in the database in plain text, say false.`,
      );
    }
    if (process.env['NODE_ENV'] === 'production') {
      fail(
        'secret',
        `is missing in production. ${MAKE_SECRET}. To have keys in the database in plain text, say false.`,
      );
    }
    return [];
  }
  const secrets: unknown[] = Array.isArray(secret) ? secret : [secret];
  if (secrets.length === 0) fail('secret', 'is an empty list. Leave it out, or give at least one secret.');
  for (const each of secrets) {
    if (typeof each !== 'string') fail('secret', 'must be a string, or a list of strings, newest first.');
    if (each.length < 32) {
      fail('secret', `must have at least 32 characters. ${MAKE_SECRET}`);
    }
  }
  return [...(secrets as string[])];
}

function resolveCap(input: unknown): ResolvedOptions['maxSessionsPerUser'] {
  if (input === undefined) return undefined;
  const cap: { limit?: unknown; policy?: unknown } =
    typeof input === 'object' ? (input ?? {}) : { limit: input };
  checkNames({ maxSessionsPerUser: cap }, { maxSessionsPerUser: ['limit', 'policy'] });
  if (cap.limit === undefined) {
    fail('maxSessionsPerUser', 'must be a number, or { limit, policy } with policy "oldest" or "refuse".');
  }
  return {
    limit: wholeNumber('maxSessionsPerUser', cap.limit, 0, 1, 10_000),
    policy: oneOf('maxSessionsPerUser.policy', cap.policy, ['oldest', 'refuse'], 'oldest'),
  };
}

function flagOrFunction<TFunction extends Function>(
  option: string,
  value: boolean | TFunction | undefined,
): boolean | TFunction {
  const isGood = value === undefined || typeof value === 'boolean' || typeof value === 'function';
  if (!isGood) fail(option, 'must be true, false, or a function that returns what is kept.');
  return value ?? true;
}

function resolveCleanup(input: SessionModuleOptions['cleanup']): ResolvedOptions['cleanup'] {
  if (input === false) return false;
  const interval = duration('cleanup.interval', input?.interval, 3_600_000, SECOND);
  if (interval > 2 ** 31 - 1)
    fail('cleanup.interval', 'must be under 24 days, the longest that a timer can wait.');
  const batchSize = wholeNumber('cleanup.batchSize', input?.batchSize, 1_000, 1, 10_000);
  return { interval, batchSize };
}

function checkRoute(option: string, path: unknown, example: string): void {
  if (path !== undefined && (typeof path !== 'string' || !COOKIE_PATH.test(joinPath(path)))) {
    fail(option, `must be a route path such as "${example}".`);
  }
}

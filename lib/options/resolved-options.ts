import { parseDuration } from './duration.js';
import { InvalidOptionError } from '../errors/session.errors.js';
import type {
  CsrfMode,
  RefreshMode,
  RevocationMode,
  SessionModuleOptions,
  SigningAlgorithm,
} from './session-module.options.js';
import type { SigningKeySource } from '../keys/signing-key.js';

/** The options as the module uses them: complete, checked, frozen; every duration in milliseconds. */
export interface ResolvedOptions {
  readonly secrets: readonly string[];
  readonly accessToken: {
    readonly ttl: number;
    readonly algorithm: SigningAlgorithm;
    readonly issuer: string | undefined;
    readonly audience: string | undefined;
  };
  readonly refreshToken: { readonly ttl: number; readonly absoluteTtl: number };
  readonly reuseWindow: number;
  readonly refresh: RefreshMode;
  readonly refreshPath: string | undefined;
  readonly signingKeys: { readonly rotation: number; readonly source: SigningKeySource | undefined };
  readonly revocation: RevocationMode;
  readonly revocationInterval: number;
  readonly csrf: {
    readonly mode: CsrfMode;
    readonly header: string;
    readonly trustedOrigins: ReadonlySet<string>;
  };
  readonly cookies: ResolvedCookieOptions;
  readonly cleanup: { readonly interval: number; readonly batchSize: number } | false;
}

export interface ResolvedCookieOptions {
  readonly accessName: string;
  readonly refreshName: string;
  readonly indicatorName: string | undefined;
  readonly prefix: 'auto' | 'none';
  readonly domain: string | undefined;
  readonly path: string;
  readonly refreshPath: string | undefined;
  readonly sameSite: 'strict' | 'lax' | 'none';
  readonly secure: boolean;
  readonly partitioned: boolean;
  readonly formerDomains: readonly string[];
}

const KNOWN = {
  '': [
    'secret',
    'accessToken',
    'refreshToken',
    'reuseWindow',
    'refresh',
    'signingKeys',
    'revocation',
    'revocationInterval',
    'csrf',
    'cookies',
    'cleanup',
    'database',
    'sqliteConnection',
  ],
  accessToken: ['ttl', 'algorithm', 'issuer', 'audience'],
  refreshToken: ['ttl', 'absoluteTtl'],
  signingKeys: ['rotation', 'source'],
  csrf: ['mode', 'header', 'trustedOrigins'],
  cookies: [
    'accessName',
    'refreshName',
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
  cleanup: ['interval', 'batchSize'],
};

/** Names of the options that stand beside `useFactory`; a frequent place for a mistake, so it gets its own message. */
const EXTRAS: ReadonlySet<string> = new Set(['isGlobal', 'refreshPath', 'dataSourceToken']);

const SECOND = 1_000;
const DAY = 86_400_000;
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/; // RFC 9110 token: what a cookie or header may be called
const DOMAIN = /^\.?(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*$/i;
// oxlint-disable-next-line no-control-regex -- control characters are just what must not be there
const COOKIE_PATH = /^\/[^\x00-\x1f\x7f;]*$/;

/**
 * Checks the application's options and fills in the defaults.
 *
 * @param refreshPath the module extra of that name
 * @returns the options, and warnings about settings that work but are weaker than they need to be
 * @throws {@link InvalidOptionError} at the first wrong one; the message says what, why, and the fix
 */
export function resolveOptions(
  input: SessionModuleOptions = {},
  refreshPath?: string,
): { options: ResolvedOptions; warnings: string[] } {
  checkNames(input);
  const warnings: string[] = [];

  const secrets = resolveSecrets(input.secret);
  if (secrets.length === 0) {
    warnings.push(
      'No "secret" is set: signing keys lie in the database in plain text, so whoever reads it can forge access ' +
        'tokens. Set one of at least 32 random characters, the same in every process.',
    );
  }

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
  // JWT times are whole seconds, so that a token may live up to a second less than its ttl.
  const shortestLife = accessTtl - SECOND;
  const reuseWindow = duration(
    'reuseWindow',
    input.reuseWindow,
    Math.min(10 * SECOND, accessTtl / 4, shortestLife / 2),
    0,
  );
  if (reuseWindow * 2 > shortestLife) {
    fail(
      'reuseWindow',
      `must be less than half of an access token's life; otherwise late responses of one burst could sign an honest user out. With accessToken.ttl = ${accessTtl / SECOND} s it may be ${shortestLife / 2 / SECOND} s at the most (JWT times are whole seconds, which can cost a token one).`,
    );
  }

  const refresh = oneOf('refresh', input.refresh, ['transparent', 'endpoint'], 'transparent');
  if (
    refreshPath !== undefined &&
    (typeof refreshPath !== 'string' || !COOKIE_PATH.test(joinPath(refreshPath)))
  ) {
    fail('refreshPath', 'must be a route path such as "/auth/refresh".');
  }
  if (refresh === 'endpoint' && refreshPath === undefined) {
    fail(
      'refresh',
      '"endpoint" needs the module option "refreshPath" (in forRootAsync it stands beside useFactory), such as refreshPath: "/auth/refresh".',
    );
  }

  const { source } = input.signingKeys ?? {};
  if (source !== undefined && typeof source !== 'function') fail('signingKeys.source', 'must be a function.');
  const revocation = oneOf('revocation', input.revocation, ['feed', 'database', 'none'], 'feed');
  if (revocation === 'none' && accessTtl > DAY) {
    warnings.push(
      'accessToken.ttl is over a day and revocation is "none": a revoked session keeps working that long.',
    );
  }
  const csrf = resolveCsrf(input.csrf, warnings);
  const cookies = resolveCookies(input.cookies, refresh, warnings);
  if (csrf.mode === 'off') {
    warnings.push(
      'csrf.mode is "off": other sites can send requests in the name of your users, unless no browser is a client.',
    );
  }
  oneOf('sqliteConnection', input.sqliteConnection, ['own', 'shared'], 'own');

  const options: ResolvedOptions = {
    secrets,
    accessToken: {
      ttl: accessTtl,
      algorithm: oneOf(
        'accessToken.algorithm',
        input.accessToken?.algorithm,
        ['HS256', 'ES256', 'EdDSA', 'RS256'],
        'HS256',
      ),
      issuer: text('accessToken.issuer', input.accessToken?.issuer),
      audience: text('accessToken.audience', input.accessToken?.audience),
    },
    refreshToken: { ttl: refreshTtl, absoluteTtl },
    reuseWindow,
    refresh,
    refreshPath: refreshPath === undefined ? undefined : joinPath(refreshPath),
    signingKeys: {
      rotation: duration('signingKeys.rotation', input.signingKeys?.rotation, DAY, SECOND),
      source,
    },
    revocation,
    revocationInterval: duration('revocationInterval', input.revocationInterval, SECOND, 1),
    csrf,
    cookies,
    cleanup: resolveCleanup(input.cleanup),
  };
  return { options: deepFreeze(options), warnings };
}

function checkNames(input: SessionModuleOptions): void {
  for (const [group, names] of Object.entries(KNOWN)) {
    const value: unknown = group === '' ? input : input[group as keyof SessionModuleOptions];
    if (value === undefined || (group === 'cleanup' && value === false)) continue;
    const path = group === '' ? '' : `${group}.`;
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      fail(group || 'options', 'must be an object.');
    }
    for (const name of Object.keys(value)) {
      if (names.includes(name)) continue;
      if (group === '' && EXTRAS.has(name)) {
        fail(
          name,
          'belongs beside useFactory, useClass or useExisting in forRootAsync, not into the options that it makes.',
        );
      }
      fail(path + name, `is not known. Known here: ${names.join(', ')}.`);
    }
  }
}

function resolveSecrets(secret: unknown): string[] {
  if (secret === undefined) return [];
  const secrets: unknown[] = Array.isArray(secret) ? secret : [secret];
  if (secrets.length === 0) fail('secret', 'is an empty list. Leave it out, or give at least one secret.');
  for (const each of secrets) {
    if (typeof each !== 'string') fail('secret', 'must be a string, or a list of strings, newest first.');
    if (each.length < 32) {
      fail('secret', 'must have at least 32 characters. Make one with: openssl rand -base64 48');
    }
  }
  return [...(secrets as string[])];
}

function resolveCsrf(input: SessionModuleOptions['csrf'], warnings: string[]): ResolvedOptions['csrf'] {
  const trustedOrigins = new Set<string>();
  for (const origin of list('csrf.trustedOrigins', input?.trustedOrigins)) {
    let parsed: URL | undefined;
    try {
      parsed = new URL(origin);
    } catch {
      // reported below, with every other form that is not an origin
    }
    if (
      !parsed ||
      parsed.origin === 'null' ||
      parsed.hostname.includes('*') ||
      parsed.origin !== origin.toLowerCase()
    ) {
      fail(
        'csrf.trustedOrigins',
        `${JSON.stringify(origin)} is not an origin. Write scheme, host and port only, such as "https://app.example.com".`,
      );
    }
    if (parsed.protocol === 'http:' && process.env['NODE_ENV'] === 'production') {
      warnings.push(
        `csrf.trustedOrigins has ${origin}: whoever can change unencrypted traffic can act as that origin.`,
      );
    }
    trustedOrigins.add(parsed.origin);
  }
  const header = (text('csrf.header', input?.header) ?? 'anti-csrf').toLowerCase();
  if (!TOKEN.test(header)) fail('csrf.header', 'is not a header name.');
  return {
    mode: oneOf('csrf.mode', input?.mode, ['origin', 'token', 'header', 'off'], 'origin'),
    header,
    trustedOrigins,
  };
}

function resolveCookies(
  input: SessionModuleOptions['cookies'] = {},
  refresh: RefreshMode,
  warnings: string[],
): ResolvedCookieOptions {
  const cookies: ResolvedCookieOptions = {
    accessName: text('cookies.accessName', input.accessName) ?? 'session_access',
    refreshName: text('cookies.refreshName', input.refreshName) ?? 'session_refresh',
    indicatorName:
      input.indicatorName === false ? undefined : text('cookies.indicatorName', input.indicatorName),
    prefix: oneOf('cookies.prefix', input.prefix, ['auto', 'none'], 'auto'),
    domain: text('cookies.domain', input.domain),
    path: text('cookies.path', input.path) ?? '/',
    refreshPath: text('cookies.refreshPath', input.refreshPath),
    sameSite: oneOf('cookies.sameSite', input.sameSite, ['strict', 'lax', 'none'], 'lax'),
    secure: flag('cookies.secure', input.secure, true),
    partitioned: flag('cookies.partitioned', input.partitioned, false),
    formerDomains: list('cookies.formerDomains', input.formerDomains),
  };

  const names = (['accessName', 'refreshName', 'indicatorName'] as const).filter(
    (key) => cookies[key] !== undefined,
  );
  for (const key of names) {
    const name = cookies[key]!;
    if (!TOKEN.test(name)) fail(`cookies.${key}`, `${JSON.stringify(name)} is not a cookie name.`);
    checkNamePrefix(key, name, cookies, refresh);
  }
  if (new Set(names.map((key) => cookies[key]!.toLowerCase())).size !== names.length) {
    fail('cookies', 'two cookies have the same name.');
  }
  for (const key of ['path', 'refreshPath'] as const) {
    const path = cookies[key];
    if (path !== undefined && !COOKIE_PATH.test(path)) {
      fail(`cookies.${key}`, 'must begin with "/" and contain no ";" or control character.');
    }
  }
  if (
    refresh === 'transparent' &&
    cookies.refreshPath !== undefined &&
    !covers(cookies.refreshPath, cookies.path)
  ) {
    fail(
      'cookies.refreshPath',
      'does not cover cookies.path, so that the refresh cookie would not come with the requests that need it. Leave it out, or choose refresh: "endpoint".',
    );
  }
  if (cookies.domain !== undefined && !DOMAIN.test(cookies.domain)) {
    fail('cookies.domain', 'must be a host name, without scheme, port or path.');
  }
  for (const domain of cookies.formerDomains) {
    if (!DOMAIN.test(domain)) fail('cookies.formerDomains', `${JSON.stringify(domain)} is not a host name.`);
  }
  if (cookies.sameSite === 'none' && !cookies.secure) {
    fail('cookies.sameSite', '"none" needs cookies.secure; browsers reject the cookie otherwise.');
  }
  if (cookies.partitioned && !cookies.secure) {
    fail('cookies.partitioned', 'needs cookies.secure; browsers reject the cookie otherwise.');
  }
  if (!cookies.secure && process.env['NODE_ENV'] === 'production') {
    warnings.push(
      'cookies.secure is false in production: whoever can read the network traffic can take over sessions.',
    );
  }
  return cookies;
}

/** A prefix that the application writes into a name itself must keep what the browser demands of it (RFC 6265bis, 4.1.3). */
function checkNamePrefix(
  key: string,
  name: string,
  cookies: ResolvedCookieOptions,
  refresh: RefreshMode,
): void {
  const refreshPath =
    cookies.refreshPath ?? (refresh === 'endpoint' ? 'that of the refresh route' : cookies.path);
  const path = key === 'refreshName' ? refreshPath : cookies.path;
  if (/^__host-/i.test(name) && (!cookies.secure || cookies.domain !== undefined || path !== '/')) {
    fail(
      `cookies.${key}`,
      'begins with "__Host-", which browsers accept only with secure, without a domain and with path "/".',
    );
  }
  if (/^__secure-/i.test(name) && !cookies.secure) {
    fail(`cookies.${key}`, 'begins with "__Secure-", which browsers accept only with cookies.secure.');
  }
}

function resolveCleanup(input: SessionModuleOptions['cleanup']): ResolvedOptions['cleanup'] {
  if (input === false) return false;
  const interval = duration('cleanup.interval', input?.interval, 3_600_000, SECOND);
  if (interval > 2 ** 31 - 1)
    fail('cleanup.interval', 'must be under 24 days, the longest that a timer can wait.');
  const batchSize = input?.batchSize ?? 1_000;
  if (!Number.isInteger(batchSize) || batchSize < 1 || batchSize > 10_000) {
    fail('cleanup.batchSize', 'must be a whole number from 1 to 10,000.');
  }
  return { interval, batchSize };
}

function duration(option: string, value: unknown, fallback: number, min: number): number {
  if (value === undefined) return fallback;
  const ms = parseDuration(value);
  if (ms === undefined) {
    fail(
      option,
      `${show(value)} is not a duration. Give seconds, or a string such as "500ms", "10s", "15m", "24h", "30d".`,
    );
  }
  if (ms < min) fail(option, `must be at least ${min} ms.`);
  return ms;
}

function oneOf<T extends string>(option: string, value: unknown, known: readonly T[], fallback: T): T {
  if (value === undefined) return fallback;
  const found = known.find((each) => each === value);
  return found ?? fail(option, `${show(value)} is not known. Known: ${known.join(', ')}.`);
}

function text(option: string, value: unknown): string | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== 'string' || value === '') fail(option, 'must be a non-empty string.');
  return value;
}

function flag(option: string, value: unknown, fallback: boolean): boolean {
  if (value === undefined) return fallback;
  // A string from the environment ("false") would be truthy: refuse it instead of guessing.
  if (typeof value !== 'boolean') fail(option, 'must be true or false.');
  return value;
}

function list(option: string, value: unknown): string[] {
  if (value === undefined) return [];
  if (!Array.isArray(value) || value.some((each) => typeof each !== 'string'))
    fail(option, 'must be a list of strings.');
  return [...(value as string[])];
}

/** Whether cookies of a path are sent to another path (RFC 6265, 5.1.4). */
function covers(cookiePath: string, path: string): boolean {
  return path === cookiePath || path.startsWith(cookiePath.endsWith('/') ? cookiePath : `${cookiePath}/`);
}

/** One path of its segments, with one leading and no trailing slash. */
export function joinPath(...segments: string[]): string {
  return `/${segments
    .flatMap((segment) => segment.split('/'))
    .filter(Boolean)
    .join('/')}`;
}

function deepFreeze<T extends object>(value: T): T {
  for (const each of Object.values(value)) {
    if (typeof each === 'object' && each !== null && !(each instanceof Set)) deepFreeze(each as object);
  }
  return Object.freeze(value);
}

/** JSON shows NaN and Infinity as null, and throws at a bigint. */
function show(value: unknown): string {
  return typeof value === 'number' || typeof value === 'bigint' ? String(value) : JSON.stringify(value);
}

function fail(option: string, message: string): never {
  throw new InvalidOptionError(option, message);
}

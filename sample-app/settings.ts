import type {
  CsrfMode,
  RefreshMode,
  RevocationMode,
  SessionModuleExtras,
  SessionModuleOptions,
} from 'nestjs-session-tokens';
import { isIP } from 'node:net';
import type { DataSourceOptions } from 'typeorm';
import { databaseOptions, defaultDatabase, type DefaultDatabase } from './database.js';
import { StartError } from './start-error.js';

export type Adapter = 'express' | 'fastify';

/** What the environment says, checked. A class, so that Nest can inject it. */
export abstract class Settings {
  abstract readonly port: number;
  abstract readonly host: string;
  abstract readonly adapter: Adapter;
  /** Which proxies may say where a request came from: as Express and Fastify take it. */
  abstract readonly trustProxy: boolean | number | string;
  abstract readonly database: DataSourceOptions;
  /** What should be known about the database that is used because none is named. */
  abstract readonly databaseNote: string | undefined;
  /** Goes to `SessionModule.forRoot()` as it is. */
  abstract readonly session: SessionModuleOptions & SessionModuleExtras;
  /** In milliseconds; the page counts down with these. */
  abstract readonly accessTokenTtl: number;
  abstract readonly reuseWindow: number;
  abstract readonly theftDemo: boolean;
  abstract readonly signIn: SignInLimits;
}

/** How many attempts to sign in may fail within `window`, in milliseconds. */
export interface SignInLimits {
  readonly window: number;
  /** With one name from one address. */
  readonly attempts: number;
  /** From one address, with any names. Many people may share an address. */
  readonly attemptsPerAddress: number;
}

/** At least one setting is wrong; the message has a line for each. */
export class SettingsError extends StartError {}

type Environment = Readonly<Record<string, string | undefined>>;

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const DAY = 24 * 60 * MINUTE;
const DURATION = 'seconds or a duration such as "500ms", "10s", "15m", "24h" or "30d"';

/** @throws {@link SettingsError} naming every wrong variable, so that all can be put right at once */
export function readSettings(env: Environment): Settings {
  const problems: string[] = [];

  /** The variable as `parse` understands it; `undefined` from there means that it does not. */
  function read<T>(
    name: string,
    fallback: T,
    parse: (text: string) => T | undefined,
    allowed: string,
    show: (text: string) => string = JSON.stringify,
  ): T {
    // An empty variable is what a compose file leaves behind where nothing was set.
    const text = env[name]?.trim() ?? '';
    if (text === '') return fallback;
    const value = parse(text);
    if (value === undefined) problems.push(`${name} is ${show(text)}. Allowed: ${allowed}.`);
    return value ?? fallback;
  }
  const oneOf = <T extends string>(name: string, fallback: T, values: readonly T[]): T =>
    read(name, fallback, (text) => values.find((value) => value === text), values.join(', '));
  const duration = (name: string, fallback: number, min: number, isFit: Fits, rule: string) =>
    read(
      name,
      fallback,
      (text) => {
        const ms = parseDuration(text);
        return ms !== undefined && ms >= min && isFit(ms) ? ms : undefined;
      },
      `${DURATION}, ${rule}`,
    );

  const count = (name: string, fallback: number, min: number, rule: string) =>
    read(
      name,
      fallback,
      (text) => (/^\d{1,6}$/.test(text) && Number(text) >= min ? Number(text) : undefined),
      `a whole number from ${min} to 999999${rule}`,
    );

  // Absent, not undefined: the module takes that for a mistake.
  const secret = read(
    'SESSION_SECRET',
    undefined,
    (text) => (text.length >= 32 ? text : undefined),
    'at least 32 characters, the same for every process; make them with: openssl rand -base64 48',
    (text) => `${text.length} characters long`,
  );
  const accessTokenTtl = duration('ACCESS_TOKEN_TTL', MINUTE / 2, SECOND, isWholeSeconds, 'in whole seconds');
  const refreshTokenTtl = duration(
    'REFRESH_TOKEN_TTL',
    Math.max(30 * DAY, 2 * accessTokenTtl),
    SECOND,
    (ms) => ms > accessTokenTtl,
    `longer than ACCESS_TOKEN_TTL (${accessTokenTtl / SECOND} s)`,
  );
  const reuseWindow = duration(
    'REUSE_WINDOW',
    Math.min(5 * SECOND, accessTokenTtl / 2),
    0,
    (ms) => ms * 2 <= accessTokenTtl,
    `at most half of ACCESS_TOKEN_TTL (${accessTokenTtl / SECOND} s)`,
  );
  const attempts = count('SIGN_IN_ATTEMPTS', 5, 1, '');

  const database = read<DefaultDatabase | undefined>(
    'DATABASE_URL',
    undefined,
    (text) => {
      const options = databaseOptions(text);
      return options && { options };
    },
    'sqlite:FILE, sqlite::memory:, postgres://USER:PASSWORD@HOST/DATABASE, mysql://… or mariadb://… likewise',
    (text) => JSON.stringify(text.replace(/\/\/.*@/, '//***@')), // keeps the password out of logs
  );
  const { options, note } = database ?? defaultDatabase();

  const settings: Settings = {
    port: read('PORT', 3000, parsePort, 'a whole number from 0 to 65535'),
    host: read('HOST', '0.0.0.0', (text) => text, 'an address or a host name'),
    adapter: oneOf('HTTP_ADAPTER', 'express', ['express', 'fastify']),
    trustProxy: read<boolean | number | string>(
      'TRUST_PROXY',
      false,
      parseTrustProxy,
      'false, true, the number of proxies in front of the application, or a list of their addresses or networks (such as "loopback, 10.0.0.0/8")',
    ),
    database: options,
    databaseNote: note,
    session: {
      ...(secret !== undefined && { secret }),
      accessToken: { ttl: accessTokenTtl / SECOND },
      refreshToken: { ttl: refreshTokenTtl / SECOND },
      reuseWindow: reuseWindow / SECOND,
      signingKeys: {
        rotation: duration('SIGNING_KEY_ROTATION', DAY, SECOND, () => true, 'at least 1 second') / SECOND,
      },
      revocation: oneOf<RevocationMode>('REVOCATION', 'feed', ['feed', 'database', 'none']),
      revocationInterval:
        duration('REVOCATION_INTERVAL', SECOND, 1, () => true, 'at least 1 millisecond') / SECOND,
      refresh: oneOf<RefreshMode>('REFRESH_MODE', 'transparent', ['transparent', 'endpoint']),
      refreshPath: '/auth/refresh',
      csrf: {
        mode: oneOf<CsrfMode>('CSRF', 'origin', ['origin', 'token', 'header', 'off']),
        trustedOrigins: read(
          'TRUSTED_ORIGINS',
          [],
          parseOrigins,
          'a comma-separated list of origins such as "https://app.example.com"',
        ),
      },
      cookies: {
        secure: oneOf('COOKIE_SECURE', 'true', ['true', 'false']) === 'true',
        // The page reads it to count the access token's life down; it holds two times and nothing secret.
        indicatorName: 'session_info',
      },
    },
    accessTokenTtl,
    reuseWindow,
    theftDemo: oneOf('THEFT_DEMO', env['NODE_ENV'] === 'production' ? 'off' : 'on', ['on', 'off']) === 'on',
    signIn: {
      window: duration(
        'SIGN_IN_WINDOW',
        5 * MINUTE,
        SECOND,
        (ms) => ms <= DAY,
        'at least 1 second, at most 24 hours',
      ),
      attempts,
      attemptsPerAddress: count(
        'SIGN_IN_ATTEMPTS_PER_ADDRESS',
        Math.max(100, attempts),
        attempts,
        ', at least SIGN_IN_ATTEMPTS',
      ),
    },
  };
  if (problems.length > 0) throw new SettingsError(`Wrong settings:\n  ${problems.join('\n  ')}`);
  return settings;
}

type Fits = (ms: number) => boolean;

const isWholeSeconds: Fits = (ms) => ms % SECOND === 0;

function parseDuration(text: string): number | undefined {
  const units: Record<string, number> = {
    ms: 1,
    s: SECOND,
    m: MINUTE,
    h: 60 * MINUTE,
    d: DAY,
    w: 7 * DAY,
  };
  const match = /^(\d{1,9}(?:\.\d{1,3})?) ?(ms|s|m|h|d|w)?$/.exec(text);
  return match ? Math.round(Number(match[1]) * units[match[2] ?? 's']!) : undefined;
}

function parsePort(text: string): number | undefined {
  return /^\d{1,5}$/.test(text) && Number(text) <= 65_535 ? Number(text) : undefined;
}

function parseTrustProxy(text: string): boolean | number | string | undefined {
  if (text === 'true' || text === 'false') return text === 'true';
  if (/^\d{1,2}$/.test(text)) return Number(text);
  return text.split(',').every((each) => isNetwork(each.trim())) ? text : undefined;
}

function isNetwork(text: string): boolean {
  if (['loopback', 'linklocal', 'uniquelocal'].includes(text)) return true;
  const [address = '', prefix, ...rest] = text.split('/');
  const version = isIP(address);
  if (version === 0 || rest.length > 0) return false;
  return prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= (version === 4 ? 32 : 128));
}

function parseOrigins(text: string): string[] | undefined {
  const origins = text.split(',').map((each) => each.trim());
  return origins.every(isOrigin) ? origins : undefined;
}

function isOrigin(text: string): boolean {
  return /^https?:/i.test(text) && URL.canParse(text) && new URL(text).origin === text.toLowerCase();
}

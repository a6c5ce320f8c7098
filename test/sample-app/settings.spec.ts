import { expect, it } from 'vitest';
import { readSettings, SettingsError } from '../../sample-app/settings.js';
import { resolveOptions } from '../../lib/options/resolved-options.js';

function messageFor(env: Record<string, string>): string {
  try {
    readSettings(env);
    return '';
  } catch (error) {
    if (error instanceof SettingsError) return error.message;
    throw error;
  }
}

it('needs no settings at all', () => {
  expect(readSettings({})).toMatchObject({
    port: 3000,
    adapter: 'express',
    trustProxy: false,
    database: { type: 'better-sqlite3', database: 'sample.sqlite', enableWAL: true },
    accessTokenTtl: 30_000,
    reuseWindow: 5_000,
    theftDemo: true,
    signIn: { window: 300_000, attempts: 5, attemptsPerAddress: 100 },
    session: {
      refresh: 'transparent',
      refreshPath: '/auth/refresh',
      revocation: 'feed',
      csrf: { mode: 'origin', trustedOrigins: [] },
      cookies: { secure: true, indicatorName: 'session_info' },
    },
  });
});

it('takes an empty variable for one that is not set', () => {
  expect(readSettings({ PORT: '', SESSION_SECRET: ' ', HTTP_ADAPTER: '' })).toEqual(readSettings({}));
});

it('hands every setting to the library in its terms', () => {
  const { session, ...settings } = readSettings({
    PORT: '8080',
    DATABASE_URL: 'postgres://ann:secret@db/app',
    SESSION_SECRET: 's'.repeat(32),
    ACCESS_TOKEN_TTL: '5s',
    REFRESH_TOKEN_TTL: '7d',
    REUSE_WINDOW: '500ms',
    SIGNING_KEY_ROTATION: '12h',
    REVOCATION: 'database',
    REVOCATION_INTERVAL: '250ms',
    REFRESH_MODE: 'endpoint',
    CSRF: 'token',
    COOKIE_SECURE: 'false',
    TRUSTED_ORIGINS: 'https://a.example, http://localhost:5173',
    TRUST_PROXY: '1',
    HTTP_ADAPTER: 'fastify',
    THEFT_DEMO: 'off',
    SIGN_IN_ATTEMPTS: '3',
    SIGN_IN_ATTEMPTS_PER_ADDRESS: '30',
    SIGN_IN_WINDOW: '1h',
  });
  expect(settings).toMatchObject({ port: 8080, adapter: 'fastify', trustProxy: 1, theftDemo: false });
  expect(settings.signIn).toEqual({ window: 3_600_000, attempts: 3, attemptsPerAddress: 30 });
  expect(settings.database).toMatchObject({ type: 'postgres', url: 'postgres://ann:secret@db/app' });
  const { refreshPath, ...options } = session;
  const resolved = resolveOptions(options, refreshPath === undefined ? {} : { refreshPath }).options;
  expect(resolved).toMatchObject({
    secrets: ['s'.repeat(32)],
    accessToken: { ttl: 5_000 },
    refreshToken: { ttl: 7 * 86_400_000 },
    rotation: { reuseWindow: 500 },
    signingKeys: { rotation: 12 * 3_600_000 },
    revocation: 'database',
    revocationInterval: 250,
    refresh: 'endpoint',
    csrf: { mode: 'token', trustedOrigins: new Set(['https://a.example', 'http://localhost:5173']) },
    cookies: { secure: false },
  });
});

it('fits the default reuse window and session life to the access token’s life', () => {
  expect(readSettings({ ACCESS_TOKEN_TTL: '4s' }).reuseWindow).toBe(2_000);
  expect(() => readSettings({ ACCESS_TOKEN_TTL: '60d' })).not.toThrow();
});

it('fits the default limit of an address to that of a name', () => {
  expect(readSettings({ SIGN_IN_ATTEMPTS: '500' }).signIn.attemptsPerAddress).toBe(500);
});

it.each([
  ['sqlite:data/my file.sqlite', { type: 'better-sqlite3', database: 'data/my file.sqlite' }],
  ['sqlite:/abs.sqlite', { type: 'better-sqlite3', database: '/abs.sqlite' }],
  ['sqlite::memory:', { type: 'better-sqlite3', database: ':memory:' }],
  ['postgres://u:p@h:1/d?sslmode=require', { type: 'postgres' }],
  ['postgresql://h/d', { type: 'postgres' }],
  ['mysql://u:p@h/d', { type: 'mysql' }],
  ['mariadb://u:p@h/d', { type: 'mariadb' }],
])('understands the database URL %s', (url, expected) => {
  expect(readSettings({ DATABASE_URL: url }).database).toMatchObject(expected);
});

it.each([
  ['true', true],
  ['false', false],
  ['2', 2],
  ['loopback, 10.0.0.0/8', 'loopback, 10.0.0.0/8'],
  ['::1', '::1'],
])('understands TRUST_PROXY=%s', (text, expected) => {
  expect(readSettings({ TRUST_PROXY: text }).trustProxy).toBe(expected);
});

it('leaves the theft demonstration out in production, unless asked for', () => {
  expect(readSettings({ NODE_ENV: 'production' }).theftDemo).toBe(false);
  expect(readSettings({ NODE_ENV: 'production', THEFT_DEMO: 'on' }).theftDemo).toBe(true);
});

it.each([
  ['PORT', '80a', 'a whole number from 0 to 65535'],
  ['PORT', '65536', 'a whole number'],
  ['PORT', '-1', 'a whole number'],
  ['HTTP_ADAPTER', 'koa', 'express, fastify'],
  ['DATABASE_URL', 'oracle://h/d', 'sqlite:FILE'],
  ['DATABASE_URL', 'sqlite:', 'sqlite:FILE'],
  ['DATABASE_URL', 'sqlite://file.sqlite', 'sqlite:FILE'],
  ['DATABASE_URL', 'postgres://', 'postgres://'],
  ['DATABASE_URL', 'postgres://host', 'postgres://'],
  ['ACCESS_TOKEN_TTL', 'soon', '"15m"'],
  ['ACCESS_TOKEN_TTL', '0', '"15m"'],
  ['ACCESS_TOKEN_TTL', '1500ms', 'in whole seconds'],
  ['REFRESH_TOKEN_TTL', '30s', 'longer than ACCESS_TOKEN_TTL (30 s)'],
  ['REUSE_WINDOW', '16s', 'at most half of ACCESS_TOKEN_TTL (30 s)'],
  ['REUSE_WINDOW', '-1s', 'at most half'],
  ['SIGNING_KEY_ROTATION', '500ms', 'at least 1 second'],
  ['REVOCATION', 'redis', 'feed, database, none'],
  ['REVOCATION_INTERVAL', '0', 'at least 1 millisecond'],
  ['REFRESH_MODE', 'auto', 'transparent, endpoint'],
  ['CSRF', 'on', 'origin, token, header, off'],
  ['COOKIE_SECURE', 'no', 'true, false'],
  ['TRUSTED_ORIGINS', 'https://a.example/', 'https://app.example.com'],
  ['TRUSTED_ORIGINS', 'https://a.example,*', 'https://app.example.com'],
  ['TRUST_PROXY', 'yes', 'false, true, the number of proxies'],
  ['TRUST_PROXY', '10.0.0.0/33', 'false, true, the number of proxies'],
  ['THEFT_DEMO', 'maybe', 'on, off'],
  ['SIGN_IN_ATTEMPTS', '0', 'a whole number from 1 to 999999'],
  ['SIGN_IN_ATTEMPTS', 'many', 'a whole number from 1 to 999999'],
  ['SIGN_IN_ATTEMPTS', '1.5', 'a whole number from 1 to 999999'],
  ['SIGN_IN_ATTEMPTS_PER_ADDRESS', '4', 'from 5 to 999999, at least SIGN_IN_ATTEMPTS'],
  ['SIGN_IN_WINDOW', '500ms', 'at least 1 second, at most 24 hours'],
  ['SIGN_IN_WINDOW', '25h', 'at least 1 second, at most 24 hours'],
])('says what is wrong with %s=%s and what is allowed', (name, value, allowed) => {
  const message = messageFor({ [name]: value });
  expect(message).toContain(`${name} is "${value}"`);
  expect(message).toContain(allowed);
});

it('reports every wrong setting at once', () => {
  const message = messageFor({ PORT: 'x', CSRF: 'y', REVOCATION: 'z' });
  expect(message.split('\n')).toHaveLength(4);
});

it('keeps secrets and passwords out of its messages', () => {
  const message = messageFor({
    SESSION_SECRET: 'too-short-secret',
    DATABASE_URL: 'oracle://ann:pass/word@h/d',
  });
  expect(message).toContain('SESSION_SECRET is 16 characters long. Allowed: at least 32 characters');
  expect(message).toContain('DATABASE_URL is "oracle://***@h/d"');
  expect(message).not.toMatch(/too-short|pass\/word/);
});

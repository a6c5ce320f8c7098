import { decodeJwt, type JWTPayload } from 'jose';
import { SessionEntity, type SessionModuleExtras, type SessionModuleOptions } from 'nestjs-session-tokens';
import { afterEach, beforeEach, expect, vi } from 'vitest';
import { type Adapter, startApp, type TestApp, type TestAppSettings } from '../support/app.js';
import { type Answer, Browser, type JarCookie } from '../support/browser.js';
import { connect, type DatabaseKind, databases, type TestDatabase } from '../support/databases.js';
import { pass, stopClock } from '../support/time.js';
import { AccountController } from './account.controller.js';

export interface AccountApp extends TestApp {
  readonly database: TestDatabase;
  /** A client without cookies. */
  browser(): Browser;
  /** A client that has just signed in. */
  signIn(input?: object): Promise<Browser>;
  /** All sessions as the database has them. */
  rows(): Promise<SessionEntity[]>;
}

export interface AccountAppSettings extends Pick<TestAppSettings, 'metadata' | 'configure' | 'trustProxy'> {
  /** Starts another process of an application: it uses the same database. */
  readonly database?: TestDatabase;
  /** Is called when the application has been closed. */
  readonly onClose?: () => Promise<unknown>;
}

type Start = (
  options?: SessionModuleOptions & SessionModuleExtras,
  settings?: AccountAppSettings,
) => Promise<AccountApp>;

/**
 * For the tests of one suite: starts applications with the {@link AccountController} and takes them down after each test.
 * Time stands still until a test lets some {@link pass}.
 */
export function accountApps(adapter: Adapter, kind: DatabaseKind = databases[0]!): Start {
  const cleanups: (() => Promise<unknown>)[] = [];
  beforeEach(() => {
    stopClock();
  });
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
    vi.useRealTimers();
  });

  return async (options, { metadata, database, onClose, ...settings } = {}) => {
    const used = database ?? (await kind.create());
    if (!database) cleanups.push(() => used.remove());
    if (onClose) cleanups.push(onClose);
    const app = await startApp({
      adapter,
      database: used,
      options,
      ...settings,
      metadata: { ...metadata, controllers: [AccountController, ...(metadata?.controllers ?? [])] },
    });
    cleanups.push(() => app.close());
    return {
      ...app,
      database: used,
      browser: () => new Browser(app.url),
      async signIn(input = { userId: 'alice' }) {
        const browser = new Browser(app.url);
        expect(await browser.post('/login', input)).toMatchObject({ status: 200 });
        return browser;
      },
      async rows() {
        const dataSource = await connect(used);
        try {
          return await dataSource.getRepository(SessionEntity).find({ order: { id: 'ASC' } });
        } finally {
          await dataSource.destroy();
        }
      },
    };
  };
}

export const ACCESS = '__Host-Http-session_access';
export const REFRESH = '__Host-Http-session_refresh';
export const MARKER = '__Host-Http-session_look_again';

/** A cookie of the jar. It must exist. */
export function cookieOf(browser: Browser, name: 'session_access' | 'session_refresh'): JarCookie {
  const cookie = browser.cookie(name);
  expect(cookie, `cookie ${name}`).toBeDefined();
  return cookie!;
}

/** The payload of the access token in the jar. */
export function accessTokenOf(browser: Browser): JWTPayload {
  return decodeJwt(cookieOf(browser, 'session_access').value);
}

/** Lets a browser prove its next generation. Its previous cookies then look old. */
export async function moveOn(browser: Browser, path = '/me'): Promise<void> {
  pass('16m');
  expect((await browser.get(path)).status).toBe(200);
  pass('90s');
  expect((await browser.get(path)).status).toBe(200);
}

/** The id in a refresh token: see `refresh-token.codec.ts`. */
export function tokenIdOf(token: string): string {
  return Buffer.from(token, 'base64url').toString('hex', 31, 39);
}

/** Names of the cookies that an answer sets, sorted. */
export function setCookieNames({ setCookies }: Answer): string[] {
  return setCookies.map(({ name }) => name).toSorted();
}

/** Whether a response clears both cookies of the session. */
export function clearsCookies({ setCookies }: Answer): boolean {
  const cleared = setCookies.filter(({ value, attributes }) => value === '' && attributes['max-age'] === '0');
  return [ACCESS, REFRESH].every((name) => cleared.some((cookie) => cookie.name === name));
}

/** The body of the response to a refused request. */
export function refusal(statusCode: number, code: string): object {
  return { status: statusCode, body: { statusCode, code, message: expect.any(String) as string } };
}

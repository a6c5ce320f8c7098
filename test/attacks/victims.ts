import type { SessionEvent, SessionModuleOptions } from 'nestjs-session-tokens';
import { SESSION_ENTITIES } from 'nestjs-session-tokens';
import { expect } from 'vitest';
import { ACCESS, type AccountApp, type accountApps, cookieOf, MARKER, REFRESH } from '../http/account-app.js';
import type { Browser } from '../support/browser.js';
import { connect, type TestDatabase } from '../support/databases.js';
import { pass } from '../support/time.js';
import type { Dump, Row } from './stolen-database.js';

export const SECRET = 'the secret of this application, known to it alone';

/** A user who is signed in when the database is stolen, and must stay signed in. */
export interface Victim {
  readonly userId: string | number;
  readonly browser: Browser;
  /** The row of the session in the dump. */
  readonly row: Row;
  /** The tokens that only the client has. */
  readonly sessionSecret: Buffer;
}

/** An application whose tables a thief has just read. */
export interface Robbed {
  readonly app: AccountApp;
  readonly dump: Dump;
  readonly victims: readonly Victim[];
  /** The revoked session, with the secret that its client still has. */
  readonly revoked: Victim;
  /** The events since the theft of the database. */
  readonly events: SessionEvent[];
}

/** The cookies that an attacker sends. */
export interface Forgery {
  readonly access?: string;
  readonly refresh?: string;
}

/** Runs an application until it has sessions with rows in every possible state, and then steals the database. */
export async function rob(
  start: ReturnType<typeof accountApps>,
  options: SessionModuleOptions,
): Promise<Robbed> {
  const app = await start({ accessToken: { algorithm: 'HS256' }, csrf: { mode: 'token' }, ...options });
  const browsers = {
    untouched: await app.signIn({ userId: 'alice', claims: { role: 'user' }, data: { cart: ['book'] } }),
    proven: await app.signIn({ userId: 'bob', claims: { role: 'admin' } }),
    redeemed: await app.signIn({ userId: 7 }),
    lost: await app.signIn({ userId: 'carol' }),
    revoked: await app.signIn({ userId: 'dave' }),
  };
  for (let round = 0; round < 3; round++) {
    pass('16m');
    for (const browser of [browsers.proven, browsers.redeemed, browsers.revoked]) await ok(browser);
    // Uses the new tokens when this proves their generation. The row then has the new generation, and `redeemedBy` is null.
    pass('2m');
    await ok(browsers.proven);
  }
  expect(await browsers.lost.get('/me', { loseResponse: true })).toMatchObject({ status: 200 });
  pass('1m');

  const { revoked, ...alive } = browsers;
  const ids = new Map<Browser, string>();
  for (const browser of Object.values(browsers)) ids.set(browser, sessionIdIn(refreshCookie(browser)));
  await app.sessions.revoke(ids.get(revoked)!);

  const dump = await dumpOf(app.database);
  const victimOf = (browser: Browser): Victim => {
    const row = dump.user_session.find(({ id }) => id === ids.get(browser))!;
    const userId = JSON.parse(row['user_id'] as string) as string | number;
    return { userId, browser, row, sessionSecret: secretIn(refreshCookie(browser)) };
  };
  const events: SessionEvent[] = [];
  app.sessions.events.subscribe((event) => events.push(event));
  return {
    app,
    dump,
    victims: Object.values(alive).map(victimOf),
    revoked: victimOf(revoked),
    events,
  };
}

/** Every row of every table of the module. */
export async function dumpOf(database: TestDatabase): Promise<Dump> {
  const dataSource = await connect(database);
  try {
    const tables = SESSION_ENTITIES.map((entity) => dataSource.getMetadata(entity).tableName);
    const dump: Record<string, Row[]> = {};
    for (const table of tables) {
      const rows = await dataSource.query<Row[]>(`SELECT * FROM ${table} ORDER BY 1`);
      dump[table] = rows.map((row) => Object.assign({}, row));
    }
    return dump as unknown as Dump;
  } finally {
    await dataSource.destroy();
  }
}

/**
 * How an application answers a request with these cookies: `accepted`, `refused`, or anything worse. The attacker looks
 * again when told to, and has no newer token.
 */
export async function answerTo({ url }: AccountApp, { access, refresh }: Forgery): Promise<string> {
  const cookies = [access && `${ACCESS}=${access}`, refresh && `${REFRESH}=${refresh}`];
  const ask = async (marker?: string) => {
    const headers = { cookie: [...cookies, marker].filter(Boolean).join('; ') };
    const response = await fetch(`${url}/me`, { headers });
    const { code } = (await response.json()) as { code?: string };
    const given = response.headers.getSetCookie().filter((line) => !/^[^=]+=;/.test(line));
    return { status: response.status, code, given };
  };
  let { status, code, given } = await ask();
  if (code === 'look_again') {
    const [marker, ...others] = given;
    if (!marker?.startsWith(`${MARKER}=`) || others.length > 0) return `marker: ${given.join(', ')}`;
    ({ status, code, given } = await ask(marker.split(';')[0]));
  }
  if (status === 200) return 'accepted';
  if (given.length > 0) return 'cookies';
  const isRefusal = status === 401 && code !== undefined && code !== 'token_theft' && code !== 'look_again';
  return isRefusal ? 'refused' : `${status} ${code}`;
}

const AT_ONCE = 16;

/** How often each answer was given. */
export async function countAnswers<T>(
  attempts: readonly T[],
  answer: (attempt: T) => Promise<string>,
): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (let at = 0; at < attempts.length; at += AT_ONCE) {
    const answers = await Promise.all(attempts.slice(at, at + AT_ONCE).map(answer));
    for (const each of answers) counts[each] = (counts[each] ?? 0) + 1;
  }
  return counts;
}

/** Expects that all forgeries are refused, and that nothing in the world has changed by them. */
export async function expectRefused(robbed: Robbed, forgeries: readonly Forgery[]): Promise<void> {
  expect(forgeries.length).toBeGreaterThan(0);
  const answers = await countAnswers(forgeries, (forgery) => answerTo(robbed.app, forgery));
  expect(answers).toEqual({ refused: forgeries.length });
  await expectUntouched(robbed);
}

/** Expects of a control that every token is accepted. */
export async function expectAccepted({ app }: Robbed, tokens: readonly Forgery[]): Promise<void> {
  expect(tokens.length).toBeGreaterThan(0);
  const answers = await countAnswers(tokens, (token) => answerTo(app, token));
  expect(answers).toEqual({ accepted: tokens.length });
}

/** All events, except of requests that were refused before anything else, and about tokens of the session that is over. */
function eventsOf({ events, revoked }: Robbed): SessionEvent[] {
  return events.filter(
    (event) =>
      event.type !== 'csrf_refused' && (event.type !== 'stale' || event.sessionId !== revoked.row['id']),
  );
}

/** Expects that no attack has written anything, ended a session, or made a victim look like a thief. */
export async function expectUntouched(robbed: Robbed): Promise<void> {
  const { app, dump } = robbed;
  expect(eventsOf(robbed)).toEqual([]);
  expect(await dumpOf(app.database)).toEqual(dump);
}

/** Expects that every victim goes on as if nothing had happened, through two more refreshes. */
export async function expectUnharmed(robbed: Robbed): Promise<void> {
  const { victims, revoked } = robbed;
  for (const wait of ['0s', '16m', '2m', '16m', '2m']) {
    pass(wait);
    for (const { browser, userId } of victims) {
      expect(await browser.get('/me')).toMatchObject({ status: 200, body: { userId } });
    }
  }
  expect(new Set(eventsOf(robbed).map(({ type }) => type))).toEqual(new Set(['refreshed']));
  expect(await revoked.browser.get('/me')).toMatchObject({ status: 401, body: { code: 'session_over' } });
}

async function ok(browser: Browser): Promise<void> {
  expect(await browser.get('/me')).toMatchObject({ status: 200 });
}

function refreshCookie(browser: Browser): string {
  return cookieOf(browser, 'session_refresh').value;
}

function secretIn(refreshToken: string): Buffer {
  return Buffer.from(refreshToken, 'base64url').subarray(39, 55);
}

function sessionIdIn(refreshToken: string): string {
  const hex = Buffer.from(refreshToken, 'base64url').toString('hex', 5, 21);
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

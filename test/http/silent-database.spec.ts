import { Logger } from '@nestjs/common';
import type { DataSourceOptions } from 'typeorm';
import { SESSION_RUNTIME } from '../../lib/module/session.constants.js';
import type { SessionDataSource } from '../../lib/storage/session-data-source.js';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { adapters } from '../support/app.js';
import type { Browser } from '../support/browser.js';
import { databases, type TestDatabase } from '../support/databases.js';
import { beforeQuery } from '../support/statements.js';
import { TcpGate } from '../support/tcp-gate.js';
import { pass } from '../support/time.js';
import { type AccountApp, accountApps } from './account-app.js';

/** How long a request waits for news, and for a statement, in milliseconds. */
const NEWS = 1_000;
const STATEMENT = 2_000;
/** What a busy machine may add: less than NEWS, so that it shows if somebody waits twice. */
const SLACK = 900;

/** A database that can fall silent. */
interface Silent {
  readonly app: AccountApp;
  readonly fallSilent: () => void;
  readonly answerAgain: () => void;
}

const lines: string[] = [];

describe.each(databases)('a database that does not answer: $name', (kind) => {
  const start = accountApps(adapters[0], kind);
  const gates: TcpGate[] = [];
  afterEach(async () => {
    vi.restoreAllMocks();
    lines.length = 0;
    for (const gate of gates.splice(0)) await gate.close();
  });

  const setUp = async (options: object = {}): Promise<Silent> => {
    const times = { newsTimeout: NEWS / 1_000, databaseTimeout: STATEMENT / 1_000 };
    const settings = { ...times, ...options };
    if (kind.name === 'sqlite') {
      const app = await start(settings);
      return { app, ...silenceOf(app) };
    }
    const database = await kind.create();
    const url = new URL((database.options as { url: string }).url);
    const gate = await TcpGate.before(url.hostname, Number(url.port));
    gates.push(gate);
    url.port = String(gate.port);
    const behind: TestDatabase = {
      ...database,
      options: { ...database.options, url: url.href } as DataSourceOptions,
    };
    const app = await start(settings, { database: behind, onClose: () => database.remove() });
    return { app, fallSilent: () => gate.shut(), answerAgain: () => gate.open() };
  };

  it.each(['feed', 'none'] as const)(
    'does not keep requests with good tokens waiting, and what needs it is answered 503 in time (mode %s)',
    async (revocation) => {
      const { app, fallSilent, answerAgain } = await setUp({ revocation });
      const browser = await app.signIn();
      const other = await app.signIn({ userId: 'bob' });
      await timed(browser, '/me');
      hearLog();
      fallSilent();
      pass('6m');
      // Those that come together wait together; nobody waits after them.
      const first = await Promise.all([timed(browser, '/me'), timed(other, '/me'), timed(browser, '/me')]);
      for (const { status, took } of first) {
        expect(status).toBe(200);
        expect(took).toBeLessThan(NEWS + SLACK);
      }
      pass('2s');
      const next = await timed(browser, '/me');
      expect(next.status).toBe(200);
      expect(next.took).toBeLessThan(NEWS);

      pass('16m');
      const refused = await Promise.all([timed(browser, '/me'), timed(other, '/me')]);
      for (const { status, took } of refused) {
        expect(status).toBe(503);
        expect(took).toBeLessThan(NEWS + STATEMENT + SLACK);
      }
      answerAgain();
      pass('1m');
      expect(await settled(() => browser.get('/me'))).toBe(200);
      expect(await settled(() => other.get('/me'))).toBe(200);
      const troubles = lines.filter((line) => line.startsWith('The session database'));
      expect(troubles).toEqual([
        expect.stringMatching(/does not do what it is asked.*did not answer within 2 s/),
        expect.stringMatching(/does what it is asked again. The trouble lasted \d+ s/),
      ]);
    },
  );
});

function note(text: unknown, cause?: unknown): void {
  lines.push(cause instanceof Error ? `${String(text)} ${cause.message}` : String(text));
}

function hearLog(): void {
  vi.spyOn(Logger.prototype, 'error').mockImplementation(note);
  vi.spyOn(Logger.prototype, 'log').mockImplementation(note);
}

async function timed(browser: Browser, path: string): Promise<{ status: number; took: number }> {
  const begun = performance.now();
  const { status } = await browser.get(path);
  return { status, took: performance.now() - begun };
}

/** The status, once the connections from before have gone. */
async function settled(request: () => Promise<{ status: number }>): Promise<number> {
  for (let attempts = 0; attempts < 20; attempts++) {
    const { status } = await request();
    if (status !== 503) return status;
  }
  return 503;
}

/** SQLite has no network between. */
function silenceOf(app: AccountApp): Pick<Silent, 'fallSilent' | 'answerAgain'> {
  const { dataSource } = app.app.get<{ database: SessionDataSource }>(SESSION_RUNTIME, {
    strict: false,
  }).database;
  let silence: Promise<void> | undefined;
  let answer: (() => void) | undefined;
  beforeQuery(dataSource, async () => silence);
  return {
    fallSilent: () => {
      silence = new Promise((resolve) => (answer = resolve));
    },
    answerAgain: () => {
      silence = undefined;
      answer?.();
    },
  };
}

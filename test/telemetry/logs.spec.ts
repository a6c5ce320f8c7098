import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { Logger } from '@nestjs/common';
import { generateKeyPair, exportJWK, type JWK } from 'jose';
import { SessionEntity, SessionModule, TokenTheftError } from 'nestjs-session-tokens';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { SESSION_RUNTIME } from '../../lib/module/session.constants.js';
import type { SessionCore } from '../../lib/module/session.core.js';
import type { SessionMaintenance } from '../../lib/module/session-maintenance.js';
import { RemoteKeys } from '../../lib/keys/remote-keys.js';
import type { SessionDataSource } from '../../lib/storage/session-data-source.js';
import { applications } from '../module/context.js';
import { databases } from '../support/databases.js';
import { LogCapture } from '../support/log-capture.js';
import { withoutDatabase } from '../support/statements.js';
import { MINUTE, pass, SETTLED, stopClock, TTL } from '../support/time.js';
import { insist } from '../support/world.js';
import { KeyServer } from '../verifier/key-server.js';

/** The running module, with its private parts. */
interface Runtime {
  readonly core: SessionCore;
  readonly database: SessionDataSource;
  readonly maintenance: SessionMaintenance;
}

interface Kind {
  readonly name: string;
  /** What the log has of it. */
  readonly about: RegExp;
  readonly begins: RegExp;
  readonly ends: RegExp;
  /** Tries it once. It may fail. */
  readonly attempt: (runtime: Runtime) => unknown;
  /** Databases that do not have it. */
  readonly except?: string;
}

/** The kinds of trouble that an outage of the database makes. */
const kinds: readonly Kind[] = [
  {
    name: 'reads of the feed',
    about: /revoked sessions/i,
    begins: /could not be read; they are accepted until/,
    ends: /can be read again\. The trouble lasted 3600 s/,
    attempt: ({ core }) => core.service.tokens.verify(token),
  },
  {
    name: 'reads of the keys of access tokens',
    about: /access keys/i,
    begins: /access keys could not be read; those known stay in use/,
    ends: /access keys can be read again\. The trouble lasted 3600 s/,
    attempt: ({ core }) => core.service.tokens.verify(token),
  },
  {
    name: 'reads of the keys of refresh tokens',
    about: /refresh keys/i,
    begins: /refresh keys could not be read; those known stay in use/,
    ends: /refresh keys can be read again\. The trouble lasted 3600 s/,
    attempt: ({ core }) => core.refreshTokens.csrfToken('session', Date.now()),
  },
  {
    name: 'runs of the clean-up',
    about: /sessions that are over/i,
    begins: /could not be removed; the next run tries again/,
    ends: /can be removed again\. The trouble lasted 3600 s/,
    attempt: ({ maintenance }) => maintenance.run(),
  },
  {
    name: "readings of the database's clock",
    about: /database's clock/i,
    begins: /clock could not be read/,
    ends: /clock can be read again\. The trouble lasted 3600 s/,
    attempt: ({ core }) => core.clock.synchronise(),
    // Its clock is that of this machine.
    except: 'sqlite',
  },
];

let token: string;

async function newKey(kid: string): Promise<JWK> {
  const { privateKey } = await generateKeyPair('EdDSA', { extractable: true });
  return { ...(await exportJWK(privateKey)), kid, alg: 'EdDSA' };
}

/** The lines about something, with the name of the library at their ends. */
function linesAbout(log: LogCapture, about: RegExp): string[] {
  const lines = log.lines.filter((line) => about.test(line));
  for (const line of lines) expect(line).toMatch(/'nestjs-session-tokens'$/);
  return lines;
}

describe.each(databases)('an outage of $name', (database) => {
  const { start, database: create } = applications(database);
  beforeEach(() => stopClock());
  afterEach(() => vi.useRealTimers());

  it.each(kinds.filter(({ except }) => except !== database.name))(
    'is told once when it begins and once when it is over: $name',
    async ({ about, begins, ends, attempt }) => {
      const log = new LogCapture();
      const { options } = await create();
      const imports = [SessionModule.forRoot({ database: options, accessToken: { ttl: '3d', jitter: 0 } })];
      const { context, sessions } = await start({ imports }, log);
      const runtime = context.get<Runtime>(SESSION_RUNTIME, { strict: false });
      ({ token } = (await sessions.tokens.issue({ userId: 'alice' })).accessToken);
      const attemptOften = async (times: number) => {
        for (let attempts = 0; attempts < times; attempts++) {
          await Promise.allSettled([attempt(runtime), attempt(runtime)]);
          pass(6 * MINUTE);
        }
        await turn();
      };
      await attemptOften(2);
      expect(linesAbout(log, about)).toEqual([]);
      for (const outage of [1, 2]) {
        await withoutDatabase(runtime.database, () => attemptOften(10));
        await attemptOften(3);
        const lines = linesAbout(log, about).slice(2 * (outage - 1));
        expect(lines).toEqual([expect.stringMatching(begins), expect.stringMatching(ends)]);
        // The first one has the cause.
        expect(lines[0]).toMatch(/Error: /);
      }
    },
  );
});

describe('keys that others provide', () => {
  const SECRET = 'password of the vault';
  const { start, database } = applications();
  let server: KeyServer;
  beforeEach(async () => {
    stopClock();
    server = await KeyServer.start();
  });
  afterEach(async () => {
    vi.useRealTimers();
    vi.restoreAllMocks();
    await server.close();
  });

  it.each<
    [
      string,
      RegExp,
      string[],
      () => Promise<[LogCapture, (now: number) => Promise<unknown>, () => void, () => void]>,
    ]
  >([
    [
      'the application',
      /application's signing keys/,
      ['could not be loaded; those known stay in use', 'can be loaded again. The trouble lasted 3600 s'],
      async () => {
        const log = new LogCapture();
        const keys = [await newKey('own')];
        let isDown = false;
        const source = async () => {
          if (isDown) throw new Error(SECRET);
          return keys;
        };
        const { options } = await database();
        const imports = [SessionModule.forRoot({ database: options, signingKeys: { source } })];
        const { context } = await start({ imports }, log);
        const { core } = context.get<Runtime>(SESSION_RUNTIME, { strict: false });
        return [log, (now) => core.signingKeys.current(now), () => (isDown = true), () => (isDown = false)];
      },
    ],
    [
      'a key server',
      /public keys/,
      ['could not be fetched; those known stay in use', 'can be fetched again. The trouble lasted 3600 s'],
      async () => {
        const log = new LogCapture();
        const keep = (...parts: unknown[]) => log.log(...parts, 'nestjs-session-tokens');
        vi.spyOn(Logger.prototype, 'error').mockImplementation(keep);
        vi.spyOn(Logger.prototype, 'log').mockImplementation(keep);
        const { d: _, ...key } = await newKey('theirs');
        server.publish([key]);
        const times = { cacheMaxAge: 5 * MINUTE, cooldown: 10_000, timeout: 5_000, patience: 1_000 };
        const keys = new RemoteKeys({
          jwksUri: new URL(`${server.uri}?key=${encodeURIComponent(SECRET)}`),
          ...times,
        });
        await keys.start(Date.now());
        const attempt = async (now: number) => keys.isInUse(keys.find('theirs')!, now);
        return [log, attempt, () => server.breakDown(), () => server.publish([key])];
      },
    ],
  ])(
    'by %s and fail are told of once when that begins and once when it is over',
    async (_, about, texts, setUp) => {
      const [log, attempt, breakDown, repair] = await setUp();
      const attemptOften = async (times: number) => {
        for (let attempts = 0; attempts < times; attempts++) {
          await Promise.allSettled([attempt(Date.now()), attempt(Date.now())]);
          pass(6 * MINUTE);
        }
      };
      await attemptOften(3);
      expect(linesAbout(log, about)).toEqual([]);
      breakDown();
      await attemptOften(10);
      repair();
      await attemptOften(3);
      const lines = linesAbout(log, about);
      expect(lines).toEqual(texts.map((text) => expect.stringContaining(text) as string));
      expect(lines[0]).toMatch(/failed|could not be fetched\./);
      expect(log.lines.join('\n')).not.toContain('vault');
    },
  );
});

describe('a damaged row', () => {
  const { start, database } = applications();

  it('is told of once for each of its columns, however often it is listed', async () => {
    const log = new LogCapture();
    const { options } = await database();
    const { context, sessions } = await start(
      { imports: [SessionModule.forRoot({ database: options })] },
      log,
    );
    const runtime = context.get<Runtime>(SESSION_RUNTIME, { strict: false });
    for (let rows = 0; rows < 2; rows++) await sessions.tokens.issue({ userId: 'alice' });
    await runtime.database.dataSource
      .getRepository(SessionEntity)
      .update({ userId: '"alice"' }, { claims: '{"a', data: '{"a' });
    for (let lists = 0; lists < 3; lists++) {
      expect((await sessions.findAllForUser('alice')).sessions).toHaveLength(2);
    }
    expect(linesAbout(log, /is damaged/)).toHaveLength(4);
  });
});

function theft(): never {
  throw new Error('of the application');
}

describe('a theft', () => {
  const { start, database } = applications();
  beforeEach(() => stopClock());
  afterEach(() => vi.useRealTimers());

  it('is told with its user, in every line', async () => {
    const log = new LogCapture();
    const { options } = await database();
    const { sessions } = await start({ imports: [SessionModule.forRoot({ database: options, theft })] }, log);
    const { session, refreshToken } = await sessions.tokens.issue({ userId: 'alice "A"' });
    pass(TTL);
    const next = await sessions.tokens.refresh(refreshToken.token);
    pass(SETTLED);
    await sessions.tokens.verify(next.accessToken.token);
    await expect(insist(sessions, refreshToken.token)).rejects.toThrow(TokenTheftError);
    const lines = linesAbout(log, /theft/i);
    const whose = `session ${session.id} of user "alice \\\\"A\\\\""`;
    expect(lines).toEqual([
      expect.stringContaining(`Token theft: ${whose}`),
      expect.stringContaining(`The answer to the theft of ${whose}`),
    ]);
  });
});

it('every line of the library comes from the one logger that has its name', () => {
  const lib = join(import.meta.dirname, '../../lib');
  const files = readdirSync(lib, { recursive: true, encoding: 'utf8' }).filter((file) =>
    /(?<!spec)\.ts$/.test(file),
  );
  const making = files.filter((file) =>
    /new Logger\(|Logger\.(?:log|warn|error)\(|console\./.test(readFileSync(join(lib, file), 'utf8')),
  );
  expect(making).toEqual(['util/logger.ts']);
});

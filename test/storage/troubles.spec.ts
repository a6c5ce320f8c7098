import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { Controller, Delete, Get, Param, UseGuards } from '@nestjs/common';
import { type ActiveSession, Session, SessionGuard, SessionService } from 'nestjs-session-tokens';
import { SessionHealthIndicator } from 'nestjs-session-tokens/terminus';
import { DataSource, type DataSourceOptions, type QueryRunner } from 'typeorm';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { SESSION_RUNTIME } from '../../lib/module/session.constants.js';
import type { SessionCore } from '../../lib/module/session.core.js';
import type { SessionMaintenance } from '../../lib/module/session-maintenance.js';
import type { SessionDataSource } from '../../lib/storage/session-data-source.js';
import { type AccountApp, accountApps } from '../http/account-app.js';
import { adapters } from '../support/app.js';
import type { Answer, Browser } from '../support/browser.js';
import { type DatabaseKind, databases, type TestDatabase } from '../support/databases.js';
import { expectPairs, hearLog } from '../support/log-lines.js';
import { TcpGate } from '../support/tcp-gate.js';
import { pass } from '../support/time.js';

/** How long a request waits for news, and for a statement that does not come back, in milliseconds. */
const NEWS = 100;
const STATEMENT = 250;
/** How long other statements may take on a busy machine. */
const LONG = 5_000;
/** What a busy machine may add. */
const SLACK = 1_500;

const LIST = '/revocations';
const KEYS = '/keys';

/** What a statement does with the table of sessions. */
type Need = 'select' | 'insert' | 'update';
const EVERYTHING: readonly Need[] = ['select', 'insert', 'update'];
const WRITES: readonly Need[] = ['insert', 'update'];

/** What a cause can change. */
interface World {
  readonly app: AccountApp;
  readonly runtime: Runtime;
  /** Another user of the database, who may do everything. */
  readonly admin: DataSource;
  /** The database user of the application; not on SQLite. */
  readonly user: string;
  readonly database: string;
  readonly gate: TcpGate | undefined;
}

interface Cause {
  readonly name: string;
  readonly on: DatabaseKind['name'];
  /** What no longer works. */
  readonly takes: readonly Need[];
  /** What the line says of it. */
  readonly says: RegExp;
  /** Pool and times of the driver. */
  readonly driver?: object;
  /** @returns what ends it */
  readonly begin: (world: World) => Promise<() => unknown>;
}

/** The running module, with its private parts. */
interface Runtime {
  readonly core: SessionCore;
  readonly database: SessionDataSource;
  readonly maintenance: SessionMaintenance;
}

/** A statement that begins it, and one that ends it. `$USER` and `$DB` stand for those of the application. */
function bySql(begin: string | string[], end: string | string[], kill = true): Cause['begin'] {
  return async (world) => {
    const run = async (statements: string | string[]) => {
      for (const sql of [statements].flat()) {
        await world.admin.query(sql.replaceAll('$USER', world.user).replaceAll('$DB', world.database));
      }
      if (kill) await killConnections(world);
    };
    await run(begin);
    return async () => {
      await run(end);
      if (kill) await forgetKilled(world);
    };
  };
}

async function killConnections({ admin, user }: World): Promise<void> {
  if (admin.options.type === 'postgres') {
    await admin.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1', [user]);
  } else {
    await admin.query(`KILL USER ${user}`);
  }
}

/** Has the pool find out which of its connections are dead, so that this is no trouble of its own. */
async function forgetKilled({ runtime }: World): Promise<void> {
  const { dataSource } = runtime.database;
  for (let rounds = 0; rounds < 2; rounds++) {
    await Promise.allSettled(Array.from({ length: 10 }, async () => dataSource.query('SELECT 1')));
  }
}

/** The pool has no connection left, because the application uses all of them. */
async function emptyPool({ runtime }: World): Promise<() => unknown> {
  const held: QueryRunner[] = [];
  for (let n = 0; n < 2; n++) {
    const runner = runtime.database.dataSource.createQueryRunner('master');
    await runner.connect();
    held.push(runner);
  }
  return async () => {
    for (const each of held) await each.release();
  };
}

/** Somebody holds a lock of the table of sessions. */
async function lockTable({ admin }: World): Promise<() => unknown> {
  const runner = admin.createQueryRunner();
  await runner.connect();
  if (admin.options.type === 'postgres') {
    await runner.query('BEGIN');
    await runner.query('LOCK TABLE user_session IN ACCESS EXCLUSIVE MODE');
  } else {
    await runner.query('LOCK TABLES user_session WRITE');
  }
  return async () => {
    await runner.query(admin.options.type === 'postgres' ? 'ROLLBACK' : 'UNLOCK TABLES');
    await runner.release();
  };
}

const NO_ANSWER = /did not answer within 0\.25 s/;
const POOL = { postgres: { extra: { max: 2 } }, mysql: { extra: { connectionLimit: 2 } } };

/** A new cause is one more. */
const causes: readonly Cause[] = [
  {
    name: 'a database that only reads',
    on: 'postgres',
    takes: WRITES,
    says: /read-only transaction/,
    begin: bySql(
      'ALTER DATABASE $DB SET default_transaction_read_only = on',
      'ALTER DATABASE $DB RESET default_transaction_read_only',
    ),
  },
  {
    name: 'UPDATE is revoked',
    on: 'postgres',
    takes: ['update'],
    says: /permission denied/,
    begin: bySql('REVOKE UPDATE ON user_session FROM $USER', 'GRANT UPDATE ON user_session TO $USER', false),
  },
  {
    name: 'INSERT is revoked',
    on: 'postgres',
    takes: ['insert'],
    says: /permission denied/,
    begin: bySql('REVOKE INSERT ON user_session FROM $USER', 'GRANT INSERT ON user_session TO $USER', false),
  },
  {
    name: 'SELECT is revoked',
    on: 'postgres',
    takes: ['select', 'update'],
    says: /permission denied/,
    begin: bySql('REVOKE SELECT ON user_session FROM $USER', 'GRANT SELECT ON user_session TO $USER', false),
  },
  {
    name: 'a column is dropped',
    on: 'postgres',
    takes: EVERYTHING,
    says: /column .*claims.* does not exist/,
    begin: bySql(
      'ALTER TABLE user_session RENAME COLUMN claims TO away',
      'ALTER TABLE user_session RENAME COLUMN away TO claims',
      false,
    ),
  },
  {
    name: 'a table is dropped',
    on: 'postgres',
    takes: EVERYTHING,
    says: /"user_session" does not exist/,
    begin: bySql('ALTER TABLE user_session RENAME TO away', 'ALTER TABLE away RENAME TO user_session', false),
  },
  {
    name: 'no more connections are allowed',
    on: 'postgres',
    takes: EVERYTHING,
    says: /too many connections for role|terminat/,
    begin: bySql('ALTER ROLE $USER CONNECTION LIMIT 0', 'ALTER ROLE $USER CONNECTION LIMIT -1'),
  },
  {
    name: 'the database user must not sign in any more',
    on: 'postgres',
    takes: EVERYTHING,
    says: /not permitted to log in|terminat/,
    begin: bySql('ALTER ROLE $USER NOLOGIN', 'ALTER ROLE $USER LOGIN'),
  },
  {
    name: 'the database user has a time for statements, and a table is locked',
    on: 'postgres',
    takes: EVERYTHING,
    says: /statement timeout/,
    driver: { extra: { statement_timeout: 100 } },
    begin: lockTable,
  },
  {
    name: 'the database user has a time for locks, and a table is locked',
    on: 'postgres',
    takes: EVERYTHING,
    says: /lock timeout/,
    driver: { extra: { lock_timeout: 100 } },
    begin: lockTable,
  },
  {
    name: 'a database user who only reads',
    on: 'mysql',
    takes: WRITES,
    says: /(INSERT|UPDATE) command denied/,
    begin: bySql(
      'REVOKE INSERT, UPDATE, DELETE ON $DB.* FROM $USER',
      'GRANT INSERT, UPDATE, DELETE ON $DB.* TO $USER',
    ),
  },
  {
    name: 'SELECT is revoked',
    on: 'mysql',
    takes: ['select', 'update'],
    says: /SELECT command denied/,
    begin: bySql('REVOKE SELECT ON $DB.* FROM $USER', 'GRANT SELECT ON $DB.* TO $USER'),
  },
  {
    name: 'a column is dropped',
    on: 'mysql',
    takes: EVERYTHING,
    says: /Unknown column/,
    begin: bySql(
      'ALTER TABLE user_session RENAME COLUMN claims TO away',
      'ALTER TABLE user_session RENAME COLUMN away TO claims',
      false,
    ),
  },
  {
    name: 'a table is dropped',
    on: 'mysql',
    takes: EVERYTHING,
    says: /user_session' doesn't exist/,
    begin: bySql('ALTER TABLE user_session RENAME TO away', 'ALTER TABLE away RENAME TO user_session', false),
  },
  {
    name: 'the account of the database user is locked',
    on: 'mysql',
    takes: EVERYTHING,
    says: /account is locked|closed|lost/i,
    begin: bySql('ALTER USER $USER ACCOUNT LOCK', 'ALTER USER $USER ACCOUNT UNLOCK'),
  },
  {
    name: 'the password of the database user changes',
    on: 'mysql',
    takes: EVERYTHING,
    says: /Access denied for user|closed|lost/i,
    begin: bySql("ALTER USER $USER IDENTIFIED BY 'rotated'", "ALTER USER $USER IDENTIFIED BY 'password'"),
  },
  {
    name: 'the database user has a time for statements, and a table is locked',
    on: 'mysql',
    takes: EVERYTHING,
    says: /max_statement_time/,
    begin: async (world) => {
      await world.admin.query(`ALTER USER ${world.user} WITH MAX_STATEMENT_TIME 0.1`);
      await killConnections(world);
      const unlock = await lockTable(world);
      return async () => {
        await unlock();
        await world.admin.query(`ALTER USER ${world.user} WITH MAX_STATEMENT_TIME 0`);
        await killConnections(world);
        await forgetKilled(world);
      };
    },
  },
  ...(['postgres', 'mysql'] as const).flatMap((on): Cause[] => [
    { name: 'a table is locked', on, takes: EVERYTHING, says: NO_ANSWER, begin: lockTable },
    {
      name: 'a pool that has no connection left',
      on,
      takes: EVERYTHING,
      says: NO_ANSWER,
      driver: POOL[on],
      begin: emptyPool,
    },
    {
      name: 'a server that hangs',
      on,
      takes: EVERYTHING,
      says: NO_ANSWER,
      begin: async ({ gate }) => {
        gate!.shut();
        return () => gate!.open();
      },
    },
    {
      name: 'a server that is not there',
      on,
      takes: EVERYTHING,
      says: /ECONNREFUSED|ECONNRESET|terminated|lost|closed/i,
      begin: async ({ gate }) => {
        await gate!.leave();
        return () => gate!.comeBack();
      },
    },
    {
      name: 'connections that are killed',
      on,
      takes: [],
      says: /./,
      begin: async (world) => {
        await killConnections(world);
        return () => undefined;
      },
    },
  ]),
  {
    name: 'a file that is only read',
    on: 'sqlite',
    takes: WRITES,
    says: /readonly database/,
    begin: async ({ runtime }) => {
      await runtime.database.dataSource.query('PRAGMA query_only = 1');
      return () => runtime.database.dataSource.query('PRAGMA query_only = 0');
    },
  },
  {
    name: 'a disk that is full',
    on: 'sqlite',
    takes: ['insert'],
    says: /full/,
    begin: async ({ runtime, app }) => {
      const { dataSource } = runtime.database;
      const [{ page_count: pages }] = (await dataSource.query('PRAGMA page_count')) as [
        { page_count: number },
      ];
      await dataSource.query(`PRAGMA max_page_count = ${pages}`);
      // The last pages still have room.
      while ((await app.browser().post('/login', { userId: 'dave' })).status === 200);
      return () => dataSource.query('PRAGMA max_page_count = 1000000');
    },
  },
  {
    name: 'a file that is damaged',
    on: 'sqlite',
    takes: EVERYTHING,
    says: /malformed|not a database|corrupt/,
    begin: async ({ runtime }) => {
      const { dataSource } = runtime.database;
      const file = String(dataSource.options.database);
      await dataSource.query('PRAGMA wal_checkpoint(TRUNCATE)');
      const whole = await readFile(file);
      const pages = whole.length / 4_096;
      // Not the first one, which has the schema.
      await writeFile(file, Buffer.concat([whole.subarray(0, 4_096), Buffer.alloc((pages - 1) * 4_096, 7)]), {
        flag: 'r+',
      });
      await dataSource.query('PRAGMA shrink_memory');
      return async () => {
        await writeFile(file, whole, { flag: 'r+' });
        await dataSource.query('PRAGMA shrink_memory');
      };
    },
  },
  {
    name: 'a column is dropped',
    on: 'sqlite',
    takes: EVERYTHING,
    says: /no such column|has no column/,
    begin: bySql(
      'ALTER TABLE user_session RENAME COLUMN claims TO away',
      'ALTER TABLE user_session RENAME COLUMN away TO claims',
      false,
    ),
  },
  {
    name: 'a table is dropped',
    on: 'sqlite',
    takes: EVERYTHING,
    says: /no such table/,
    begin: bySql('ALTER TABLE user_session RENAME TO away', 'ALTER TABLE away RENAME TO user_session', false),
  },
];

/** A client for each request, in the state that the request needs. */
interface Clients {
  readonly proven: Browser;
  readonly expired: Browser;
  readonly unproven: Browser;
  readonly leaving: Browser;
  readonly victim: string;
}

interface Request {
  readonly name: string;
  readonly needs: readonly Need[];
  /** The status when all is well. */
  readonly status: number;
  /** The application calls something that does not know the response, so it cannot say when to try again. */
  readonly knowsNoResponse?: true;
  readonly send: (clients: Clients, app: AccountApp) => Promise<Answer>;
}

/** The last ones change what the others need. */
const requests: readonly Request[] = [
  { name: 'a proven token', needs: [], status: 200, send: ({ proven }) => proven.get('/me') },
  { name: 'the keys', needs: [], status: 200, send: (_, app) => app.browser().get(KEYS) },
  { name: 'the list of revocations', needs: [], status: 200, send: (_, app) => app.browser().get(LIST) },
  {
    name: 'the list of devices',
    needs: ['select'],
    status: 200,
    knowsNoResponse: true,
    send: ({ proven }) => proven.get('/devices'),
  },
  {
    name: 'a refresh',
    needs: ['select', 'update'],
    status: 200,
    send: ({ expired }) => expired.get('/me'),
  },
  {
    name: 'the first use of an unproven token',
    needs: ['select', 'update'],
    status: 200,
    send: ({ unproven }) => unproven.get('/me'),
  },
  {
    name: 'a sign-in',
    needs: ['insert'],
    status: 200,
    send: (_, app) => app.browser().post('/login', { userId: 'carol' }),
  },
  {
    name: 'a sign-out',
    needs: ['select', 'update'],
    status: 204,
    send: ({ leaving }) => leaving.post('/sign-out'),
  },
  {
    name: 'a revocation by another device',
    needs: ['select', 'update'],
    status: 200,
    knowsNoResponse: true,
    send: ({ proven, victim }) => proven.request('DELETE', `/devices/${victim}`),
  },
];

@Controller('devices')
@UseGuards(SessionGuard)
class DevicesController {
  constructor(private readonly sessions: SessionService) {}

  @Get()
  async list(@Session() session: ActiveSession): Promise<object> {
    return { count: (await this.sessions.findAllForUser(session.userId)).sessions.length };
  }

  @Delete(':id')
  async revoke(@Param('id') id: string): Promise<object> {
    return { revoked: await this.sessions.revoke(id) };
  }
}

const BEGINS = /The session database does not do/;

describe.each(databases)('the troubles of $name', (kind) => {
  const start = accountApps(adapters[0], kind);
  afterEach(() => {
    vi.restoreAllMocks();
  });

  const setUp = async (cause: Cause): Promise<World> => {
    const made = await kind.create();
    const admin = new DataSource(made.options);
    await admin.initialize();
    const user = `troubles_${randomBytes(6).toString('hex')}`;
    const { options, gate, database } = await forUser(kind, made, admin, user);
    const app = await start(
      {
        revocationsPath: LIST,
        jwksPath: KEYS,
        accessToken: { issuer: 'https://accounts.example.com' },
        newsTimeout: NEWS / 1_000,
        databaseTimeout: (cause.says === NO_ANSWER ? STATEMENT : LONG) / 1_000,
      },
      {
        database: {
          options: { ...options, ...cause.driver } as DataSourceOptions,
          remove: async () => made.remove(),
        },
        metadata: { controllers: [DevicesController], providers: [SessionHealthIndicator] },
        onClose: async () => {
          await gate?.close();
          await removeUser(admin, user);
          await admin.destroy();
          await made.remove();
        },
      },
    );
    const runtime = app.app.get<Runtime>(SESSION_RUNTIME, { strict: false });
    return { app, runtime, admin, user, database, gate };
  };

  it.each(causes.filter(({ on }) => on === kind.name))(
    '$name: who needs it is answered 503 in time, the rest is served, and the log has it twice',
    async (cause) => {
      const world = await setUp(cause);
      const { app, runtime } = world;
      const expired = await app.signIn();
      const unproven = await app.signIn();
      const leaving = await app.signIn();
      pass('16m');
      expect(await unproven.get('/me')).toMatchObject({ status: 200 });
      const proven = await app.signIn();
      const { body } = await (await app.signIn()).get('/me');
      const clients: Clients = { proven, expired, unproven, leaving, victim: (body as { id: string }).id };
      pass('2m');
      const lines = hearLog();

      const end = await cause.begin(world);
      try {
        for (let round = 0; round < 2; round++) {
          await expectToBear(world, cause, clients);
          await runtime.maintenance.run();
          await runtime.core.clock.synchronise().catch(() => undefined);
          pass('2s');
        }
      } finally {
        await end();
      }
      pass('1m');
      for (const request of requests) {
        const { status } = await settled(() => request.send(clients, app));
        expect([request.name, status]).toEqual([request.name, request.status]);
      }
      await runtime.maintenance.run();
      await runtime.core.clock.synchronise();
      pass('2s');
      expect((await proven.get('/me')).status).toBe(200);
      await runtime.core.vitals.freshen();

      expectPairs(lines);
      const told = lines.filter(({ text }) => BEGINS.test(text));
      // Connections that are killed may be found dead by a request, or before one comes.
      expect(told.length).toBeLessThanOrEqual(1);
      expect(told.map((line) => line.cause).join()).toMatch(cause.takes.length > 0 ? cause.says : /^/);
      expect(lines.filter(({ text }) => /theft/i.test(text))).toEqual([]);
    },
  );
});

/** What needs what is gone is answered 503 in time and loses nothing; the rest is served. */
async function expectToBear({ app }: World, { takes }: Cause, clients: Clients): Promise<void> {
  const isRefused = ({ needs }: Request) => needs.some((need) => takes.includes(need));
  // What works all the same would change what others need.
  const tried = requests.filter((each) => isRefused(each) || each.needs.length === 0);
  await Promise.all(
    tried.map(async (request) => {
      const begun = performance.now();
      const { status, body, headers, setCookies } = await request.send(clients, app);
      const took = performance.now() - begun;
      const { code } = (body ?? {}) as { code?: unknown };
      const retryAfter = headers.get('retry-after');
      // Only the names: a failure must not show tokens.
      const cookies = setCookies.map(({ name }) => name);
      const { name } = request;
      const expected = isRefused(request)
        ? { status: 503, code: 'storage_unavailable', retryAfter: request.knowsNoResponse ? null : '1' }
        : { status: request.status, code: undefined, retryAfter: null };
      expect({ name, status, code, retryAfter, cookies }).toEqual({ name, ...expected, cookies: [] });
      expect(took).toBeLessThan(SLACK + NEWS + (isRefused(request) ? 2 * STATEMENT : 0));
    }),
  );
  if (takes.length === 0) return;
  const { sessions } = await app.app.get(SessionHealthIndicator).isHealthy('sessions', { timeout: 2 });
  expect(sessions.database).toBe(takes.includes('select') ? 'down' : 'up');
}

/** The answer, once the connections from before have gone. */
async function settled(request: () => Promise<Answer>): Promise<Answer> {
  for (let attempts = 0; ; attempts++) {
    const answer = await request();
    if (answer.status !== 503 || attempts === 20) return answer;
  }
}

/** The same database for a user of its own, through a gate. */
async function forUser(
  kind: DatabaseKind,
  { options }: TestDatabase,
  admin: DataSource,
  user: string,
): Promise<{ options: DataSourceOptions; gate: TcpGate | undefined; database: string }> {
  if (kind.name === 'sqlite') return { options, gate: undefined, database: '' };
  const url = new URL((options as { url: string }).url);
  const database = url.pathname.slice(1);
  if (kind.name === 'postgres') {
    await admin.query(`CREATE ROLE ${user} LOGIN`);
    await admin.query(`GRANT ALL ON SCHEMA public TO ${user}`);
  } else {
    await admin.query(`CREATE USER ${user} IDENTIFIED BY 'password'`);
    await admin.query(`GRANT ALL ON ${database}.* TO ${user}`);
    url.password = 'password';
  }
  url.username = user;
  const gate = await TcpGate.before(url.hostname, Number(url.port));
  url.port = String(gate.port);
  return { options: { ...options, url: url.href } as DataSourceOptions, gate, database };
}

async function removeUser(admin: DataSource, user: string): Promise<void> {
  const { type } = admin.options;
  if (type === 'postgres') {
    await admin.query(`DROP OWNED BY ${user} CASCADE`);
    await admin.query(`DROP ROLE ${user}`);
  } else if (type !== 'better-sqlite3') {
    await admin.query(`DROP USER ${user}`);
  }
}

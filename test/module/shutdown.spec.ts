import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { NestFactory } from '@nestjs/core';
import { TypeOrmModule } from '@nestjs/typeorm';
import { SessionModule, SessionService } from 'nestjs-session-tokens';
import { DataSource } from 'typeorm';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { databases } from '../support/databases.js';
import { asModule } from '../support/as-module.js';
import { applicationOptions, applications } from './context.js';

/** Every DataSource that anybody opens from now on. */
function watchDataSources(): () => DataSource[] {
  const initialize = vi.spyOn(DataSource.prototype, 'initialize');
  return () => [...initialize.mock.contexts] as DataSource[];
}

afterEach(() => {
  vi.restoreAllMocks();
  vi.useRealTimers();
});

const open = async (imports: NonNullable<Parameters<typeof asModule>[0]['imports']>) =>
  NestFactory.createApplicationContext(asModule({ imports }), { abortOnError: false, logger: false });

describe.each(databases)('the end of an application on $name', (kind) => {
  const { database } = applications(kind);

  it("closes the module's own connection", async () => {
    const { options } = await database();
    const opened = watchDataSources();
    const app = await open([SessionModule.forRoot({ database: options })]);
    // The lock for migrations had one of its own, which is closed.
    expect(opened().map(({ isInitialized }) => isInitialized)).toEqual([false, true]);
    await app.close();
    expect(opened().map(({ isInitialized }) => isInitialized)).toEqual([false, false]);
  });

  it.each(['own', 'shared'] as const)(
    "leaves the application's DataSource open, and closes what it opened beside it: SQLite connection %s",
    async (sqliteConnection) => {
      const dataSource = await new DataSource(applicationOptions(await database())).initialize();
      try {
        const opened = watchDataSources();
        const storage = {
          module: asModule({}),
          global: true,
          providers: [{ provide: DataSource, useValue: dataSource }],
          exports: [DataSource],
        };
        const app = await open([storage, SessionModule.forRoot({ sqliteConnection })]);
        const { session } = await app
          .get(SessionService, { strict: false })
          .tokens.issue({ userId: 'alice' });
        const beside = opened();
        expect(beside).toHaveLength(kind.name === 'sqlite' && sqliteConnection === 'own' ? 1 : 0);
        await app.close();
        expect(beside.filter(({ isInitialized }) => isInitialized)).toEqual([]);
        const rows = await dataSource.query<{ id: string }[]>('SELECT id FROM user_session');
        expect(rows).toEqual([{ id: session.id }]);
      } finally {
        await dataSource.destroy();
      }
    },
  );

  it('goes well together with @nestjs/typeorm, which closes its own', async () => {
    const opened = watchDataSources();
    const typeorm = TypeOrmModule.forRoot(applicationOptions(await database()));
    const app = await open([typeorm, SessionModule.forRoot()]);
    await app.close();
    expect(opened()).not.toEqual([]);
    for (const { isInitialized } of opened()) expect(isInitialized).toBe(false);
  });

  it('completes the events', async () => {
    const { options } = await database();
    const app = await open([SessionModule.forRoot({ database: options })]);
    const ended = vi.fn<() => void>();
    app.get(SessionService, { strict: false }).events.subscribe({ complete: ended });
    await app.close();
    expect(ended).toHaveBeenCalledOnce();
  });

  it('lets the process end', async () => {
    const { options } = await database();
    // A driver is a module and cannot be sent as JSON. The other process loads its own.
    const travelling = JSON.stringify({ ...options, driver: undefined });
    const script = `
      import 'reflect-metadata';
      import { runnerImport } from 'vite';
      const config = { configFile: 'vitest.config.ts', logLevel: 'error' };
      const { module } = await runnerImport('./test/module/start-and-stop.ts', config);
      await module.startAndStop(JSON.parse(process.argv[1]));
      console.log('stopped');`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script, travelling], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const exit = once(child, 'exit');
    // Idle connections of PostgreSQL's driver would keep the process alive for ten seconds, those of other drivers for ever.
    let late: NodeJS.Timeout | undefined;
    child.stdout.once('data', () => (late = setTimeout(() => child.kill(), 5_000)));
    expect(await exit).toEqual([0, null]);
    expect(late, 'it came to its end').toBeDefined();
    clearTimeout(late);
  }, 60_000);
});

describe('the schedule', () => {
  const { database } = applications();

  it('of the clean-up, and of listening to others, ends with the application, and is not there without one', async () => {
    const { options } = await database();
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'] });
    for (const [cleanup, events, timers] of [
      [undefined, undefined, 1],
      [{ interval: '5m' }, 'process', 1],
      [false, undefined, 0],
      [false, 'everywhere', 1],
    ] as const) {
      const session = SessionModule.forRoot({ database: options, cleanup, events });
      const module = asModule({ imports: [session] });
      const app = await NestFactory.createApplicationContext(module, { logger: false });
      // That of the deadlines of statements ends by itself.
      vi.advanceTimersByTime(5_000);
      expect(vi.getTimerCount()).toBe(timers);
      await app.close();
      expect(vi.getTimerCount()).toBe(0);
    }
  });
});

import { SESSION_ENTITIES, SESSION_MIGRATIONS, SessionModule } from 'nestjs-session-tokens';
import { DataSource, type QueryRunner } from 'typeorm';
import { describe, expect, it } from 'vitest';
import { applications, expectToWork } from '../module/context.js';
import { asModule } from '../support/as-module.js';
import { databases } from '../support/databases.js';
import { LogCapture } from '../support/log-capture.js';

const CLOCK = /clock_timestamp|utc_timestamp/;

/** Values that a driver may give instead of a time. */
const answers: [string, () => unknown][] = [
  [
    'an error',
    () => {
      throw new Error('function does not exist');
    },
  ],
  ['no row', () => []],
  ['nothing', () => undefined],
  ['a row without a time', () => [{}]],
  ['what is no number', () => [{ now: 'soon' }]],
];

describe.each(databases)('a clock of $name that gives', (kind) => {
  // SQLite uses the clock of this machine, so it is not asked.
  const isAsked = kind.name !== 'sqlite';
  const { start, database, onEnd } = applications(kind);

  it.each(answers)('%s is told once, and the application starts and works', async (_, answer) => {
    const dataSource = new DataSource({
      ...(await database()).options,
      entities: [...SESSION_ENTITIES],
      migrations: [...SESSION_MIGRATIONS],
      migrationsRun: true,
    });
    await dataSource.initialize();
    onEnd(async () => dataSource.destroy());
    let asked = 0;
    const createQueryRunner = dataSource.createQueryRunner.bind(dataSource);
    dataSource.createQueryRunner = (mode) => {
      const queryRunner = createQueryRunner(mode);
      const query = queryRunner.query.bind(queryRunner) as (...parameters: unknown[]) => Promise<unknown>;
      queryRunner.query = (async (sql: string, ...parameters: unknown[]) => {
        if (!CLOCK.test(sql)) return query(sql, ...parameters);
        asked++;
        return answer();
      }) as QueryRunner['query'];
      return queryRunner;
    };
    const storage = {
      module: asModule({}),
      global: true,
      providers: [{ provide: DataSource, useValue: dataSource }],
      exports: [DataSource],
    };
    const log = new LogCapture();
    const { sessions } = await start({ imports: [storage, SessionModule.forRoot()] }, log);
    await expectToWork(sessions);
    expect(asked).toBe(isAsked ? 1 : 0);
    const warning = expect.stringMatching(/database's clock could not be read/) as string;
    expect(log.lines.filter((line) => /clock/i.test(line))).toEqual(isAsked ? [warning] : []);
  });
});

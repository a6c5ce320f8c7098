import { NestFactory } from '@nestjs/core';
import libsql from 'libsql';
import type { DataSourceOptions } from 'typeorm';
// The name of the package would mean its build here, which need not be there.
import { SessionModule, SessionService } from '../../lib/index.js';
import { asModule } from '../support/as-module.js';

/** The whole life of an application; the process that runs this must then end by itself. */
export async function startAndStop(database: DataSourceOptions): Promise<void> {
  const options = database.type === 'better-sqlite3' ? { ...database, driver: libsql } : database;
  const module = asModule({ imports: [SessionModule.forRoot({ database: options })] });
  const app = await NestFactory.create(module, { logger: false });
  await app.listen(0, '127.0.0.1');
  await app.get(SessionService, { strict: false }).tokens.issue({ userId: 'alice' });
  await app.close();
}

import { NestFactory } from '@nestjs/core';
import libsql from 'libsql';
import type { DataSourceOptions } from 'typeorm';
// Not imported by the package name, because that would load the build, which may not exist.
import { SessionModule, SessionService } from '../../lib/index.js';
import { asModule } from '../support/as-module.js';

/** Starts, uses and closes an application. The process must then end by itself. */
export async function startAndStop(database: DataSourceOptions): Promise<void> {
  const options = database.type === 'better-sqlite3' ? { ...database, driver: libsql } : database;
  const module = asModule({ imports: [SessionModule.forRoot({ database: options })] });
  const app = await NestFactory.create(module, { logger: false });
  await app.listen(0, '127.0.0.1');
  await app.get(SessionService, { strict: false }).tokens.issue({ userId: 'alice' });
  await app.close();
}

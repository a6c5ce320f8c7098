import { Injectable, type OnApplicationShutdown } from '@nestjs/common';
import { Pool as PgPool } from 'pg';
import { readEnvironment } from '../../support/environment.js';

/** The driver's pool, which Nest closes with the application. */
@Injectable()
export class Pool implements OnApplicationShutdown {
  readonly pg: PgPool;

  constructor() {
    const { databaseUrl, pool } = readEnvironment();
    this.pg = new PgPool({ connectionString: databaseUrl, max: pool });
  }

  onApplicationShutdown(): Promise<void> {
    return this.pg.end();
  }
}

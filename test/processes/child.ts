import { Logger } from '@nestjs/common';
import libsql from 'libsql';
import { DataSource, type DataSourceOptions } from 'typeorm';
import {
  type DroppedKeys,
  type KeyRotation,
  LookAgainError,
  SessionError,
  type SessionModuleExtras,
  type SessionModuleOptions,
  SessionOverError,
  type SessionVerifierOptions,
  withMigrationLock,
} from 'nestjs-session-tokens';
import { DatabaseClock } from '../../lib/storage/database-clock.js';
import { openSessionDataSource, type SessionDataSource } from '../../lib/storage/session-data-source.js';
import type { SessionCore } from '../../lib/module/session.core.js';
import type { SessionRuntime } from '../../lib/module/session.runtime.js';
import { SESSION_RUNTIME } from '../../lib/module/session.constants.js';
import { AccountController } from '../http/account.controller.js';
import { startApp } from '../support/app.js';
import { CountedMigration1700000000000 } from './counted.migration.js';
import { serveCommands } from './serve.js';
import { startCore } from '../support/core.js';
import { startService } from '../verifier/service-app.js';
import { untyped } from '../support/untyped.js';

/** The calls that the parent can make to a process. All values are sent as JSON. */
export class ChildCommands {
  private core!: SessionCore;
  private starting: Promise<SessionDataSource> | undefined;
  private application: { close(): Promise<unknown> } | undefined;

  /** Opens the database, migrates it and starts, as the module does with its option `database`. */
  async start(database: DataSourceOptions, options: SessionModuleOptions): Promise<void> {
    this.starting = openSessionDataSource(undefined, { database: withDriver(database) }, new Logger());
    const { dataSource } = await this.starting;
    this.core = await startCore(dataSource, options);
  }

  /** Opens and migrates a database as an application does with a `DataSource` of its own. @returns how many migrations it ran */
  async migrate(database: DataSourceOptions): Promise<number> {
    const options = { ...withDriver(database), migrations: [CountedMigration1700000000000] };
    return withMigrationLock(options, async () => {
      const dataSource = await new DataSource(options).initialize();
      const { length } = await dataSource.runMigrations();
      await dataSource.destroy();
      return length;
    });
  }

  /** Takes the migration lock, and never gives it back. */
  async keepMigrationLock(database: DataSourceOptions): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      withMigrationLock(withDriver(database), () => {
        resolve();
        return new Promise(() => undefined);
      }).catch(reject);
    });
  }

  /**
   * Waits for a start in progress, so that it does not affect the next test after the start of another process has failed.
   */
  async stop(): Promise<void> {
    const started = await this.starting?.catch(() => undefined);
    this.starting = undefined;
    await started?.dataSource.destroy();
  }

  /** Sets this process's clock to a time, and stops it there. */
  setTime(time: number): void {
    Date.now = () => time;
    // The database's clock has this time, too, and so has the machine's steady one.
    Object.assign(DatabaseClock.prototype, {
      read: () => Promise.resolve(Date.now()),
      tick: () => Date.now(),
    });
  }

  /** Starts an application with routes and cookies, on its own port. @returns its address */
  async listen(
    database: DataSourceOptions,
    options: SessionModuleOptions & SessionModuleExtras,
  ): Promise<string> {
    const driver = database.type === 'better-sqlite3' ? { driver: libsql } : {};
    const app = await startApp({
      adapter: 'express',
      database: { options: { ...database, ...driver }, remove: async () => undefined },
      options,
      metadata: { controllers: [AccountController] },
    });
    this.application = app;
    this.core = app.app.get<SessionRuntime>(SESSION_RUNTIME, { strict: false }).core;
    return app.url;
  }

  /** The same for a service without a database, which verifies what others issue. */
  async listenAsVerifier(options: SessionVerifierOptions): Promise<string> {
    const service = await startService('express', options);
    this.application = service;
    return service.url;
  }

  /** Ends what {@link listen} or {@link listenAsVerifier} started. */
  async close(): Promise<void> {
    await this.application?.close();
    this.application = undefined;
  }

  /** @param drop null for none, because JSON cannot send `undefined` */
  async rotateKeys(drop: DroppedKeys | null): Promise<KeyRotation> {
    return this.core.service.rotateSigningKeys({ drop: drop ?? undefined });
  }

  /** The result for each of these access tokens: `valid`, or the code of the error. */
  async outcomes(tokens: string[]): Promise<string[]> {
    return Promise.all(
      tokens.map(async (token) =>
        this.core.service.tokens.verify(token).then(
          () => 'valid',
          (error: unknown) => (error instanceof SessionError ? error.code : String(error)),
        ),
      ),
    );
  }

  async issue(count: number) {
    const issued = [];
    for (let n = 0; n < count; n++) {
      const { session, accessToken, refreshToken } = await this.core.service.tokens.issue({
        userId: n,
        data: [],
      });
      issued.push({ id: session.id, accessToken: accessToken.token, refreshToken: refreshToken.token });
    }
    return issued;
  }

  async verify(tokens: string[]): Promise<void> {
    for (const token of tokens) await this.core.service.tokens.verify(token);
  }

  /** Exchanges one refresh token several times at once. */
  async refresh(token: string, times: number) {
    const answers = await Promise.all(
      Array.from({ length: times }, async () => this.core.service.tokens.refresh(token)),
    );
    return answers.map(({ accessToken, refreshToken }) => ({
      accessToken: accessToken.token,
      refreshToken: refreshToken?.token,
    }));
  }

  /** The answers to a refresh token that looks old: the first, and the one when the client comes back with it. */
  async refusals(token: string): Promise<string[]> {
    const codes: string[] = [];
    for (let lookedAgain = ''; codes.length < 2;) {
      try {
        await this.core.service.tokens.refresh(token, { lookedAgain });
        codes.push('refreshed');
      } catch (error) {
        if (!(error instanceof SessionError)) throw error;
        codes.push(error.code);
        if (error instanceof LookAgainError) lookedAgain = error.tokenId;
      }
    }
    return codes;
  }

  /** How often a refresh token could be exchanged before its session was over; the client looks again before that counts. */
  async refreshUntilOver(token: string): Promise<number> {
    let lookedAgain = '';
    for (let count = 0; ;) {
      try {
        await this.core.service.tokens.refresh(token, { lookedAgain });
        // Without looking again, the session would be over.
        if (lookedAgain !== '') throw new Error('A session that was over could be refreshed.');
        count++;
      } catch (error) {
        if (error instanceof SessionOverError) return count;
        if (!(error instanceof LookAgainError)) throw error;
        lookedAgain = error.tokenId;
      }
    }
  }

  async append(id: string, numbers: number[]): Promise<void> {
    await Promise.all(
      numbers.map(async (n) =>
        this.core.service.updateData(id, (present) => untyped([...(untyped(present) as number[]), n])),
      ),
    );
  }

  async data(id: string): Promise<unknown> {
    return (await this.core.service.find(id))?.data;
  }

  async revoke(id: string): Promise<boolean> {
    return this.core.service.revoke(id);
  }

  async removeExpired(): Promise<number> {
    return this.core.service.removeExpired();
  }

  /** Holds SQLite's write lock for a while. */
  async lock(milliseconds: number): Promise<void> {
    const { dataSource } = await this.starting!;
    const file = new libsql(String(dataSource.options.database));
    file.exec('BEGIN IMMEDIATE');
    process.send!({ event: 'locked' });
    await new Promise((resolve) => setTimeout(resolve, milliseconds));
    file.exec('COMMIT');
    file.close();
  }
}

/** The driver cannot be sent to a process. */
function withDriver(database: DataSourceOptions): DataSourceOptions {
  return database.type === 'better-sqlite3' ? { ...database, driver: libsql } : database;
}

export function serve(): void {
  serveCommands(new ChildCommands());
}

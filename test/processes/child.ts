import { Logger } from '@nestjs/common';
import libsql from 'libsql';
import type { DataSource, DataSourceOptions } from 'typeorm';
import { SessionError, SessionOverError, type SessionModuleOptions } from 'nestjs-session-tokens';
import { openSessionDataSource } from '../../lib/storage/session-data-source.js';
import type { SessionCore } from '../../lib/session.core.js';
import { startCore } from '../support/services.js';

/** What the parent can ask of a process. All values travel as JSON. */
export class ChildCommands {
  private core!: SessionCore;
  private dataSource: DataSource | undefined;

  /** Opens the database, migrates it and starts, as the module does with its option `database`. */
  async start(database: DataSourceOptions, options: SessionModuleOptions): Promise<void> {
    const driver = database.type === 'better-sqlite3' ? { driver: libsql } : {};
    const opened = await openSessionDataSource(
      undefined,
      { database: { ...database, ...driver } },
      new Logger(),
    );
    this.dataSource = opened.dataSource;
    this.core = await startCore(this.dataSource, options);
  }

  async stop(): Promise<void> {
    await this.dataSource?.destroy();
    this.dataSource = undefined;
  }

  /** Moves this process's clock to a time, where it stands still. */
  setTime(time: number): void {
    Date.now = () => time;
  }

  async issue(count: number) {
    const issued = [];
    for (let n = 0; n < count; n++) {
      const { session, accessToken, refreshToken } = await this.core.service.issue({ userId: n, data: [] });
      issued.push({ id: session.id, accessToken: accessToken.token, refreshToken: refreshToken.token });
    }
    return issued;
  }

  async verify(tokens: string[]): Promise<void> {
    for (const token of tokens) await this.core.service.verify(token);
  }

  /** Exchanges one refresh token several times at once. */
  async refresh(token: string, times: number) {
    const answers = await Promise.all(
      Array.from({ length: times }, async () => this.core.service.refresh(token)),
    );
    return answers.map(({ accessToken, refreshToken }) => ({
      accessToken: accessToken.token,
      refreshToken: refreshToken?.token,
    }));
  }

  /** How often a refresh token could be exchanged before its session was over. */
  async refreshUntilOver(token: string): Promise<number> {
    for (let count = 0; ; count++) {
      try {
        await this.core.service.refresh(token);
      } catch (error) {
        if (error instanceof SessionOverError) return count;
        throw error;
      }
    }
  }

  async append(id: string, numbers: number[]): Promise<void> {
    await Promise.all(
      numbers.map(async (n) => this.core.service.updateData(id, (present) => [...(present as number[]), n])),
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
    const file = new libsql(String(this.dataSource!.options.database));
    file.exec('BEGIN IMMEDIATE');
    process.send!({ event: 'locked' });
    await new Promise((resolve) => setTimeout(resolve, milliseconds));
    file.exec('COMMIT');
    file.close();
  }
}

export function serve(): void {
  const commands = new ChildCommands();
  process.on('message', (request: { id: number; command: keyof ChildCommands; parameters: unknown[] }) => {
    const { id, command, parameters } = request;
    const run = commands[command] as (...parameters: unknown[]) => unknown;
    Promise.resolve()
      .then(() => run.apply(commands, parameters))
      .then(
        (result) => process.send!({ id, result }),
        (error: unknown) => {
          const code = error instanceof SessionError ? error.code : undefined;
          process.send!({ id, error: { code, message: String(error) } });
        },
      );
  });
  process.send!({ event: 'ready' });
}

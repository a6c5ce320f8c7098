import { Logger, type OnApplicationShutdown, type OnModuleDestroy, type OnModuleInit } from '@nestjs/common';
import type { DataSource } from 'typeorm';
import { SessionMaintenance } from './maintenance/session-maintenance.js';
import { joinPath, resolveOptions } from './options/resolved-options.js';
import type { SessionModuleExtras, SessionModuleOptions } from './options/session-module.options.js';
import { createSessionCore, type SessionCore } from './session.core.js';
import { openSessionDataSource, type SessionDataSource } from './storage/session-data-source.js';

/** The running module: opens what the sessions need when the application starts, and closes it when that ends. */
export class SessionRuntime implements OnModuleInit, OnModuleDestroy, OnApplicationShutdown {
  private constructor(
    readonly core: SessionCore,
    private readonly database: SessionDataSource,
    private readonly maintenance: SessionMaintenance,
  ) {}

  /**
   * @param globalPrefix the application's, which the refresh cookie's path has to include
   * @throws {@link InvalidOptionError}
   */
  static async create(
    input: SessionModuleOptions | undefined,
    extras: SessionModuleExtras,
    application: DataSource | undefined,
    globalPrefix: (route: string) => string,
  ): Promise<SessionRuntime> {
    const logger = new Logger('SessionModule');
    const { options, warnings } = resolveOptions(input, extras.refreshPath);
    for (const warning of warnings) logger.warn(warning);
    const database = await openSessionDataSource(application, input ?? {}, logger);
    const refreshRoute = () => joinPath(globalPrefix(options.refreshPath ?? '/'), options.refreshPath ?? '');
    const core = createSessionCore(database.dataSource, options, refreshRoute);
    core.events.stream.subscribe((event) => {
      if (event.type === 'theft') {
        logger.warn(`Token theft: session ${event.sessionId} was used by two parties and has been revoked.`);
      }
    });
    return new SessionRuntime(core, database, new SessionMaintenance(core, options.cleanup));
  }

  async onModuleInit(): Promise<void> {
    const now = Date.now();
    await Promise.all([this.core.signingKeys.start(now), this.core.refreshTokens.start(now)]);
    this.maintenance.start();
  }

  async onModuleDestroy(): Promise<void> {
    await this.maintenance.stop();
  }

  async onApplicationShutdown(): Promise<void> {
    this.core.events.complete();
    if (this.database.isOwn) await this.database.dataSource.destroy();
  }
}

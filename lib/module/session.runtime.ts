import {
  Logger,
  type OnApplicationShutdown,
  type OnModuleDestroy,
  type OnModuleInit,
  RequestMethod,
} from '@nestjs/common';
import type { ApplicationConfig } from '@nestjs/core';
import type { DataSource } from 'typeorm';
import { meetNeighbours } from './neighbours.js';
import { nameOf } from './named-module.js';
import { SessionMaintenance } from './session-maintenance.js';
import { joinPath } from '../options/option-checks.js';
import { resolveOptions } from '../options/resolved-options.js';
import type { SessionModuleExtras, SessionModuleOptions } from '../options/session-module.options.js';
import { createSessionCore, type SessionCore } from './session.core.js';
import { openSessionDataSource, type SessionDataSource } from '../storage/session-data-source.js';

/** The smallest difference of clocks that is reported, in milliseconds. A slow query can look like a smaller difference. */
const MEASURABLE = 5_000;

/**
 * The running module. It opens the database and loads the keys when the application starts, and closes them when it ends.
 */
export class SessionRuntime implements OnModuleInit, OnModuleDestroy, OnApplicationShutdown {
  private constructor(
    readonly core: SessionCore,
    private readonly database: SessionDataSource,
    private readonly maintenance: SessionMaintenance,
    private readonly logger: Logger,
    private readonly clockTolerance: number,
  ) {}

  /**
   * @param config of the application. The refresh cookie's path includes its global prefix
   * @throws {@link InvalidOptionError}
   */
  static async create(
    input: SessionModuleOptions | undefined,
    extras: SessionModuleExtras,
    application: DataSource | undefined,
    config: ApplicationConfig,
  ): Promise<SessionRuntime> {
    const logger = new Logger('SessionModule');
    const { options, warnings, notes } = resolveOptions(input, extras);
    for (const note of notes) logger.log(note);
    for (const warning of warnings) logger.warn(warning);
    const database = await openSessionDataSource(application, input ?? {}, logger);
    meetNeighbours(config, database.dataSource, options);
    const refreshRoute = () =>
      joinPath(prefixOf(config, options.refreshPath ?? '/'), options.refreshPath ?? '');
    const core = createSessionCore(database.dataSource, options, refreshRoute, nameOf(extras));
    core.events.stream.subscribe((event) => {
      if (event.type === 'theft') {
        const { sessionId, kind, behind, age } = event;
        logger.warn(
          `Token theft: session ${sessionId} was used by two parties and has been revoked. The token was ${kind === 'sibling' ? 'a sibling of the one in use' : `${behind} generations behind`}, and ${Math.round(age / 1_000)} s old.`,
        );
      }
    });
    return new SessionRuntime(
      core,
      database,
      new SessionMaintenance(core, options.cleanup),
      logger,
      options.accessToken.clockTolerance,
    );
  }

  async onModuleInit(): Promise<void> {
    await this.setClock();
    const now = this.core.clock.now();
    await Promise.all([this.core.signingKeys.start(now), this.core.refreshTokens.start(now)]);
    this.maintenance.start();
  }

  /**
   * Sets the clock of the sessions by the database's. Warns if this machine's clock differs, because services that only verify
   * tokens go by their own clocks. The application starts all the same.
   */
  private async setClock(): Promise<void> {
    const ahead = await this.core.clock.synchronise().catch((error: unknown) => {
      this.logger.warn(
        `The database's clock could not be read. Sessions go by this machine's clock until it can: ${String(error)}`,
      );
      return 0;
    });
    // If each of two machines differs by half of the tolerance, they may differ from each other by all of it.
    if (Math.abs(ahead) <= Math.max(MEASURABLE, this.clockTolerance / 2)) return;
    const seconds = Math.round(Math.abs(ahead) / 1_000);
    this.logger.warn(
      `The clock of this machine is ${seconds} s ${ahead > 0 ? 'ahead of' : 'behind'} the database's. Sessions go by the database's clock. Set both by NTP, because services that only verify tokens go by theirs.`,
    );
  }

  async onModuleDestroy(): Promise<void> {
    await this.maintenance.stop();
  }

  async onApplicationShutdown(): Promise<void> {
    this.core.events.complete();
    const { dataSource, isOwn } = this.database;
    // If an application is closed twice, Nest 11 calls this twice.
    if (isOwn && dataSource.isInitialized) await dataSource.destroy();
  }
}

/** The global prefix of a route, or `''` if the application excludes the route from it. */
function prefixOf(config: ApplicationConfig, route: string): string {
  const isExcluded = (config.getGlobalPrefixOptions().exclude ?? []).some(
    ({ requestMethod, pathRegex }) =>
      [RequestMethod.ALL, RequestMethod.POST, -1].includes(requestMethod) && pathRegex.test(route),
  );
  return isExcluded ? '' : config.getGlobalPrefix();
}

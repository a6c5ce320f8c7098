import {
  type OnApplicationBootstrap,
  type OnApplicationShutdown,
  type OnModuleDestroy,
  type OnModuleInit,
  type Type,
} from '@nestjs/common';
import type { ModulesContainer } from '@nestjs/core';
import { answerForState } from '../diagnostics/channels.js';
import { watchGateways } from './gateways.js';
import { meetNeighbours } from './neighbours.js';
import { attachObservers } from './session-observers.js';
import { nameOf } from './named-module.js';
import { RefreshRoute, type RoutingContext } from './refresh-route.js';
import { SessionMaintenance } from './session-maintenance.js';
import { InvalidOptionError } from '../errors/session.errors.js';
import { type ResolvedOptions, resolveOptions } from '../options/resolved-options.js';
import type { SessionModuleExtras, SessionModuleOptions } from '../options/session-module.options.js';
import { createSessionCore, type SessionCore } from './session.core.js';
import { logger } from '../util/logger.js';
import { isRowKeeper, type Rows } from '../storage/row-keeper.js';
import { openSessionDataSource } from '../storage/session-data-source.js';

/** The smallest difference of clocks that is reported, in milliseconds. A slow query can look like a smaller difference. */
const MEASURABLE = 5_000;

/**
 * The running module. It opens the database and loads the keys when the application starts, and closes them when it ends.
 */
export class SessionRuntime
  implements OnModuleInit, OnApplicationBootstrap, OnModuleDestroy, OnApplicationShutdown
{
  private endAnswers: (() => void) | undefined;

  private constructor(
    readonly core: SessionCore,
    private readonly database: { readonly dataSource: Rows; readonly isOwn: boolean },
    private readonly maintenance: SessionMaintenance,
    private readonly refreshRoute: RefreshRoute,
    private readonly modules: ModulesContainer,
    private readonly clockTolerance: number,
  ) {}

  /**
   * @param application the application's database, or what keeps the rows in its place
   * @param routing what the path of the refresh route depends on
   * @param refreshController of the ready-made refresh route, if the module has one
   * @throws {@link InvalidOptionError}
   */
  static async create(
    input: SessionModuleOptions | undefined,
    extras: SessionModuleExtras,
    application: Rows | undefined,
    routing: RoutingContext,
    refreshController: Type | undefined,
  ): Promise<SessionRuntime> {
    const { options, warnings, notes } = resolveOptions(input, extras);
    for (const note of notes) logger.log(note);
    for (const warning of warnings) logger.warn(warning);
    const database = isRowKeeper(application)
      ? { dataSource: application, isOwn: false }
      : await openSessionDataSource(application, input ?? {}, logger);
    meetNeighbours(routing.config, database.dataSource, options);
    watchGateways(routing.config, routing.modules);
    checkPush(database.dataSource, options);
    const refreshRoute = new RefreshRoute(routing, refreshController, options);
    const core = createSessionCore(
      database.dataSource,
      options,
      () => refreshRoute.cookiePath(),
      nameOf(extras),
    );
    core.events.hear((event) => {
      if (event.type === 'theft') {
        const { sessionId, userId, kind, behind, age } = event;
        logger.warn(
          `Token theft: session ${sessionId} of user ${JSON.stringify(userId)} was used by two parties and has been revoked. The token was ${kind === 'sibling' ? 'a sibling of the one in use' : `${behind} ${behind === 1 ? 'generation' : 'generations'} behind`}, and ${Math.round(age / 1_000)} s old.`,
        );
      }
    });
    return new SessionRuntime(
      core,
      database,
      new SessionMaintenance(core, options.cleanup),
      refreshRoute,
      routing.modules,
      options.accessToken.clockTolerance,
    );
  }

  async onModuleInit(): Promise<void> {
    attachObservers(this.core.events, this.modules);
    await this.setClock();
    const now = this.core.clock.now();
    await Promise.all([this.core.signingKeys.start(now), this.core.refreshTokens.start(now)]);
    await this.core.elsewhere?.start();
    await this.core.push?.start();
    this.maintenance.start();
    this.endAnswers ??= answerForState(() => this.core.state());
  }

  onApplicationBootstrap(): void {
    this.refreshRoute.announce(logger);
  }

  /**
   * Sets the clock of the sessions by the database's. Warns if this machine's clock differs, because services that only verify
   * tokens go by their own clocks. The application starts all the same.
   */
  private async setClock(): Promise<void> {
    // If it cannot be read, the clock logs that.
    const ahead = await this.core.clock.synchronise().catch(() => 0);
    // If each of two services differs by half of the tolerance, they may differ from each other by all of it.
    if (Math.abs(ahead) <= Math.max(MEASURABLE, this.clockTolerance / 2)) return;
    const seconds = Math.round(Math.abs(ahead) / 1_000);
    logger.warn(
      `The clock of this machine is ${seconds} s ${ahead > 0 ? 'ahead of' : 'behind'} the database's. Sessions go by the database's clock. Set both by NTP, because services that only verify tokens go by theirs.`,
    );
  }

  async onModuleDestroy(): Promise<void> {
    await this.core.push?.stop();
    await this.core.elsewhere?.stop();
    await this.maintenance.stop();
  }

  async onApplicationShutdown(): Promise<void> {
    // Until the server has closed, streams may be open, and Nest waits for them.
    this.core.connections.stop();
    this.endAnswers?.();
    this.core.events.complete();
    const { dataSource, isOwn } = this.database;
    // If an application is closed twice, Nest 11 calls this twice.
    if (isOwn && !isRowKeeper(dataSource) && dataSource.isInitialized) await dataSource.destroy();
  }
}

/** @throws {@link InvalidOptionError} */
function checkPush(rows: Rows, { revocationPush }: ResolvedOptions): void {
  if (!revocationPush || isRowKeeper(rows) || rows.options.type === 'postgres') return;
  throw new InvalidOptionError(
    'revocationPush',
    `needs PostgreSQL, and this is a database of type "${rows.options.type}".`,
  );
}

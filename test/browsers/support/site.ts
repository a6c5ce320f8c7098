import type { INestApplication, Type } from '@nestjs/common';
import type { FastifyInstance } from 'fastify';
import {
  SessionEntity,
  type SessionEvent,
  type SessionModuleExtras,
  type SessionModuleOptions,
} from 'nestjs-session-tokens';
import { type Adapter, startApp, type TestApp } from '../../support/app.js';
import { connect, databases } from '../../support/databases.js';
import { SiteController, Work } from './site.controller.js';

/** A running site, and the requests that its server gets. */
export interface Site extends Omit<TestApp, 'app'> {
  /** `localhost` with the port: browsers accept secure cookies from there over plain http. */
  readonly url: string;
  readonly port: number;
  readonly work: Work;
  /** The events of a user's sessions. */
  told(userId: string, type: 'stale' | 'theft'): SessionEvent[];
  /** The newest session of a user, as the database has it. */
  row(userId: string): Promise<SessionEntity>;
}

export interface SiteSettings {
  readonly adapter?: Adapter;
  readonly options?: SessionModuleOptions & SessionModuleExtras;
  /** Controllers in addition to the usual one. @default none */
  readonly controllers?: Type[];
  readonly configure?: (app: INestApplication) => void;
}

/** Starts a site with its own database. */
export async function startSite({
  adapter = 'express',
  options,
  controllers = [],
  configure,
}: SiteSettings = {}): Promise<Site> {
  const database = await databases[0]!.create();
  const work = new Work();
  const app = await startApp({
    adapter,
    database,
    options,
    metadata: {
      controllers: [SiteController, ...controllers],
      providers: [{ provide: Work, useValue: work }],
    },
    configure(nest) {
      configure?.(nest);
      if (adapter !== 'fastify') return;
      // The handler reads uploads itself, as with Express.
      const fastify: FastifyInstance = nest.getHttpAdapter().getInstance();
      fastify.addContentTypeParser('*', (_request, payload, done) => done(null, payload));
    },
  });
  const events: SessionEvent[] = [];
  app.sessions.events.subscribe((event) => events.push(event));
  const dataSource = await connect(database);
  const port = Number(new URL(app.url).port);
  return {
    sessions: app.sessions,
    url: `http://localhost:${port}`,
    port,
    work,
    told: (userId, type) =>
      events.filter((event) => event.type === type && 'userId' in event && event.userId === userId),
    async row(userId) {
      const [newest] = await dataSource.getRepository(SessionEntity).find({
        where: { userId: JSON.stringify(userId) },
        order: { createdAt: 'DESC' },
        take: 1,
      });
      if (!newest) throw new Error(`${userId} has no session.`);
      return newest;
    },
    async close() {
      await dataSource.destroy();
      await app.close();
      await database.remove();
    },
  };
}

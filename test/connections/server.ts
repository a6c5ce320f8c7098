import { PassThrough, type Readable } from 'node:stream';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { ApolloDriver, type ApolloDriverConfig } from '@nestjs/apollo';
import { Controller, Get, type INestApplication, Sse, StreamableFile, UseGuards } from '@nestjs/common';
import { GraphQLModule, Query, Resolver, Subscription } from '@nestjs/graphql';
import { WsAdapter } from '@nestjs/platform-ws';
import { ConnectedSocket, SubscribeMessage, WebSocketGateway } from '@nestjs/websockets';
import libsql from 'libsql';
import { SessionGuard, type SessionModuleOptions } from 'nestjs-session-tokens';
import { Observable } from 'rxjs';
import type { DataSourceOptions } from 'typeorm';
import { SESSION_RUNTIME } from '../../lib/module/session.constants.js';
import type { SessionRuntime } from '../../lib/module/session.runtime.js';
import { AccountController } from '../http/account.controller.js';
import { serveCommands } from '../processes/serve.js';
import { startApp, type TestApp } from '../support/app.js';

/** How often each connection gets something, in milliseconds. */
const BEAT = 200;

/** A body of a known length, which nobody waits for. */
const LENGTH = 1_000_000_000;

/** What gets a beat: whatever is open, as long as its handler does not know better. */
const sinks = new Set<() => void>();
setInterval(() => {
  for (const send of sinks) send();
}, BEAT).unref();

function endless(): Readable {
  const body = new PassThrough();
  const send = () => void body.write('beat\n');
  sinks.add(send);
  send();
  return body.once('close', () => sinks.delete(send));
}

@Controller('open')
@UseGuards(SessionGuard)
class OpenController {
  @Sse('events')
  events(): Observable<{ data: string }> {
    return new Observable((subscriber) => {
      const send = () => subscriber.next({ data: 'beat' });
      sinks.add(send);
      send();
      return () => sinks.delete(send);
    });
  }

  @Get('body')
  body(): StreamableFile {
    return new StreamableFile(endless());
  }

  @Get('download')
  download(): StreamableFile {
    return new StreamableFile(endless(), { length: LENGTH, disposition: 'attachment' });
  }
}

/** A socket of ws or of Socket.IO. */
interface Client {
  request?: unknown;
  emit(event: string, text: string): unknown;
  send(text: string): unknown;
  once(event: string, listener: () => void): unknown;
}

@WebSocketGateway()
@UseGuards(SessionGuard)
class BeatsGateway {
  handleConnection(client: Client, request?: unknown): void {
    client.request ??= request;
  }

  @SubscribeMessage('begin')
  begin(@ConnectedSocket() client: Client): void {
    const send = () => void client.send('beat');
    sinks.add(send);
    send();
    for (const event of ['close', 'disconnect']) client.once(event, () => sinks.delete(send));
  }
}

@Resolver()
class BeatsResolver {
  @Query(() => String)
  ping(): string {
    return 'pong';
  }

  @UseGuards(SessionGuard)
  @Subscription(() => String)
  async *beats(): AsyncGenerator<{ beats: string }> {
    for (const body = endless(); ;) {
      for await (const beat of body) yield { beats: String(beat) };
    }
  }
}

const metadata = { controllers: [AccountController, OpenController], providers: [BeatsGateway] };

const graphql = {
  imports: [
    GraphQLModule.forRoot<ApolloDriverConfig>({
      driver: ApolloDriver,
      autoSchemaFile: true,
      playground: false,
      subscriptions: { 'graphql-ws': true },
    }),
  ],
  providers: [BeatsResolver, ...metadata.providers],
};

/** The calls that the parent can make. All values are sent as JSON. */
export class ServerCommands {
  private apps: TestApp[] = [];
  private readonly lag = monitorEventLoopDelay({ resolution: 10 });

  /** Two applications: Express with Socket.IO and GraphQL, and Fastify with ws. @returns their addresses */
  async start(
    options: DataSourceOptions,
    session: SessionModuleOptions,
  ): Promise<{ express: string; fastify: string }> {
    const driver = options.type === 'better-sqlite3' ? { driver: libsql } : {};
    const database = { options: { ...options, ...driver }, remove: async () => undefined };
    const start = async (adapter: 'express' | 'fastify') =>
      startApp({
        adapter,
        database,
        options: session,
        metadata: adapter === 'express' ? { ...metadata, ...graphql } : metadata,
        configure: (app: INestApplication) => {
          if (adapter === 'fastify') app.useWebSocketAdapter(new WsAdapter(app));
        },
      });
    const [express, fastify] = [await start('express'), await start('fastify')];
    this.apps = [express, fastify];
    this.lag.enable();
    return { express: express.url, fastify: fastify.url };
  }

  /** @returns when it was done, which is after it was committed */
  async revoke(id: string): Promise<number> {
    await this.apps[0]!.sessions.revoke(id);
    return Date.now();
  }

  async revokeAllForUser(userId: string): Promise<number> {
    await this.apps[1]!.sessions.revokeAllForUser(userId);
    return Date.now();
  }

  /** Ends the sessions of everybody who has signed in before a time, in epoch milliseconds. */
  async revokeAllBefore(before: number): Promise<number> {
    await this.apps[0]!.sessions.revokeAll({ before: new Date(before) });
    return Date.now();
  }

  async dropKey(): Promise<number> {
    await this.apps[0]!.sessions.rotateSigningKeys({ drop: 'current' });
    return Date.now();
  }

  async expiryOf(id: string): Promise<number | undefined> {
    return (await this.apps[0]!.sessions.find(id))?.expiresAt.getTime();
  }

  /** How many connections are registered. */
  async registered(): Promise<number> {
    const sizes = this.apps.map(
      ({ app }) => app.get<SessionRuntime>(SESSION_RUNTIME, { strict: false }).core.connections.size,
    );
    return sizes.reduce((sum, size) => sum + size, 0);
  }

  /** The longest time that this process did nothing but one thing since the last call, in milliseconds. */
  async longestPause(): Promise<number> {
    const { max } = this.lag;
    this.lag.reset();
    return max / 1e6;
  }

  async stop(): Promise<void> {
    await Promise.all(this.apps.map((each) => each.close()));
  }
}

export function serve(): void {
  process.once('disconnect', () => process.exit());
  serveCommands(new ServerCommands());
}

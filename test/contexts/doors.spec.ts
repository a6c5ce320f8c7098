import { connect as connectTcp } from 'node:net';
import {
  type CanActivate,
  Controller,
  type ExecutionContext,
  Get,
  Injectable,
  type Type,
  UseGuards,
} from '@nestjs/common';
import { APP_GUARD } from '@nestjs/core';
import {
  ClientProxyFactory,
  MessagePattern,
  type MicroserviceOptions,
  Transport as MicroserviceTransport,
} from '@nestjs/microservices';
import { IoAdapter } from '@nestjs/platform-socket.io';
import {
  ConnectedSocket,
  SubscribeMessage,
  WebSocketGateway,
  WebSocketServer,
  WsException,
} from '@nestjs/websockets';
import {
  attachedSession,
  CurrentSession,
  SessionError,
  SessionGuard,
  SessionModule,
  SkipSession,
} from 'nestjs-session-tokens';
import { firstValueFrom } from 'rxjs';
import { io, Manager } from 'socket.io-client';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { type AccountApp, accountApps, cookieOf } from '../http/account-app.js';
import type { Browser } from '../support/browser.js';
import { databases } from '../support/databases.js';
import { freePort } from '../support/free-port.js';
import { pass } from '../support/time.js';
import {
  attempt,
  closeClients,
  connect,
  type Refused,
  type Transport,
  transports,
} from './gateway-client.js';
import {
  adapterFor,
  connectionsOf,
  GuardedGateway,
  Messages,
  OptionalGateway,
  PlainGateway,
  say,
  type Socket,
  WelcomingGateway,
} from './gateways.js';

/** A promise, and how to resolve it. */
class Moment {
  come!: () => void;
  readonly promise = new Promise<void>((resolve) => (this.come = resolve));
}

/** Lets clients wait at the door. */
class Gate {
  private opened = new Moment();
  private reached = new Moment();

  async pass(): Promise<void> {
    this.reached.come();
    await this.opened.promise;
  }

  get isReached(): Promise<void> {
    return this.reached.promise;
  }

  open(): void {
    this.opened.come();
  }

  close(): void {
    this.opened = new Moment();
    this.reached = new Moment();
  }
}

const gate = new Gate();

/** Takes its time, as when a database does. */
@Injectable()
class SlowGuard extends SessionGuard {
  override async canActivate(context: ExecutionContext): Promise<boolean> {
    const isAccepted = await super.canActivate(context);
    await gate.pass();
    return isAccepted;
  }
}

@UseGuards(SlowGuard)
@WebSocketGateway()
class SlowGateway extends Messages {
  @WebSocketServer() readonly server!: { clients?: Set<Socket>; emit(event: string, data: string): void };

  broadcast(text: string): void {
    const { clients } = this.server;
    if (clients) for (const client of clients) say(client, 'news', text);
    else this.server.emit('news', text);
  }
}

const noCredentials = { status: 401, code: 'no_credentials' };

/** Takes its time before it looks for a session. */
@Injectable()
class WaitingGuard extends SessionGuard {
  override async canActivate(context: ExecutionContext): Promise<boolean> {
    await gate.pass();
    return super.canActivate(context);
  }
}

@UseGuards(WaitingGuard)
@WebSocketGateway()
class WaitingGateway extends Messages {}

const start = accountApps('express');

const startWith = async (
  transport: Transport,
  providers: object[],
  options: object = {},
): Promise<AccountApp> =>
  start(options, { metadata: { providers: providers as Type[] }, configure: adapterFor(transport) });

afterEach(() => {
  gate.close();
  closeClients();
});

describe.each(transports)('a client of %s that is being checked', (transport) => {
  it('hears nothing of what is sent to all, and its messages are answered afterwards, in turn', async () => {
    const app = await startWith(transport, [SlowGateway]);
    const browser = await app.signIn();
    const gateway = app.app.get(SlowGateway);
    const first = [
      ['ping', '1'],
      ['say', '2'],
      ['ping', '3'],
    ] as const;
    const connecting = connect(transport, app.url, { browser, first });
    await gate.isReached;
    gateway.broadcast('early');
    expect(gateway.calls).toEqual([]);
    gate.open();
    const client = await connecting;
    await vi.waitFor(() => expect(gateway.calls.length).toBe(4));
    gateway.broadcast('late');
    await vi.waitFor(() => expect(client.heard.at(-1)).toEqual(['news', 'late']));
    expect(client.heard.filter(([event]) => event === 'news')).toEqual([['news', 'late']]);
    expect(client.heard[0]).toEqual(['welcome', 'alice']);
    expect(gateway.calls[0]).toBe('connected');
    expect(gateway.calls.toSorted()).toEqual(['connected', 'ping', 'ping', 'say']);
  });

  it.each([
    { gateway: SlowGateway, when: 'after' },
    { gateway: WaitingGateway, when: 'before' },
  ])('and goes ($when its session was found), is not handled, and not kept', async ({ gateway }) => {
    const app = await startWith(transport, [gateway]);
    const browser = await app.signIn();
    const connecting = connect(transport, app.url, { browser });
    void connecting.catch(() => undefined);
    await gate.isReached;
    closeClients();
    // A whole round trip later, the server knows of it.
    await browser.get('/me');
    await browser.get('/me');
    gate.open();
    await browser.get('/me');
    await vi.waitFor(() => expect(connectionsOf(app.app)).toBe(0));
    await vi.waitFor(() => {
      const { calls } = app.app.get<Messages>(gateway);
      expect([[], ['connected', 'disconnected']]).toContainEqual(calls);
    });
  });

  it.each([
    { isHeard: false, when: 'later' },
    { isHeard: true, when: 'meanwhile' },
  ])('while its session ends, is cut off (the process hears of it $when)', async ({ isHeard }) => {
    const app = await startWith(transport, [SlowGateway], { revocationInterval: 0.05 });
    const other = await start({}, { database: app.database });
    const bystander = await app.signIn({ userId: 'bob' });
    const browser = await app.signIn();
    const connecting = connect(transport, app.url, { browser });
    await gate.isReached;
    await other.sessions.revokeAllForUser('alice');
    pass('1s');
    // The process reads what is new when it has a request.
    await (isHeard ? bystander.get('/me') : undefined);
    gate.open();
    const outcome = await connecting.then(
      async (client) => (await client.ended).reason,
      ({ answer }: Refused) => answer.code,
    );
    expect(outcome).toBe('session_over');
    await vi.waitFor(() => expect(connectionsOf(app.app)).toBe(0));
  });

  it.each([{ revocation: 'database' }, { revocation: 'feed' }, { revocation: 'none' }])(
    'by a token of a refresh, whose first use it is, is welcome ($revocation)',
    async ({ revocation }) => {
      const app = await startWith(transport, [GuardedGateway], { revocation });
      const browser = await app.signIn();
      pass('16m');
      await browser.get('/me');
      pass('2m');
      const client = await connect(transport, app.url, { browser, first: [['ping']] });
      expect(await client.send('say', 'hello')).toBe('alice: hello');
      expect((await app.rows())[0]!.generation).toBe(1);
      pass('1h');
      expect(await client.send('say', 'hello')).toBe('alice: hello');
    },
  );
});

/** A text message of a client, in a frame of its own (RFC 6455, 5.2). */
function frame(event: string, data: string): Buffer {
  const text = JSON.stringify({ event, data });
  return Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0, ...Buffer.from(text)]);
}

/** A client that sends what it likes, when it likes. */
function connectRaw({ url }: AccountApp, browser: Browser, ...frames: Buffer[]) {
  const { port, host } = new URL(url);
  const socket = connectTcp(Number(port), '127.0.0.1');
  const head = [
    'GET / HTTP/1.1',
    `Host: ${host}`,
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==',
    `Cookie: ${browser.cookieHeader('/')}`,
  ].join('\r\n');
  socket.write(Buffer.concat([Buffer.from(`${head}\r\n\r\n`), ...frames]));
  const received = { text: '' };
  socket.on('data', (chunk) => (received.text += chunk.toString('latin1')));
  return { socket, received };
}

it('has what a client of ws sends along with its handshake answered', async () => {
  const app = await startWith('ws', [GuardedGateway]);
  const { socket, received } = connectRaw(app, await app.signIn(), frame('say', 'early'));
  await vi.waitFor(() => expect(received.text).toContain('alice: early'));
  expect(received.text.indexOf('welcome')).toBeLessThan(received.text.indexOf('alice: early'));
  socket.destroy();
});

it('does not read on when a client of ws goes on after the end of its session', async () => {
  const app = await startWith('ws', [GuardedGateway]);
  const browser = await app.signIn();
  const { calls } = app.app.get(GuardedGateway);
  const { socket, received } = connectRaw(app, browser, frame('ping', '1'));
  await vi.waitFor(() => expect(calls).toEqual(['connected', 'ping']));
  await app.sessions.revokeAllForUser('alice');
  await vi.waitFor(() => expect(received.text).toContain('session_over'));
  socket.write(frame('ping', '2'));
  // A whole round trip later, the server has read it.
  await browser.get('/me');
  await browser.get('/me');
  expect(calls).toEqual(['connected', 'ping']);
  socket.destroy();
});

describe.each(transports)('a refusal of %s', (transport) => {
  class Refusing extends SessionGuard {
    protected override refuse(error: SessionError): never {
      throw new WsException(`not you: ${error.code}`);
    }
  }
  class Failing extends SessionGuard {
    override canActivate(): boolean {
      throw new Error('the database at 10.0.0.7 is down');
    }
  }
  class Denying extends SessionGuard {
    override canActivate(): boolean {
      return false;
    }
  }
  it.each([
    { guard: Refusing, status: 403, message: 'not you: no_credentials' },
    { guard: Denying, status: 403, message: 'Forbidden' },
    { guard: Failing, status: 500, message: 'Internal server error' },
  ])(
    'by a guard of its own ($guard.name) tells no more than it should',
    async ({ guard, status, message }) => {
      Injectable()(guard);
      @UseGuards(guard)
      @WebSocketGateway()
      class Gateway extends WelcomingGateway {}
      const app = await startWith(transport, [Gateway]);
      expect(await attempt(transport, app.url)).toEqual({ status, code: message });
    },
  );
});

@Controller()
class OpenController {
  @SkipSession()
  @MessagePattern('open')
  open(): string {
    return 'open';
  }

  @Get('unmarked')
  unmarked(): object {
    return {};
  }
}

/** A guard that is none of ours. */
@Injectable()
class OtherGuard implements CanActivate {
  canActivate(): boolean {
    throw new WsException('only messages come here');
  }
}

describe.each(transports)('gateways by %s', (transport) => {
  it.each([
    { gateways: [PlainGateway, GuardedGateway] },
    { gateways: [OptionalGateway, GuardedGateway] },
    { gateways: [GuardedGateway, OptionalGateway] },
  ])('that share a server share its guards ($gateways)', async ({ gateways }) => {
    const app = await startWith(transport, gateways);
    expect(await attempt(transport, app.url)).toEqual(noCredentials);
    const alice = await connect(transport, app.url, { browser: await app.signIn() });
    expect(alice.heard).toEqual([
      ['welcome', 'alice'],
      ['welcome', 'alice'],
    ]);
  });

  it('without a guard of ours let anybody connect', async () => {
    @UseGuards(OtherGuard)
    @WebSocketGateway()
    class Gateway extends Messages {}
    const app = await startWith(transport, [Gateway]);
    expect(await attempt(transport, app.url)).toBe('nobody');
  });

  it('on a port of their own are guarded', async () => {
    const port = await freePort();
    @UseGuards(SessionGuard)
    @WebSocketGateway(port)
    class OwnPort extends Messages {}
    const app = await startWith(transport, [OwnPort, PlainGateway]);
    const url = `http://127.0.0.1:${port}`;
    const browser = await app.signIn();
    expect(await attempt(transport, app.url)).toBe('nobody');
    expect(await attempt(transport, url)).toEqual(noCredentials);
    expect(await attempt(transport, url, { browser })).toBe('alice');
  });

  it.each([{ by: 'APP_GUARD' }, { by: 'useGlobalGuards()' }])(
    'of a hybrid application are guarded by $by, beside its microservice and its routes',
    async ({ by }) => {
      const options = { host: '127.0.0.1', port: await freePort() };
      const guards = by === 'APP_GUARD' ? [{ provide: APP_GUARD, useExisting: SessionGuard }] : [];
      const app = await start(
        {},
        {
          metadata: { providers: [PlainGateway, ...guards], controllers: [OpenController] },
          async configure(nest) {
            adapterFor(transport)(nest);
            if (by !== 'APP_GUARD') nest.useGlobalGuards(nest.get(SessionGuard));
            nest.connectMicroservice<MicroserviceOptions>(
              { transport: MicroserviceTransport.TCP, options },
              { inheritAppConfig: true },
            );
            await nest.startAllMicroservices();
          },
        },
      );
      const service = ClientProxyFactory.create({ transport: MicroserviceTransport.TCP, options });
      expect(await firstValueFrom(service.send<string>('open', {}))).toBe('open');
      await service.close();
      const browser = await app.signIn();
      expect(await app.browser().get('/unmarked')).toMatchObject({ status: 401 });
      expect(await browser.get('/unmarked')).toMatchObject({ status: 200 });
      expect(await attempt(transport, app.url)).toEqual(noCredentials);
      expect(await attempt(transport, app.url, { browser })).toBe('alice');
    },
  );

  it('of several modules take the sessions of their own', async () => {
    @UseGuards(SessionGuard.of('admin'))
    @WebSocketGateway()
    class AdminGateway extends WelcomingGateway {
      @UseGuards(SessionGuard)
      @SubscribeMessage('both')
      both(
        @CurrentSession({ module: 'admin', property: 'userId' }) admin: string,
        @CurrentSession({ module: 'default', property: 'userId' }) user: string,
        @ConnectedSocket() client: Socket,
      ): unknown {
        return this.answer('both', [admin, user], client);
      }
    }
    const own = await databases[0]!.create();
    const app = await start(
      {},
      {
        metadata: {
          imports: [
            SessionModule.forRoot({
              name: 'admin',
              isGlobal: true,
              database: own.options,
              cookies: {
                accessName: 'admin_access',
                refreshName: 'admin_refresh',
                lookAgainName: 'admin_again',
              },
            }),
          ],
          providers: [AdminGateway],
        },
        configure: adapterFor(transport),
      },
    );
    const browser = await app.signIn();
    expect(await attempt(transport, app.url, { browser })).toEqual(noCredentials);
    const admins = app.app.get<typeof app.sessions>('SessionService admin', { strict: false });
    const { accessToken } = await admins.tokens.issue({ userId: 'root' });
    const cookie = `${browser.cookieHeader('/')}; __Host-Http-admin_access=${accessToken.token}`;
    const client = await connect(transport, app.url, { headers: { cookie } });
    expect(client.heard[0]).toEqual(['welcome', 'root']);
    expect(await client.send('both')).toEqual(['root', 'alice']);
    // It has sessions of both, and ends with the first of them.
    await browser.post('/sign-out');
    expect(await client.ended).toMatchObject({ reason: 'session_over' });
    await own.remove();
  });
});

describe('namespaces of Socket.IO', () => {
  @UseGuards(SessionGuard)
  @WebSocketGateway({ namespace: 'chat' })
  class ChatGateway extends Messages {}

  @WebSocketGateway({ namespace: /^\/room-\d+$/ })
  @UseGuards(SessionGuard)
  class RoomsGateway extends Messages {}

  it('are guarded each for itself, and have credentials of their own', async () => {
    const app = await startWith('Socket.IO', [PlainGateway, ChatGateway, RoomsGateway]);
    const tokens: Record<string, string> = {};
    for (const userId of ['alice', 'bob']) {
      tokens[userId] = cookieOf(await app.signIn({ userId }), 'session_access').value;
    }
    expect(await attempt('Socket.IO', app.url)).toBe('nobody');
    for (const at of ['/chat', '/room-1']) {
      expect(await attempt('Socket.IO', app.url, { at })).toEqual(noCredentials);
    }
    // One connection for all.
    const manager = new Manager(app.url, { transports: ['websocket'], reconnection: false });
    const opened = [
      manager.socket('/'),
      manager.socket('/chat', { auth: { token: tokens.alice } }),
      manager.socket('/room-1', { auth: { token: tokens.bob } }),
    ];
    const welcomes = opened.map(
      async (socket) => new Promise((resolve) => void socket.connect().once('welcome', resolve)),
    );
    expect(await Promise.all(welcomes)).toEqual(['nobody', 'alice', 'bob']);
    const left = new Promise((resolve) => void opened[1]!.once('disconnect', resolve));
    await app.sessions.revokeAllForUser('alice');
    expect(await left).toBe('io server disconnect');
    expect(opened.map(({ connected }) => connected)).toEqual([true, false, true]);
    for (const socket of opened) socket.disconnect();
    await vi.waitFor(() => expect(connectionsOf(app.app)).toBe(0));
  });
});

it('is checked again when Socket.IO recovers its connection', async () => {
  class RecoveringAdapter extends IoAdapter {
    override createIOServer(...[port, options]: Parameters<IoAdapter['createIOServer']>): IoServer {
      return super.createIOServer(port, { ...options!, connectionStateRecovery: {} });
    }
  }
  const app = await start(
    {},
    {
      metadata: { providers: [GuardedGateway] },
      configure: (nest) => void nest.useWebSocketAdapter(new RecoveringAdapter(nest)),
    },
  );
  const other = await start({}, { database: app.database });
  const browser = await app.signIn();
  const socket = io(app.url, {
    transports: ['websocket'],
    extraHeaders: { cookie: browser.cookieHeader('/') },
    reconnectionDelay: 10,
  });
  const welcomed = async () => new Promise((resolve) => void socket.once('welcome', resolve));
  await welcomed();
  const again = welcomed();
  socket.io.engine.close();
  expect(await again).toBe('alice');
  expect(socket.recovered).toBe(true);
  await other.sessions.revokeAllForUser('alice');
  const refused = new Promise((resolve) => {
    socket.once('connect_error', resolve).once('exception', resolve);
  });
  pass('5s');
  socket.io.engine.close();
  expect(await refused).toMatchObject({ data: { code: 'session_over' } });
  socket.close();
});

it.each(['/chat', '/rooms'])('is guarded by the path of its gateway: %s', async (at) => {
  @UseGuards(SessionGuard)
  @WebSocketGateway({ path: '/chat' })
  class Chat extends Messages {}
  @WebSocketGateway({ path: '/rooms' })
  class Rooms extends Messages {}
  const app = await startWith('ws', [Chat, Rooms]);
  const browser = await app.signIn();
  expect(await attempt('ws', app.url, { at })).toEqual(at === '/chat' ? noCredentials : 'nobody');
  expect(await attempt('ws', app.url, { at, browser })).toBe(at === '/chat' ? 'alice' : 'nobody');
});

it('says who it is in handleConnection, by client and by request, and when a handler skips the guard', async () => {
  const seen: unknown[] = [];
  @UseGuards(SessionGuard)
  @WebSocketGateway()
  class Gateway {
    @SkipSession()
    handleConnection(client: Socket, request: object): void {
      seen.push(attachedSession(client)?.userId, attachedSession(request)?.userId);
      say(client, 'welcome', 'anybody');
    }
  }
  @UseGuards(SessionGuard)
  @WebSocketGateway()
  class Strict {
    handleConnection(client: Socket, request: object): void {
      seen.push(attachedSession(client)?.userId, attachedSession(request)?.userId);
      say(client, 'welcome', 'strict');
    }
  }
  const app = await startWith('ws', [Gateway]);
  expect(await attempt('ws', app.url)).toBe('anybody');
  const strict = await startWith('ws', [Strict]);
  expect(await attempt('ws', strict.url, { browser: await strict.signIn() })).toBe('strict');
  expect(seen).toEqual([undefined, undefined, 'alice', 'alice']);
});

type IoServer = ReturnType<IoAdapter['createIOServer']>;

import { APP_GUARD } from '@nestjs/core';
import { MessageBody, SubscribeMessage, WebSocketGateway } from '@nestjs/websockets';
import { CurrentSession, OptionalSession, SessionGuard, SkipSession } from 'nestjs-session-tokens';
import { io, type Socket } from 'socket.io-client';
import { afterEach, describe, expect, it } from 'vitest';
import { type AccountApp, accountApps } from '../http/account-app.js';
import { adapters } from '../support/app.js';
import type { Browser } from '../support/browser.js';
import { pass } from '../support/time.js';

@WebSocketGateway()
class ChatGateway {
  @SubscribeMessage('say')
  say(@MessageBody() text: string, @CurrentSession('userId') userId: string): string {
    return `${userId}: ${text}`;
  }

  @OptionalSession()
  @SubscribeMessage('look')
  look(@CurrentSession('userId') userId?: string): string {
    return userId ?? 'nobody';
  }

  @SkipSession()
  @SubscribeMessage('ping')
  ping(): string {
    return 'pong';
  }
}

describe.each(adapters)('messages of Socket.IO over %s, with APP_GUARD', (adapter) => {
  const apps = accountApps(adapter);
  const sockets: Socket[] = [];
  afterEach(() => {
    for (const socket of sockets.splice(0)) socket.close();
  });

  const start = () =>
    apps({}, { metadata: { providers: [ChatGateway, { provide: APP_GUARD, useExisting: SessionGuard }] } });

  const connect = async (app: AccountApp, browser?: Browser) => {
    const extraHeaders = browser && { cookie: browser.cookieHeader('/') };
    const socket = io(app.url, { transports: ['websocket'], extraHeaders, reconnection: false });
    sockets.push(socket);
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve).once('connect_error', reject);
    });
    return {
      send: async (event: string, data?: string) =>
        new Promise<unknown>((resolve) => {
          socket.once('exception', (error: object) => resolve({ refused: error }));
          socket.emit(event, data, resolve);
        }),
    };
  };

  it('are guarded by the cookies of the handshake', async () => {
    const app = await start();
    const alice = await connect(app, await app.signIn());
    expect(await alice.send('say', 'hello')).toBe('alice: hello');
    expect(await alice.send('look')).toBe('alice');
    const stranger = await connect(app);
    expect(await stranger.send('say', 'hello')).toMatchObject({ refused: { status: 'error' } });
    expect(await stranger.send('look')).toBe('nobody');
    expect(await stranger.send('ping')).toBe('pong');
  });

  it('are refused when the session has been revoked, and when the access token has expired, which costs no exchange', async () => {
    const app = await start();
    const browser = await app.signIn();
    const [row] = await app.rows();
    pass('16m');
    const late = await connect(app, browser);
    expect(await late.send('say', 'hello')).toMatchObject({ refused: { status: 'error' } });
    expect(await app.rows()).toEqual([row]);

    const alice = await connect(app, await app.signIn());
    expect(await alice.send('say', 'hello')).toBe('alice: hello');
    await app.sessions.revokeAllForUser('alice');
    expect(await alice.send('say', 'hello')).toMatchObject({ refused: { code: 'session_over' } });
  });
});

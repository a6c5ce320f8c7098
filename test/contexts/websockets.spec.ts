import { UseGuards } from '@nestjs/common';
import { APP_GUARD } from '@nestjs/core';
import { ConnectedSocket, SubscribeMessage, WebSocketGateway } from '@nestjs/websockets';
import { CurrentSession, OptionalSession, RequireFresh, SessionGuard } from 'nestjs-session-tokens';
import { afterEach, describe, expect, it } from 'vitest';
import { accountApps } from '../http/account-app.js';
import { adapters } from '../support/app.js';
import { pass } from '../support/time.js';
import { closeClients, connect, type Transport, transports } from './gateway-client.js';
import { adapterFor, GuardedGateway, Messages, PartlyGuardedGateway, type Socket } from './gateways.js';

/** Whoever is signed in can say something. Others can look. */
@OptionalSession()
@WebSocketGateway()
class ChatGateway extends Messages {
  @OptionalSession(false)
  @SubscribeMessage('shout')
  shout(@CurrentSession('userId') userId: string, @ConnectedSocket() client: Socket): unknown {
    return this.answer('shout', `${userId}!`, client);
  }

  @RequireFresh('5m')
  @SubscribeMessage('pay')
  pay(@CurrentSession('userId') userId: string, @ConnectedSocket() client: Socket): unknown {
    return this.answer('pay', userId, client);
  }
}

@UseGuards(SessionGuard)
@WebSocketGateway()
class AgainGuardedGateway extends ChatGateway {}

const guarded = { provide: APP_GUARD, useExisting: SessionGuard };

describe.each(adapters)('messages over %s', (adapter) => {
  const start = accountApps(adapter);
  afterEach(() => closeClients());

  describe.each(transports)('by %s', (transport: Transport) => {
    it.each([{ gateway: ChatGateway }, { gateway: AgainGuardedGateway }])(
      'of $gateway.name are guarded by APP_GUARD, and by the rules of their handlers',
      async ({ gateway }) => {
        const metadata = { providers: [gateway, guarded] };
        const app = await start({}, { metadata, configure: adapterFor(transport) });
        const alice = await connect(transport, app.url, { browser: await app.signIn() });
        expect(await alice.send('say', 'hello')).toBe('alice: hello');
        expect(await alice.send('shout')).toBe('alice!');
        expect(await alice.send('ping')).toBe('pong');
        expect(await alice.send('pay')).toBe('alice');
        pass('6m');
        expect(await alice.send('pay')).toHaveProperty('refused');
        expect(await alice.send('shout')).toBe('alice!');
        const stranger = await connect(transport, app.url);
        expect(await stranger.send('say', 'hello')).toBe('nobody: hello');
        expect(await stranger.send('shout')).toHaveProperty('refused');
        expect(await stranger.send('ping')).toBe('pong');
      },
    );

    it.each([{ gateway: GuardedGateway }, { gateway: PartlyGuardedGateway }])(
      'of $gateway.name are answered when the access token has expired, but not when the session is over',
      async ({ gateway }) => {
        const app = await start({}, { metadata: { providers: [gateway] }, configure: adapterFor(transport) });
        const browser = await app.signIn();
        const alice = await connect(transport, app.url, { browser });
        pass('20m');
        expect(await alice.send('say', 'hello')).toBe('alice: hello');
        await app.sessions.revokeAllForUser('alice');
        const { calls } = app.app.get<Messages>(gateway);
        calls.length = 0;
        await Promise.race([alice.send('say', 'hello'), alice.ended]);
        await alice.ended;
        // The client may know of it before the server.
        await expect.poll(() => calls).toEqual(['disconnected']);
      },
    );
  });
});

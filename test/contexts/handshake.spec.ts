import { type Type } from '@nestjs/common';
import { APP_GUARD } from '@nestjs/core';
import { SessionGuard } from 'nestjs-session-tokens';
import { afterEach, describe, expect, it } from 'vitest';
import { type AccountApp, accountApps, cookieOf } from '../http/account-app.js';
import { adapters } from '../support/app.js';
import type { Browser } from '../support/browser.js';
import { pass } from '../support/time.js';
import {
  attempt,
  closeClients,
  connect,
  type Settings,
  type Transport,
  transports,
} from './gateway-client.js';
import {
  adapterFor,
  GuardedGateway,
  OptionalGateway,
  PartlyGuardedGateway,
  PlainGateway,
  SkippingGateway,
} from './gateways.js';

const TRUSTED = 'https://app.example.com';
const FOREIGN = 'https://evil.example';

const isForeign = (origin: string) =>
  ['a foreign origin', 'a sandboxed page', 'a page of another site'].includes(origin);
const isFromPayload = (credential: string) => credential.includes('payload');
/** What a client gets: a welcome, or the refusal with this code. */
const answer = (text: string) =>
  text.includes('_') ? { status: text === 'csrf_failed' ? 403 : 401, code: text } : text;
const isNone = (credential: string) => credential.startsWith('no ');

const plain = accountApps('express');
afterEach(() => closeClients());

describe.each(adapters)('over %s', (adapter) => {
  const start = accountApps(adapter);

  const startWith = async (
    transport: Transport,
    gateway: Type,
    providers: object[] = [],
    options: object = {},
  ) => {
    const all = { csrf: { trustedOrigins: [TRUSTED] }, ...options };
    const metadata = { providers: [gateway, ...(providers as Type[])] };
    return start(all, { metadata, configure: adapterFor(transport) });
  };

  const origins: Record<string, (app: AccountApp) => Record<string, string>> = {
    'no origin': () => ({}),
    'its own origin': ({ url }) => ({ origin: url }),
    'a trusted origin': () => ({ origin: TRUSTED }),
    'a foreign origin': () => ({ origin: FOREIGN }),
    'a sandboxed page': () => ({ origin: 'null' }),
    'a page of another site': () => ({ 'sec-fetch-site': 'cross-site' }),
  };

  const credentials: Record<string, (browser: Browser) => Settings> = {
    'no credentials': () => ({}),
    'its cookies': (browser) => ({ browser }),
    'a bearer token': (browser) => ({
      headers: { authorization: `Bearer ${cookieOf(browser, 'session_access').value}` },
    }),
    'a token in the payload': (browser) => ({ auth: { token: cookieOf(browser, 'session_access').value } }),
    'a bearer token in the payload': (browser) => ({
      auth: { token: `Bearer ${cookieOf(browser, 'session_access').value}` },
    }),
    'no token in the payload': () => ({ auth: { token: { not: 'text' } } }),
  };

  /** What a client is welcomed with, or the code of the refusal. */
  const gateways: {
    gateway: Type;
    providers?: object[];
    /** Who has no credentials. */
    without: string;
    /** Whose cookies another site sends. */
    fromAfar: string;
    /** Who has good credentials. @default alice */
    has?: string;
  }[] = [
    { gateway: GuardedGateway, without: 'no_credentials', fromAfar: 'csrf_failed' },
    {
      gateway: PlainGateway,
      providers: [{ provide: APP_GUARD, useExisting: SessionGuard }],
      without: 'no_credentials',
      fromAfar: 'csrf_failed',
    },
    { gateway: OptionalGateway, without: 'nobody', fromAfar: 'csrf_failed' },
    { gateway: PartlyGuardedGateway, without: 'nobody', fromAfar: 'nobody' },
    { gateway: SkippingGateway, without: 'nobody', fromAfar: 'nobody', has: 'nobody' },
    { gateway: PlainGateway, without: 'nobody', fromAfar: 'nobody', has: 'nobody' },
  ];

  describe.each(transports)('a handshake of %s', (transport) => {
    it.each(gateways)(
      'with $gateway.name ($without, $fromAfar) is checked by origin and credentials',
      async ({ gateway, providers, without, fromAfar, has = 'alice' }) => {
        const app = await startWith(transport, gateway, providers);
        const browser = await app.signIn();
        const seen: Record<string, unknown> = {};
        const expected: Record<string, unknown> = {};
        for (const [origin, headersOf] of Object.entries(origins)) {
          for (const [credential, settingsOf] of Object.entries(credentials)) {
            if (transport === 'ws' && isFromPayload(credential)) continue;
            const settings = settingsOf(browser);
            const headers = { ...headersOf(app), ...settings.headers };
            const name = `${credential} and ${origin}`;
            seen[name] = await attempt(transport, app.url, { ...settings, headers });
            const isForged = isForeign(origin) && credential === 'its cookies';
            expected[name] = answer(isNone(credential) ? without : isForged ? fromAfar : has);
          }
        }
        expect(seen).toEqual(expected);
      },
    );

    it('with an expired access token is told to refresh, which costs no exchange', async () => {
      for (const gateway of [GuardedGateway, OptionalGateway]) {
        const app = await startWith(transport, gateway);
        const browser = await app.signIn();
        const before = await app.rows();
        pass('16m');
        expect(await attempt(transport, app.url, { browser })).toEqual({ status: 401, code: 'try_refresh' });
        expect(await app.rows()).toEqual(before);
        expect(await browser.get('/me')).toMatchObject({ status: 200 });
        expect(await attempt(transport, app.url, { browser })).toBe('alice');
      }
    });

    it('of a session that is over is refused, or that of nobody', async () => {
      for (const [gateway, expected] of [
        [GuardedGateway, { status: 401, code: 'session_over' }],
        [OptionalGateway, 'nobody'],
        [PartlyGuardedGateway, 'nobody'],
      ] as const) {
        const app = await startWith(transport, gateway);
        const browser = await app.signIn();
        await app.sessions.revokeAllForUser('alice');
        expect(await attempt(transport, app.url, { browser })).toEqual(expected);
      }
    });
  });
});

it.each(['Socket.IO', 'Socket.IO by polling'] as const)(
  'tells clients of %s what a response would',
  async (transport) => {
    const app = await plain(
      {},
      { metadata: { providers: [GuardedGateway] }, configure: adapterFor(transport) },
    );
    const browser = await app.signIn();
    await app.sessions.revokeAllForUser('alice', { reason: 'banned' });
    await expect(connect(transport, app.url, { browser })).rejects.toMatchObject({
      body: (await browser.get('/me')).body as object,
    });
    await expect(connect(transport, app.url)).rejects.toMatchObject({
      body: {
        statusCode: 401,
        code: 'no_credentials',
        message: 'The request carries no session. Sign in first.',
      },
    });
  },
);

import { expect } from 'vitest';
import { type AccountApp, moveOn } from '../http/account-app.js';
import type { Browser } from '../support/browser.js';
import { pass } from '../support/time.js';

export interface World {
  readonly app: AccountApp;
  readonly browser: Browser;
  /** The id of the browser's session. */
  readonly id: string;
}

/** A way for a session to end. */
export interface SessionEndCase {
  readonly name: string;
  readonly end: (world: World) => Promise<unknown>;
  /** Whether clients may connect again when they have refreshed. */
  readonly mayRefresh?: boolean;
}

/** How sessions end. */
export const ends: readonly SessionEndCase[] = [
  { name: 'is revoked', end: async ({ app, id }) => app.sessions.revoke(id) },
  { name: 'is revoked with others', end: async ({ app, id }) => app.sessions.revokeMany([id]) },
  { name: 'is ended with all of its user', end: async ({ app }) => app.sessions.revokeAllForUser('alice') },
  { name: 'is ended with everybody’s', end: async ({ app }) => app.sessions.revokeAll() },
  { name: 'signs out', end: async ({ browser }) => browser.post('/sign-out') },
  { name: 'is replaced by a sign-in', end: async ({ browser }) => browser.post('/login', { userId: 'bob' }) },
  {
    name: 'is stolen',
    end: async ({ browser }) => {
      const thief = browser.copy();
      await moveOn(browser);
      pass('16m');
      expect(await thief.get('/me')).toMatchObject({ status: 401, body: { code: 'token_theft' } });
    },
  },
  { name: 'expires', end: async () => pass('31d') },
  {
    name: 'has a key that is dropped',
    mayRefresh: true,
    end: async ({ app }) => app.sessions.rotateSigningKeys({ drop: 'current' }),
  },
  {
    name: 'has a key that is dropped after its token has expired',
    mayRefresh: true,
    end: async ({ app }) => {
      pass('1h');
      await app.sessions.rotateSigningKeys({ drop: 'current' });
    },
  },
];

/** How the session of somebody who acts as another user ends. The browser's session is the actor's. */
export const endsOfImpersonations: readonly {
  readonly name: string;
  readonly end: (world: World & { readonly actingId: string }) => Promise<unknown>;
}[] = [
  { name: 'is ended', end: async ({ app, actingId }) => app.sessions.revoke(actingId) },
  { name: 'is ended with all of the user', end: async ({ app }) => app.sessions.revokeAllForUser('ann') },
  { name: 'has an actor who signs out', end: async ({ browser }) => browser.post('/sign-out') },
  { name: 'has an actor who is revoked', end: async ({ app, id }) => app.sessions.revoke(id) },
  { name: 'expires', end: async () => pass('16m') },
];

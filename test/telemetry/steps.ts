import { expect } from 'vitest';
import type { Browser } from '../support/browser.js';
import { pass } from '../support/time.js';
import { type AccountApp, moveOn } from '../http/account-app.js';
import type { Series } from './telemetry.js';

/** Something that clients or the application do, and what is counted for it. */
export interface Step {
  readonly name: string;
  /** @returns what is to be measured */
  readonly prepare: (app: AccountApp) => Promise<() => Promise<unknown>>;
  /** How the series change; all others stay. */
  readonly changes: Series;
}

const get = async (browser: Browser, status: number, headers: Record<string, string> = {}) =>
  expect(await browser.get('/me', { headers, follows: false })).toMatchObject({ status });

/** A client whose cookies are of the generation before. */
async function victim(app: AccountApp): Promise<Browser> {
  const browser = await app.signIn();
  const old = browser.copy();
  await moveOn(browser);
  pass('16m');
  old.keepExpired();
  return old;
}

async function sessionOf(app: AccountApp): Promise<string> {
  const [session] = (await app.sessions.findAllForUser('alice')).sessions;
  return session!.id;
}

const EVIL = { origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' };

export const steps: readonly Step[] = [
  {
    name: 'a sign-in',
    prepare: async (app) => () => app.signIn(),
    changes: { 'sessions.created{module=default}': 1 },
  },
  {
    name: 'the first request with an access token',
    prepare: async (app) => {
      const browser = await app.signIn();
      return () => get(browser, 200);
    },
    changes: { 'access_token.verifications{module=default,result=valid}': 1 },
  },
  {
    name: 'its next requests',
    prepare: async (app) => {
      const browser = await app.signIn();
      await get(browser, 200);
      return async () => {
        for (let requests = 0; requests < 3; requests++) await get(browser, 200);
      };
    },
    changes: {
      'access_token.verifications{module=default,result=valid}': 3,
      'access_token.cache_hits{module=default}': 3,
    },
  },
  {
    name: 'a junk token',
    prepare: async (app) => () => get(app.browser(), 401, { authorization: 'Bearer junk' }),
    changes: { 'access_token.verifications{module=default,result=invalid}': 1 },
  },
  {
    name: 'a token with another signature',
    prepare: async (app) => {
      const { accessToken } = await app.sessions.tokens.issue({ userId: 'alice' });
      const forged = `${accessToken.token.slice(0, -8)}AAAAAAAA`;
      return () => get(app.browser(), 401, { authorization: `Bearer ${forged}` });
    },
    changes: {
      'sessions.created{module=default}': 0,
      'access_token.verifications{module=default,result=invalid}': 1,
    },
  },
  {
    name: 'an expired token without a refresh token',
    prepare: async (app) => {
      const browser = await app.signIn();
      browser.delete('session_refresh');
      pass('16m');
      browser.keepExpired();
      return () => get(browser, 401);
    },
    changes: { 'access_token.verifications{module=default,result=expired}': 1 },
  },
  {
    name: 'an expired token that was verified before, with a refresh token',
    prepare: async (app) => {
      const browser = await app.signIn();
      await get(browser, 200);
      pass('16m');
      return () => get(browser, 200);
    },
    changes: {
      'access_token.verifications{module=default,result=expired}': 1,
      'access_token.cache_hits{module=default}': 1,
      'refresh.duration{module=default,result=exchanged}': 1,
    },
  },
  {
    name: 'a refresh before it is due',
    prepare: async (app) => {
      const { refreshToken } = await app.sessions.tokens.issue({ userId: 'alice' });
      return () => app.sessions.tokens.refresh(refreshToken.token);
    },
    changes: { 'refresh.duration{module=default,result=kept}': 1 },
  },
  {
    name: 'the first use of a new generation',
    prepare: async (app) => {
      const browser = await app.signIn();
      pass('16m');
      await get(browser, 200);
      pass('90s');
      return () => get(browser, 200);
    },
    changes: {
      'access_token.verifications{module=default,result=valid}': 1,
      'prove.duration{module=default,result=proven}': 1,
    },
  },
  {
    name: 'a token that looks old',
    prepare: async (app) => {
      const old = await victim(app);
      return () => get(old, 307);
    },
    changes: {
      'access_token.verifications{module=default,result=expired}': 1,
      'refresh.duration{module=default,result=look_again}': 1,
      'looks_again{module=default,kind=superseded}': 1,
    },
  },
  {
    name: 'a theft',
    prepare: async (app) => {
      const old = await victim(app);
      await get(old, 307);
      return () => get(old, 401);
    },
    changes: {
      'access_token.verifications{module=default,result=expired}': 1,
      'refresh.duration{module=default,result=token_theft}': 1,
      'thefts{module=default,kind=superseded}': 1,
    },
  },
  {
    name: 'a session that is over',
    prepare: async (app) => {
      const browser = await app.signIn();
      await app.sessions.revokeAllForUser('alice');
      pass('16m');
      browser.keepExpired();
      await get(browser, 307);
      return () => get(browser, 401);
    },
    changes: {
      'access_token.verifications{module=default,result=expired}': 1,
      'refresh.duration{module=default,result=session_over}': 1,
    },
  },
  {
    name: 'a revocation',
    prepare: async (app) => {
      await app.signIn();
      const id = await sessionOf(app);
      return () => app.sessions.revoke(id, { reason: 'admin', by: 'root' });
    },
    changes: { 'sessions.revoked{module=default,reason=admin}': 1 },
  },
  {
    name: 'a sign-out',
    prepare: async (app) => {
      const browser = await app.signIn();
      return () => browser.post('/sign-out');
    },
    changes: {
      'access_token.verifications{module=default,result=valid}': 1,
      'sessions.revoked{module=default,reason=logout}': 1,
    },
  },
  {
    name: 'a request that a page of another site sends',
    prepare: async (app) => {
      const browser = await app.signIn();
      return () => browser.post('/orders', {}, { headers: EVIL });
    },
    changes: { 'csrf.refusals{module=default}': 1 },
  },
  {
    name: 'a rotation of the signing key by hand',
    prepare: async (app) => () => app.sessions.rotateSigningKeys(),
    changes: { 'key.rotations{module=default,purpose=access}': 1 },
  },
];

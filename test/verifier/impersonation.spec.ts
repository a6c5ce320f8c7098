import { Controller, HttpCode, Post, UseGuards } from '@nestjs/common';
import {
  CurrentSession,
  NoImpersonation,
  RequireFresh,
  SessionGuard,
  SessionOverError,
  SessionVerifier,
  type UserId,
} from 'nestjs-session-tokens';
import { afterEach, describe, expect, it } from 'vitest';
import { ACCESS, accountApps, cookieOf, refusal } from '../http/account-app.js';
import { adapters } from '../support/app.js';
import { Browser } from '../support/browser.js';
import { pass, TTL } from '../support/time.js';
import { issuing, startService, verifying } from './service-app.js';

@Controller()
@UseGuards(SessionGuard)
class FormController {
  @Post('form')
  @HttpCode(200)
  form(@CurrentSession('userId') savedFor: UserId, @CurrentSession('actor') by?: object): object {
    return { savedFor, by };
  }

  @NoImpersonation()
  @Post('pay')
  pay(): object {
    return {};
  }

  @RequireFresh('1h')
  @Post('password')
  password(): object {
    return {};
  }
}

const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

describe.each(adapters)('a service that only verifies, over %s,', (adapter) => {
  const apps = accountApps(adapter);

  it('knows who acts as the user, and never takes the one for the other', async () => {
    const app = await apps(issuing);
    const service = await startService(adapter, verifying(app.url), { controllers: [FormController] });
    cleanups.push(() => service.close());
    const admin = await app.signIn({ userId: 7 });
    const { id } = (await admin.get('/me')).body as { id: string };
    const { accessToken } = await app.sessions.tokens.impersonate(id, { userId: 'ann', ttl: '14m' });
    const own = `${ACCESS}=${cookieOf(admin, 'session_access').value}`;
    const acting = `${own}; ${ACCESS}_as=${accessToken.token}`;
    const post = async (path: string, headers: Record<string, string>) =>
      new Browser(service.url).post(path, undefined, { headers });
    const actor = { userId: 7, sessionId: id };
    const authorization = `Bearer ${accessToken.token}`;
    const bothWays: Record<string, string>[] = [{ cookie: acting }, { authorization, cookie: own }];

    for (const headers of bothWays) {
      expect(await post('/form', headers)).toMatchObject({
        status: 200,
        body: { savedFor: 'ann', by: actor },
      });
      for (const path of ['/pay', '/password'])
        expect(await post(path, headers)).toMatchObject(refusal(403, 'impersonation_refused'));
    }
    expect(await post('/form', { cookie: own })).toMatchObject({ status: 200, body: { savedFor: 7 } });
    const verifier = service.app.get(SessionVerifier);
    expect((await verifier.verify(accessToken.token)).actor).toEqual(actor);

    // The impersonation is over, and the access token of the administrator is still good.
    pass(TTL - 60_000);
    for (const headers of bothWays) {
      expect(await post('/form', headers)).toMatchObject({
        status: 401,
        body: { code: 'session_over', reason: 'expired', impersonation: true },
      });
    }
    expect(await post('/form', { cookie: own })).toMatchObject({ status: 200, body: { savedFor: 7 } });
    await expect(verifier.verify(accessToken.token)).rejects.toThrow(SessionOverError);
  });
});

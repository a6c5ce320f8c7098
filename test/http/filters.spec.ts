import {
  type ArgumentsHost,
  Catch,
  type ExceptionFilter,
  HttpException,
  type Provider,
} from '@nestjs/common';
import { APP_FILTER, BaseExceptionFilter, HttpAdapterHost } from '@nestjs/core';
import { describe, expect, it } from 'vitest';
import { adapters } from '../support/app.js';
import { pass } from '../support/time.js';
import { accountApps, refusal } from './account-app.js';

/** "Catch everything", as Nest's documentation has it. */
@Catch()
class CatchEverything implements ExceptionFilter {
  constructor(private readonly host: HttpAdapterHost) {}

  catch(exception: unknown, host: ArgumentsHost): void {
    const { httpAdapter } = this.host;
    const context = host.switchToHttp();
    const isHttp = exception instanceof HttpException;
    const body = isHttp ? exception.getResponse() : { statusCode: 500 };
    httpAdapter.reply(context.getResponse(), body, isHttp ? exception.getStatus() : 500);
  }
}

/** A filter as error trackers document it. */
@Catch()
class Tracker extends BaseExceptionFilter {
  override catch(exception: unknown, host: ArgumentsHost): void {
    super.catch(exception, host);
  }
}

const FILTERS: [filter: string, providers: Provider[]][] = [
  ['no filter', []],
  ['a filter that catches everything', [{ provide: APP_FILTER, useClass: CatchEverything }]],
  ['a filter that extends BaseExceptionFilter', [{ provide: APP_FILTER, useClass: Tracker }]],
];

/** Every place where an error can occur: method, path, body, and the expected response. */
const ANSWERS: [
  from: string,
  method: string,
  path: string,
  body: object | undefined,
  status: number,
  code: string,
][] = [
  ['the guard', 'GET', '/me', undefined, 401, 'no_credentials'],
  ['the guard of an unsafe route', 'POST', '/orders', {}, 401, 'no_credentials'],
  ['the refresh route', 'POST', '/auth/refresh', undefined, 401, 'no_credentials'],
  ['a handler that signs in', 'POST', '/login', { userId: '' }, 400, 'invalid_user_id'],
  [
    'a handler that signs in with claims',
    'POST',
    '/login',
    { userId: 'a', claims: { sub: 1 } },
    400,
    'invalid_claims',
  ],
];

describe.each(adapters)('over %s', (adapter) => {
  const start = accountApps(adapter);

  describe.each(FILTERS)('with %s', (_, providers) => {
    const startWithFilter = () => start({ refreshPath: '/auth/refresh' }, { metadata: { providers } });

    it('an error keeps its status, code and message, wherever it comes from', async () => {
      const app = await startWithFilter();
      for (const [from, method, path, body, status, code] of ANSWERS) {
        const answer = await app.browser().request(method, path, { ...(body && { body }) });
        expect(answer, `of ${from}`).toMatchObject(refusal(status, code));
      }
      const browser = await app.signIn();
      const unknown = '/sessions/01a20a8a-a015-700f-b8cf-7cbcd753c3eb/data';
      expect(await browser.request('PUT', unknown, { body: {} })).toMatchObject(
        refusal(404, 'session_not_found'),
      );
      const forged = { headers: { origin: 'https://evil.example' } };
      expect(await browser.post('/orders', {}, forged)).toMatchObject(refusal(403, 'csrf_failed'));
    });

    it('a 401 carries a challenge', async () => {
      const app = await startWithFilter();
      const browser = await app.signIn();
      const copy = browser.copy();
      await app.sessions.revokeAllForUser('alice');
      pass('16m');
      for (const [client, method, path, challenge] of [
        [app.browser(), 'GET', '/me', 'Bearer'],
        [app.browser(), 'POST', '/auth/refresh', 'Bearer'],
        [browser, 'GET', '/me', 'Bearer error="invalid_token"'],
        [copy, 'POST', '/auth/refresh', 'Bearer error="invalid_token"'],
      ] as const) {
        const answer = await client.request(method, path);
        expect(answer.status).toBe(401);
        expect(answer.headers.get('www-authenticate')).toBe(challenge);
      }
    });
  });
});

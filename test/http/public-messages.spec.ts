import { Controller, Get } from '@nestjs/common';
import {
  InvalidOptionError,
  KeysUnavailableError,
  SkipSession,
  StorageUnavailableError,
} from 'nestjs-session-tokens';
import { describe, expect, it } from 'vitest';
import { adapters } from '../support/app.js';
import { accountApps } from './account-app.js';

const DETAIL = 'postgres://svc:hunter2@10.0.0.1/sessions';

/** Errors whose details are for logs. */
const ERRORS: Record<string, () => Error> = {
  keys: () => new KeysUnavailableError(DETAIL, { cause: new Error(DETAIL) }),
  storage: () => new StorageUnavailableError(DETAIL, { cause: new Error(DETAIL) }),
};

@Controller('fails')
@SkipSession()
class FailingController {
  @Get('keys')
  keys(): never {
    throw ERRORS['keys']!();
  }

  @Get('storage')
  storage(): never {
    throw ERRORS['storage']!();
  }
}

describe.each(adapters)('over %s', (adapter) => {
  const start = accountApps(adapter);

  it.each(Object.keys(ERRORS))('clients get a fixed text, logs get the details: %s', async (what) => {
    const app = await start({}, { metadata: { controllers: [FailingController] } });
    const answer = await app.browser().get(`/fails/${what}`);
    expect(answer.status).toBe(503);
    expect(JSON.stringify([answer.body, [...answer.headers]])).not.toMatch(/hunter2|10\.0\.0\.1/);
    expect(ERRORS[what]!()).toMatchObject({ message: DETAIL, cause: { message: DETAIL } });
  });

  it('the source of the application’s keys gives nothing away', async () => {
    let fails = false;
    const app = await start({
      signingKeys: {
        source: async () => {
          if (fails) throw new Error('vault token hvs.hunter2 expired');
          return [{ kty: 'oct', kid: 'a', alg: 'HS256', k: Buffer.alloc(32, 7).toString('base64url') }];
        },
      },
    });
    fails = true;
    const error = await app.sessions.tokens
      .verify('eyJhbGciOiJIUzI1NiIsImtpZCI6ImIiLCJ0eXAiOiJhdCtqd3QifQ.e30.c2ln')
      .catch((thrown: unknown) => thrown);
    expect(String(error)).not.toMatch(/hunter2/);
    expect(JSON.stringify((error as InvalidOptionError).getResponse())).not.toMatch(/hunter2/);
  });
});

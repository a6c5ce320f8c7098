import { createSecretKey, randomBytes } from 'node:crypto';
import { Controller, Get, UseGuards } from '@nestjs/common';
import { SessionGuard } from 'nestjs-session-tokens';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { encodeRefreshToken } from '../../lib/protocol/refresh-token.codec.js';
import { adapters, startApp, type TestApp } from '../support/app.js';
import { databases, type TestDatabase } from '../support/databases.js';
import { DAY, pass, SECOND, START, stopClock } from '../support/time.js';

@Controller()
class PageController {
  @UseGuards(SessionGuard)
  @Get('page')
  page(): string {
    return 'page';
  }
}

describe.each(databases)('a refresh cookie under an unknown key on $name', (kind) => {
  describe.each(adapters)('over %s', (adapter) => {
    let database: TestDatabase;
    let app: TestApp;

    beforeEach(async () => {
      stopClock();
      database = await kind.create();
      app = await startApp({ adapter, database, metadata: { controllers: [PageController] } });
    });
    afterEach(async () => {
      vi.useRealTimers();
      await app.close();
      await database.remove();
    });

    const getPage = async () => {
      const cookie = `__Host-Http-session_refresh=${tokenUnderUnknownKey()}`;
      const response = await fetch(`${app.url}/page`, { headers: { cookie } });
      expect(response.status).toBe(401);
      expect(await response.json()).toMatchObject({ code: 'session_over' });
      return response.headers.getSetCookie();
    };

    test('is kept while a look at the keys is being held back: it may be good', async () => {
      expect(await getPage()).toEqual([]);
    });

    test('is cleared once the keys have been read and its key is not among them', async () => {
      pass(10 * SECOND);
      expect(await getPage()).toContainEqual(
        expect.stringMatching(/^__Host-Http-session_refresh=;.*Max-Age=0/i),
      );
    });
  });
});

function tokenUnderUnknownKey(): string {
  return encodeRefreshToken(
    {
      keyId: 2,
      sessionId: '01900000-0000-7000-8000-000000000000',
      generation: 0,
      issuedAt: START - DAY,
      tokenId: '0011223344556677',
      sessionSecret: randomBytes(16),
    },
    createSecretKey(randomBytes(32)),
  );
}

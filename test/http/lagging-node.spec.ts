import { setTimeout as delay } from 'node:timers/promises';
import { SessionEntity } from 'nestjs-session-tokens';
import type { DataSource } from 'typeorm';
import { afterEach, describe, expect, it } from 'vitest';
import { adapters } from '../support/app.js';
import { connect, databases } from '../support/databases.js';
import { pass } from '../support/time.js';
import { accountApps, clearsCookies } from './account-app.js';

/** What asks for the row of a session that was made a moment ago, and what time must pass before it does. */
const uses = [
  { name: 'the use of an access token in mode "database"', options: { revocation: 'database' }, wait: '1s' },
  {
    name: 'a refresh',
    options: { accessToken: { ttl: '10s' }, reuseWindow: '5s' },
    wait: '11s',
  },
] as const;

/** Right after a sign-in, another node of a cluster may not have the row yet: Galera with `wsrep_sync_wait=0`, a late replica. */
describe.each(databases)('a node of $name that has not heard of a session yet', (kind) => {
  const start = accountApps(adapters[0], kind);
  let dataSource: DataSource | undefined;
  afterEach(async () => {
    await dataSource?.destroy();
    dataSource = undefined;
  });

  describe.each(uses)('at $name', ({ options, wait }) => {
    const setUp = async () => {
      const app = await start(options);
      const browser = await app.signIn();
      const [row] = await app.rows();
      const connection = (dataSource = await connect(app.database));
      const rows = connection.getRepository(SessionEntity);
      const hide = async () => rows.update({ id: row!.id }, { id: 'elsewhere' });
      const show = async () => rows.update({ id: 'elsewhere' }, { id: row!.id });
      return { browser, hide, show };
    };

    it('is waited for', async () => {
      const { browser, hide, show } = await setUp();
      pass(wait);
      await hide();
      const answer = browser.get('/me');
      await delay(60);
      await show();
      expect((await answer).status).toBe(200);
    });

    it('costs nobody the session', async () => {
      const { browser, hide, show } = await setUp();
      pass(wait);
      await hide();
      const refused = await browser.get('/me');
      expect(refused).toMatchObject({ status: 503, body: { code: 'storage_unavailable' } });
      expect(refused.setCookies).toEqual([]);
      await show();
      expect((await browser.get('/me')).status).toBe(200);
    });

    it('is believed when the session is old enough', async () => {
      const { browser, hide } = await setUp();
      pass('40s');
      await hide();
      const over = await browser.get('/me');
      expect(over).toMatchObject({ status: 401, body: { code: 'session_over' } });
      expect(clearsCookies(over)).toBe(true);
    });
  });
});

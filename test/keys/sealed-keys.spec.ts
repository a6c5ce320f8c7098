import { SessionKeyEntity } from 'nestjs-session-tokens';
import type { DataSource } from 'typeorm';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { accountApps } from '../http/account-app.js';
import { adapters } from '../support/app.js';
import { connect } from '../support/databases.js';
import { expectPairs, hearLog } from '../support/log-lines.js';
import { DAY, pass } from '../support/time.js';

const SECRET = 'a secret of one process, which is long enough for this';
const OTHER = 'a secret of another process, which nobody else has got';

/** What has become of the newest keys in the database. */
const damages: readonly [what: string, material: (material: string) => string, says: RegExp][] = [
  ['is cut off', (material) => material.slice(0, -20), /No "secret" opens/],
  [
    'is something else',
    () => '{"kty":"oct","k":"c2VjcmV0","',
    /The access key "\S+" in the database is damaged/,
  ],
  ['is empty', () => '', /No "secret" opens/],
];

describe('keys that cannot be opened', () => {
  const start = accountApps(adapters[0]);
  let admin: DataSource | undefined;
  beforeEach(() => (admin = undefined));
  afterEach(async () => {
    vi.restoreAllMocks();
    await admin?.destroy();
  });

  it.each(damages)(
    'are told once when that begins and once when it is over: one %s',
    async (_, damage, says) => {
      const one = await start({ secret: SECRET });
      // The next keys are there, and the first ones still are.
      pass(DAY);
      const before = await one.signIn();
      const other = await start({ secret: SECRET }, { database: one.database });
      admin = await connect(one.database);
      const repository = admin.getRepository(SessionKeyEntity);
      const newest = (await repository.find({ order: { sequence: 'DESC' } })).filter(
        ({ sequence }) => sequence > 1,
      );
      for (const key of newest) await repository.update({ kid: key.kid }, { material: damage(key.material) });

      const lines = hearLog();
      const late = await start({ secret: SECRET }, { database: one.database });
      for (let reads = 0; reads < 3; reads++) {
        pass('6m');
        expect(await before.get('/me')).toMatchObject({ status: 200 });
        await late.sessions.tokens.verify(
          (await late.sessions.tokens.issue({ userId: 'x' })).accessToken.token,
        );
      }
      for (const key of newest) await repository.update({ kid: key.kid }, { material: key.material });
      pass('6m');
      await late.sessions.tokens.verify(
        (await late.sessions.tokens.issue({ userId: 'x' })).accessToken.token,
      );

      expectPairs(lines);
      const told = lines.filter(({ text }) => /in the database can/.test(text));
      expect(told.map(({ text }) => text).toSorted()).toEqual([
        expect.stringMatching(/^All access keys in the database can be opened again\./),
        expect.stringMatching(
          /^Some access keys in the database cannot be opened; .* so that clients refresh\.$/,
        ),
      ]);
      for (const { level, cause } of told) {
        expect(cause).toMatch(level === 'error' ? says : /^undefined$/);
        expect(cause).not.toContain('kty');
      }
      expect(other.url).not.toBe(one.url);
    },
  );

  it('all of them stop the start', async () => {
    const one = await start({ secret: SECRET });
    await expect(start({ secret: OTHER }, { database: one.database })).rejects.toThrow(/No "secret" opens/);
  });
});

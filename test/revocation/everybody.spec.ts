import { SessionOverError, TryRefreshError } from 'nestjs-session-tokens';
import { describe, expect, test } from 'vitest';
import { databases } from '../support/databases.js';
import { pass, SECOND } from '../support/time.js';
import { insist, type Instance, useWorld } from '../support/world.js';

// docs/asvs.md, 7.4.5
describe.each(databases)('an administrator who empties the table of sessions on $name', (kind) => {
  const world = useWorld(kind);

  test('and then drops all keys, has signed out everybody, in every process', async () => {
    const instances = (await world.start(2)) as [Instance, Instance];
    const [one, two] = instances;
    const users = await Promise.all(
      ['ann', 'bob', 7].map(async (userId) => one.service.tokens.issue({ userId })),
    );
    // Both processes have the tokens in their caches.
    for (const { service } of instances) {
      for (const { accessToken } of users) await service.tokens.verify(accessToken.token);
    }

    // A node of a cluster might not have the rows of sessions that are younger.
    pass('30s');
    await two.dataSource.query('DELETE FROM user_session');
    await two.service.rotateSigningKeys({ drop: 'all' });
    pass(SECOND);

    for (const { service } of instances) {
      for (const { accessToken, refreshToken } of users) {
        await expect(service.tokens.verify(accessToken.token)).rejects.toThrow(TryRefreshError);
        await expect(insist(service, refreshToken.token)).rejects.toThrow(SessionOverError);
      }
      const { accessToken } = await service.tokens.issue({ userId: 'ann' });
      await expect(service.tokens.verify(accessToken.token)).resolves.toBeDefined();
    }
  });
});

import { describe, expect, test } from 'vitest';
import type { KeyRotatedEvent } from 'nestjs-session-tokens';
import { createSessionCore } from '../../lib/module/session.core.js';
import { resolveOptions } from '../../lib/options/resolved-options.js';
import { databases } from '../support/databases.js';
import { DAY, HOUR, pass, START } from '../support/time.js';
import { type Instance, useWorld } from '../support/world.js';

function rotationsOf(...instances: Pick<Instance, 'events'>[]): KeyRotatedEvent[] {
  const rotations: KeyRotatedEvent[] = [];
  for (const { events } of instances) {
    events.stream.subscribe((event) => void (event.type === 'key_rotated' && rotations.push(event)));
  }
  return rotations;
}

describe.each(databases)('the event of a rotation, on $name', (kind) => {
  const world = useWorld(kind);
  const kids = async () => (await world.keys('access')).map(({ kid }) => kid);

  test('comes in the process that has made the next key, and says from when it signs', async () => {
    const instances = await world.start(4);
    const rotations = rotationsOf(...instances);
    await Promise.all(instances.map(async ({ service }) => service.tokens.issue({ userId: 1 })));
    expect(rotations).toEqual([]);
    pass(DAY - HOUR);
    await Promise.all(instances.map(async ({ service }) => service.tokens.issue({ userId: 1 })));
    const [, next] = await kids();
    const access = { type: 'key_rotated', purpose: 'access', kid: next, dropped: [], module: 'default' };
    const times = { at: new Date(START + DAY - HOUR), signsFrom: new Date(START + DAY) };
    expect(rotations).toEqual([{ ...access, ...times }]);
    pass(30 * DAY);
    await Promise.all(instances.map(async ({ service }) => service.tokens.issue({ userId: 1 })));
    const [, nextRefresh] = await world.keys('refresh');
    expect(rotations.filter(({ purpose }) => purpose === 'refresh')).toMatchObject([
      { kid: nextRefresh!.kid },
    ]);
  });

  test('by hand says which keys were dropped, and has no key in it', async () => {
    const [one, two] = (await world.start(2)) as [Instance, Instance];
    const rotations = rotationsOf(one);
    const elsewhere = rotationsOf(two);
    const [first] = await kids();
    const second = await one.service.rotateSigningKeys();
    const third = await one.service.rotateSigningKeys({ drop: 'all' });
    const common = {
      type: 'key_rotated',
      purpose: 'access',
      at: new Date(),
      signsFrom: new Date(),
      module: 'default',
    };
    expect(rotations).toEqual([
      { ...common, kid: second.current, dropped: [] },
      { ...common, kid: third.current, dropped: [first, second.current] },
    ]);
    expect(elsewhere).toEqual([]);
    const text = JSON.stringify(rotations);
    for (const { material } of await world.keys('access')) {
      expect(text).not.toContain((JSON.parse(material) as { k: string }).k);
    }
  });

  test('comes where a process starts that makes keys in another way', async () => {
    const { dataSource } = await world.connect();
    const first = createSessionCore(dataSource, resolveOptions({}).options);
    const firstKeys = rotationsOf(first);
    await first.signingKeys.start(Date.now());
    await first.refreshTokens.start(Date.now());
    expect(firstKeys).toEqual([]);
    const core = createSessionCore(
      dataSource,
      resolveOptions({ accessToken: { algorithm: 'ES256' } }).options,
    );
    const rotations: unknown[] = [];
    core.events.stream.subscribe((event) => rotations.push(event));
    await core.signingKeys.start(Date.now());
    const signsFrom = new Date(START + HOUR);
    expect(rotations).toMatchObject([{ type: 'key_rotated', kid: (await kids())[1], signsFrom }]);
  });
});

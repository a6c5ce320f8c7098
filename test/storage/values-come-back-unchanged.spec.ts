import { DataSource } from 'typeorm';
import { describe, expect, test } from 'vitest';
import { InvalidDataError, InvalidUserIdError, type JsonValue, SessionEntity } from 'nestjs-session-tokens';
import { type DatabaseKind, databases } from '../support/databases.js';
import { pass, SETTLED, TTL } from '../support/time.js';
import { untyped } from '../support/untyped.js';
import { useWorld, type Instance } from '../support/world.js';

/** A MySQL database that can store only western European characters, as many old ones. */
const latin1Databases = databases
  .filter(({ name }) => name === 'mysql')
  .map((kind) => ({
    name: 'mysql with latin1',
    async create() {
      const database = await kind.create();
      const dataSource = await new DataSource(database.options).initialize();
      await dataSource.query(`ALTER DATABASE ${dataSource.driver.database} CHARACTER SET latin1`);
      await dataSource.destroy();
      return database;
    },
  }));

const kinds: readonly { name: string; create: DatabaseKind['create'] }[] = [...databases, ...latin1Databases];

const VALUES: [string, JsonValue][] = [
  ['null', null],
  ['numbers', [0, -1.5, 1e300, Number.MAX_SAFE_INTEGER, 5e-324]],
  ['booleans', [true, false]],
  ['an empty string', ''],
  ['unicode', 'Zoë Ærøskøbing 東京 العربية ñ ǆ ﬁ'],
  ['emoji', '👩‍👩‍👧‍👦🏳️‍🌈'],
  ['a lone high surrogate', 'a\ud83d'],
  ['a lone low surrogate', '\ude00b'],
  ['a zero character', 'a\u0000b'],
  ['control characters', '\u0001\b\t\n\f\r\u001f\u007f\u0080\u009f\u2028\u2029\ufeff\uffff'],
  ['what SQL and JSON give a meaning to', `'"\\ \`; -- % _ $1 ? :name \\u0041 {}[]`],
  ['nested values', { a: [{ b: { c: [null, [], {}] } }], '': { ' ': 1 }, 'é\u0000😀': 'x' }],
  ['"__proto__" and its like', JSON.parse('{"__proto__":{"admin":true},"constructor":1}') as JsonValue],
];

const USER_IDS = [
  'ann',
  'Ann',
  'ANN',
  'änn',
  'Änn',
  'a\u0308nn', // the same to the eye as "änn"
  'ａｎｎ', // full width
  'ann ',
  ' ann',
  'ann\t',
  'ann\u0000',
  'ann%',
  'a_n',
  'straße',
  'strasse',
  '😀',
  '😁',
  '\ud83d',
  '"ann"',
  "ann'",
  'ann\\',
  '{"i":1}',
  '1',
  1,
  '01',
  '1.0',
  0,
  -1,
  Number.MAX_SAFE_INTEGER,
  String(Number.MAX_SAFE_INTEGER),
  'null',
  'true',
];

describe.each(kinds)('values on $name', (kind) => {
  const world = useWorld(kind);

  test.each(VALUES)('%s survive in claims and data', async (_, value) => {
    const [one, two] = (await world.start(2)) as [Instance, Instance];
    const { session, accessToken, refreshToken } = await one.service.tokens.issue({
      userId: 1,
      claims: untyped(value),
      data: untyped(value),
    });
    const expectSame = (actual: JsonValue) => expect(JSON.stringify(actual)).toBe(JSON.stringify(value));
    expectSame((await two.service.tokens.verify(accessToken.token)).claims);
    const found = await two.service.find(session.id);
    expectSame(found!.claims);
    expectSame(found!.data);

    pass(TTL);
    const refreshed = await two.service.tokens.refresh(refreshToken.token);
    expectSame((await one.service.tokens.verify(refreshed.accessToken.token)).claims);
    // Its next use reads the row.
    pass(SETTLED);
    const { claims, newAccessToken } = await one.service.tokens.verify(refreshed.accessToken.token);
    expectSame(claims);
    expectSame((await two.service.tokens.verify(newAccessToken!.token)).claims);
    expect(Object.getPrototypeOf(claims ?? {})).not.toHaveProperty('admin');

    await one.service.updateData(session.id, { value });
    await two.service.updateClaims(session.id, (present: JsonValue) => ({ present }));
    const updated = await one.service.find(session.id);
    expect(JSON.stringify(updated!.data)).toBe(JSON.stringify({ value }));
    expect(JSON.stringify(updated!.claims)).toBe(JSON.stringify({ present: value }));
  });

  test('user ids that differ at all are different users', async () => {
    const [one, two] = (await world.start(2)) as [Instance, Instance];
    const ids = new Map<string | number, string>();
    const seen: unknown[] = [];
    for (const userId of USER_IDS) {
      const { session, accessToken, refreshToken } = await one.service.tokens.issue({ userId });
      ids.set(userId, session.id);
      const verified = await two.service.tokens.verify(accessToken.token);
      const { session: refreshed } = await two.service.tokens.refresh(refreshToken.token);
      seen.push(verified.userId, refreshed.userId);
    }
    expect(seen).toEqual(USER_IDS.flatMap((userId) => [userId, userId]));
    const found = await Promise.all(USER_IDS.map((userId) => two.service.findAllForUser(userId)));
    expect(found.map(({ sessions }) => sessions.map((each) => [each.userId, each.id]))).toEqual(
      [...ids].map((entry) => [entry]),
    );
    const left: [revoked: number, live: number][] = [];
    for (const userId of USER_IDS) {
      const revoked = await two.service.revokeAllForUser(userId);
      ids.delete(userId);
      const live = await Promise.all([...ids.values()].map((id) => one.service.find(id)));
      left.push([revoked, live.filter(Boolean).length]);
    }
    expect(left).toEqual(USER_IDS.map((_, n) => [1, USER_IDS.length - 1 - n]));
  });

  test('the longest user ids are stored whole, and longer ones are refused', async () => {
    const [{ service }] = (await world.start(1)) as [Instance];
    for (const userId of ['x'.repeat(253), '€'.repeat(42)]) {
      await service.tokens.issue({ userId });
      expect((await service.findAllForUser(userId)).sessions).toHaveLength(1);
      await expect(service.tokens.issue({ userId: `${userId}x${userId[0]}` })).rejects.toThrow(
        InvalidUserIdError,
      );
    }
  });

  test.each([
    ['ASCII', 'x'.repeat(65_533)],
    ['other characters, which take six bytes each', `${'€'.repeat(10_922)}x`],
  ])('65,535 bytes of data are stored, one more is refused: %s', async (_, data) => {
    const [{ service, dataSource }] = (await world.start(1)) as [Instance];
    const { session } = await service.tokens.issue({ userId: 1, data: untyped(data) });
    expect((await service.find(session.id))!.data).toBe(data);
    const row = await dataSource.getRepository(SessionEntity).findOneByOrFail({ id: session.id });
    expect(row.data).toHaveLength(65_535);

    await service.updateData(session.id, untyped('less'));
    await service.updateData(session.id, untyped(data));
    expect((await service.find(session.id))!.data).toBe(data);
    await expect(service.tokens.issue({ userId: 1, data: untyped(`${data}x`) })).rejects.toThrow(
      InvalidDataError,
    );
    await expect(service.updateData(session.id, untyped(`${data}x`))).rejects.toThrow(InvalidDataError);
    expect((await service.find(session.id))!.data).toBe(data);
  });

  test.each([
    'Ann’s phone',
    'Zoë Ærøskøbing 東京 العربية ñ ǆ ﬁ',
    '👩‍👩‍👧‍👦🏳️‍🌈',
    'a\ud83d',
    `'"\\ \`; -- % _ $1 ? :name \\u0041 {}[]`,
    ' a ',
    'null',
    '书'.repeat(64),
    '📱'.repeat(32),
  ])('the label %j comes back', async (label) => {
    const [one, two] = (await world.start(2)) as [Instance, Instance];
    const { session } = await one.service.tokens.issue({ userId: 1, device: { label } });
    const other = await one.service.tokens.issue({ userId: 1 });
    await one.service.rename(other.session.id, label);
    expect(session.label).toBe(label);
    const { sessions } = await two.service.findAllForUser(1);
    expect(sessions.map((each) => each.label)).toEqual([label, label]);
    pass(TTL);
    const refreshed = await two.service.tokens.refresh(other.refreshToken.token);
    expect(refreshed.session.label).toBe(label);
  });

  test('what a client says of itself cannot break a sign-in', async () => {
    const [{ service }] = (await world.start(1)) as [Instance];
    const device = { userAgent: `Bröwser\u0000😀${'x'.repeat(1_000)}`, ip: `fe80::1%${'z'.repeat(100)}` };
    const { session } = await service.tokens.issue({ userId: 1, device });
    const found = await service.find(session.id);
    expect(found).toMatchObject({ userAgent: session.userAgent, ip: session.ip });
    expect(found!.userAgent).toMatch(/^Br\?wser\?\?\?x{245}$/);
    expect(found!.ip).toHaveLength(64);
  });
});

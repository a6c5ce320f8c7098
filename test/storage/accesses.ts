import { Logger } from '@nestjs/common';
import type { DataSource } from 'typeorm';
import { expect } from 'vitest';
import { NotBeforeEntity, SESSION_ENTITIES, SessionEntity, SessionKeyEntity } from 'nestjs-session-tokens';
import { newSessionId } from '../../lib/protocol/session-id.js';
import { DatabaseClock } from '../../lib/storage/database-clock.js';
import { KeyStore, type StoredKey } from '../../lib/storage/key.store.js';
import { type NotBefore, NotBeforeStore } from '../../lib/storage/not-before.store.js';
import { openSessionDataSource } from '../../lib/storage/session-data-source.js';
import { SessionStore, type SessionRow, UNSETTLED } from '../../lib/storage/session.store.js';
import type { DatabaseKind } from '../support/databases.js';
import { DAY, HOUR } from '../support/time.js';

export const NOW = Date.UTC(2030, 0, 1);
export const HASH = 'h'.repeat(43);

/** The parts of the library that use one connection. */
export interface Storage {
  readonly dataSource: DataSource;
  readonly sessions: SessionStore;
  readonly keys: KeyStore;
  readonly notBefores: NotBeforeStore;
}

const ENDED = { id: 'a', userId: 'ann', actor: null };

/** @param now the time at which revocations are settled. @default the time of the test */
export function storeOn(dataSource: DataSource, now = () => Date.now()): SessionStore {
  return new SessionStore(dataSource, { now }, { tombstone: HOUR, ttl: 30 * DAY, absoluteTtl: 365 * DAY });
}

export function storageOn(dataSource: DataSource): Storage {
  return {
    dataSource,
    sessions: storeOn(dataSource, () => NOW),
    keys: new KeyStore(dataSource),
    notBefores: new NotBeforeStore(dataSource),
  };
}

export function row(id: string, more: Partial<SessionRow> = {}): SessionRow {
  return {
    id,
    userId: 'ann',
    secretHash: HASH,
    claims: {},
    data: {},
    version: 1,
    generation: 1,
    redeemedBy: null,
    createdAt: NOW - HOUR,
    lastSeenAt: NOW - HOUR,
    expiresAt: NOW + HOUR,
    idleTtl: null,
    endsAt: null,
    remember: 1,
    authTime: null,
    actor: null,
    amr: null,
    revokedAt: null,
    revokedReason: null,
    label: null,
    userAgent: null,
    ip: null,
    ...more,
  };
}

function key(sequence: number, more: Partial<StoredKey> = {}): StoredKey {
  const kid = `key-${sequence}`;
  const times = { activeAt: NOW - HOUR, createdAt: NOW - HOUR };
  return { kid, purpose: 'access', sequence, algorithm: 'HS256', material: '{}', ...times, ...more };
}

const NOT_BEFORE = { notBefore: NOW, except: undefined, reason: 'admin', createdAt: NOW };

/** What {@link fill} has inserted: the not-befores of a user and of everybody. */
function notBefore(userId: string | undefined, more: Partial<NotBefore> = {}): unknown {
  const mark = expect.stringMatching(/^[0-9a-z]{16}$/) as string;
  return {
    ...NOT_BEFORE,
    id: mark,
    userId,
    settledAt: UNSETTLED,
    isOwn: expect.any(Boolean) as boolean,
    ...more,
  };
}

/**
 * The rows that {@link accesses} expect: two live sessions, an expired one, a key that signs, and the next key; a not-before of a
 * user, and one of everybody.
 */
export async function fill({ sessions, keys, notBefores }: Storage): Promise<void> {
  await sessions.insert(row('a'));
  await sessions.insert(row('b', { createdAt: NOW - 2 * HOUR }));
  await sessions.insert(row('expired', { expiresAt: NOW - 1 }));
  await keys.insertUnlessTaken(key(1));
  await keys.insertUnlessTaken(key(2, { activeAt: NOW + HOUR }));
  await notBefores.insert({ ...NOT_BEFORE, userId: 'ann' });
  await notBefores.insert({ ...NOT_BEFORE, userId: undefined, createdAt: NOW - 1 });
}

/** All rows of the three tables. */
export async function contents(dataSource: DataSource): Promise<unknown> {
  return [
    await dataSource.getRepository(SessionEntity).find({ order: { id: 'ASC' } }),
    await dataSource.getRepository(SessionKeyEntity).find({ order: { kid: 'ASC' } }),
    await dataSource.getRepository(NotBeforeEntity).find({ order: { id: 'ASC' } }),
  ];
}

export async function clear(dataSource: DataSource): Promise<void> {
  for (const entity of SESSION_ENTITIES) await dataSource.getRepository(entity).clear();
}

type Access = [what: string, run: (on: Storage) => Promise<unknown>, result: unknown];

const TOKEN = { sessionId: 'a', generation: 1, issuedAt: NOW, tokenId: 't' };

/** Every database access of the library, and its expected result. */
export function accesses(kind: DatabaseKind): Access[] {
  const returning: Access[] = [
    [
      'redeem',
      async ({ sessions }) => sessions.redeem(TOKEN, HASH, NOW),
      expect.objectContaining({ id: 'a' }),
    ],
    [
      'prove',
      async ({ sessions }) => sessions.prove({ id: 'a', secretHash: HASH }, 2, NOW),
      expect.objectContaining({ id: 'a' }),
    ],
  ];
  return [
    ['insert', async ({ sessions }) => sessions.insert(row('new')), undefined],
    ['find', async ({ sessions }) => sessions.find('a'), row('a')],
    [
      'findPageForUser',
      async ({ sessions }) => sessions.findPageForUser('ann', NOW, 10),
      { rows: [expect.objectContaining({ id: 'b' }), row('a')], hasMore: false },
    ],
    [
      'findIdsForUser',
      async ({ sessions }) => (await sessions.findIdsForUser('ann', NOW)).toSorted(),
      ['a', 'b'],
    ],
    [
      'advance',
      async ({ sessions }) => sessions.advance(row('a'), { generation: 2, redeemedBy: null }, NOW),
      expect.objectContaining({ id: 'a', generation: 2 }),
    ],
    ...(kind.name === 'mysql' ? [] : returning),
    ['revoke', async ({ sessions }) => sessions.revoke('a', NOW, 'revoked'), ENDED],
    ['revoke with a secret', async ({ sessions }) => sessions.revoke('a', NOW, 'replaced', HASH), ENDED],
    ['revokeStolen', async ({ sessions }) => sessions.revokeStolen(row('a')), true],
    [
      'revokeMany',
      async ({ sessions }) =>
        (await sessions.revokeMany(['a', 'b', 'expired', 'none'], NOW, 'revoked'))
          .map(({ id }) => id)
          .toSorted(),
      ['a', 'b'],
    ],
    [
      'endMany',
      async ({ sessions }) =>
        (await sessions.endMany(['a', 'b', 'expired', 'none'], NOW, 'revoked'))
          .map(({ id }) => id)
          .toSorted(),
      ['a', 'b'],
    ],
    ['findIdsBetween', async ({ sessions }) => sessions.findIdsBetween('', 'c', NOW, 5), ['a', 'b']],
    ['findIdsBetween of a batch', async ({ sessions }) => sessions.findIdsBetween('', 'c', NOW, 1), ['a']],
    [
      'the not-befores of a session',
      async ({ notBefores }) => notBefores.findFor([newSessionId(NOW)], 'ann'),
      [notBefore(undefined, { createdAt: NOW - 1 }), notBefore('ann')],
    ],
    [
      'the not-befores of a later session',
      async ({ notBefores }) => notBefores.findFor([newSessionId(NOW + 1)], 'ann'),
      [],
    ],
    [
      'the not-befores of another user',
      async ({ notBefores }) => notBefores.findFor([newSessionId(NOW)], 'Ann'),
      [notBefore(undefined, { createdAt: NOW - 1 })],
    ],
    ['not-befores since', async ({ notBefores }) => (await notBefores.since(NOW)).length, 2],
    [
      'not-befores that are not settled',
      async ({ notBefores }) => notBefores.findUnsettled(NOW),
      [notBefore(undefined, { createdAt: NOW - 1 })],
    ],
    [
      'settle and remove not-befores',
      async ({ notBefores }) => {
        const [first] = await notBefores.findUnsettled(NOW);
        await notBefores.settle(first!, NOW);
        await notBefores.removeSettled(NOW + 1);
        return (await notBefores.since(0)).map(({ userId }) => userId);
      },
      ['ann'],
    ],
    [
      'insert a not-before',
      async ({ notBefores }) => notBefores.insert({ ...NOT_BEFORE, userId: 'bob' }),
      notBefore('bob'),
    ],
    ['revokedSince', async ({ sessions }) => sessions.revokedSince(0), []],
    ['updateContent of data', async ({ sessions }) => sessions.updateContent('a', 'data', 1, NOW), true],
    [
      'updateContent of claims of a version',
      async ({ sessions }) => sessions.updateContent('a', 'claims', 1, NOW, 1),
      true,
    ],
    [
      'updateContent of another version',
      async ({ sessions }) => sessions.updateContent('a', 'data', 1, NOW, 2),
      false,
    ],
    ['rename', async ({ sessions }) => sessions.rename('a', 'Phone', NOW), true],
    ['removeExpired', async ({ sessions }) => sessions.removeExpired(NOW, 10), 1],
    [
      'findAll keys',
      async ({ keys }) => keys.findAll('access'),
      [key(1), expect.objectContaining({ sequence: 2 })],
    ],
    ['insertUnlessTaken of a key', async ({ keys }) => keys.insertUnlessTaken(key(3)), true],
    [
      'insertUnlessTaken of a key whose place is taken',
      async ({ keys }) => keys.insertUnlessTaken(key(2, { kid: 'other' })),
      false,
    ],
    ['activate a key', async ({ keys }) => keys.activate(key(2), NOW), true],
    ['activate a key that is active', async ({ keys }) => keys.activate(key(1), NOW), false],
    ['replaceMaterial of a key', async ({ keys }) => keys.replaceMaterial(key(1), '{"sealed":1}'), undefined],
    ['remove keys', async ({ keys }) => keys.remove(['key-1', 'key-2', 'none']), undefined],
    ['the clock', async ({ dataSource }) => new DatabaseClock(dataSource).synchronise(), expect.any(Number)],
    [
      'the check of the tables',
      async ({ dataSource }) =>
        openSessionDataSource(dataSource, { sqliteConnection: 'shared' }, new Logger()),
      expect.objectContaining({ isOwn: false }),
    ],
  ];
}

import { describe, expect, test } from 'vitest';
import { firstSessionId, newSessionId } from '../protocol/session-id.js';
import type { NotBefore } from '../storage/not-before.store.js';
import { RevocationMemory } from './revocation-memory.js';

const NOW = Date.UTC(2030, 0, 1);
const KEPT = newSessionId(NOW - 1);

function notBefore(more: Partial<NotBefore> = {}): NotBefore {
  const facts = { userId: undefined, notBefore: NOW, except: undefined, reason: 'admin', createdAt: NOW };
  return { id: 'mark', ...facts, settledAt: NOW, isOwn: false, ...more };
}

describe('a not-before', () => {
  test.each<[string, Partial<NotBefore>, { sessionId?: string; userId?: string | number }, boolean]>([
    ['ends a session of its millisecond', {}, {}, true],
    ['ends a session from long before', {}, { sessionId: newSessionId(0) }, true],
    ['ends none of a millisecond later', {}, { sessionId: firstSessionId(NOW + 1) }, false],
    ['of its user', { userId: 'ann' }, {}, true],
    ['of another user', { userId: 'bob' }, {}, false],
    ['of a user whose name differs in case', { userId: 'Ann' }, {}, false],
    ['of the number', { userId: 1 }, { userId: 1 }, true],
    ['of the number, for the text', { userId: 1 }, { userId: '1' }, false],
    ['of the text, for the number', { userId: '1' }, { userId: 1 }, false],
    ['except this one', { userId: 'ann', except: KEPT }, { sessionId: KEPT }, false],
    ['except another one', { userId: 'ann', except: KEPT }, {}, true],
  ])('%s', (_, facts, session, ends) => {
    const memory = new RevocationMemory();
    memory.addNotBefore(notBefore(facts), NOW + 5, NOW);
    const asked = { sessionId: newSessionId(NOW), userId: 'ann', ...session };
    const end = memory.endOf(asked);
    expect(end && [end.endedAt, end.reason]).toEqual(ends ? [NOW + 5, 'admin'] : undefined);
    expect(memory.hasNotBefore(notBefore(facts))).toBe(true);
    expect(memory.hasNotBefore(notBefore({ ...facts, id: 'other' }))).toBe(false);
  });

  test('stands beside the others of the user, whatever their exceptions', () => {
    const memory = new RevocationMemory();
    const [first, second] = [newSessionId(NOW - 2), newSessionId(NOW - 1)];
    memory.addNotBefore(notBefore({ id: '1', userId: 'ann', except: first }), NOW, NOW);
    memory.addNotBefore(
      notBefore({ id: '2', userId: 'ann', except: second, notBefore: NOW + 1 }),
      NOW + 1,
      NOW,
    );
    for (const sessionId of [first, second]) {
      expect(memory.endOf({ sessionId, userId: 'ann' })).toBeDefined();
    }
  });

  test('is forgotten', () => {
    const memory = new RevocationMemory();
    const session = { sessionId: newSessionId(NOW), userId: 'ann' };
    memory.addNotBefore(notBefore(), NOW, NOW);
    memory.addNotBefore(notBefore({ userId: 'ann' }), NOW + 1, NOW);
    memory.forget(NOW + 1);
    expect(memory.hasNotBefore(notBefore())).toBe(false);
    expect(memory.endOf(session)).toMatchObject({ endedAt: NOW + 1 });
    memory.forget(NOW + 2);
    expect(memory.endOf(session)).toBeUndefined();
  });

  test('leaves the reason of a session that was revoked alone', () => {
    const memory = new RevocationMemory();
    const session = { sessionId: newSessionId(NOW), userId: 'ann' };
    memory.add(session.sessionId, { endedAt: NOW, reason: 'theft' }, NOW);
    memory.addNotBefore(notBefore(), NOW, NOW);
    expect(memory.endOf(session)).toMatchObject({ reason: 'theft' });
  });
});

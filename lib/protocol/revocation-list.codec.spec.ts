import { describe, expect, it } from 'vitest';
import {
  decodeRevocationList,
  digestOfUser,
  encodeRevocationList,
  type RevocationList,
} from './revocation-list.codec.js';
import { newSessionId } from './session-id.js';

const NOW = Date.UTC(2030, 0, 1);
const ids = Array.from({ length: 5 }, (_, n) => newSessionId(NOW + n));

const list: RevocationList = {
  issuer: 'https://accounts.example.com',
  nonce: 'once',
  age: 17,
  keep: 1_020_000,
  cursor: 'abc.5.6',
  since: undefined,
  sessions: [
    { id: ids[0]!, reason: 'logout' },
    { id: ids[1]!, reason: '__proto__' },
    { id: ids[2]!, reason: 'logout' },
  ],
  notBefores: [
    { user: digestOfUser('ann'), notBefore: NOW, except: ids[3], reason: 'password_change' },
    { user: undefined, notBefore: NOW, except: undefined, reason: 'breach' },
  ],
};
const text = encodeRevocationList(list);
const changed = (change: object) => JSON.stringify({ ...(JSON.parse(text) as object), ...change });
const byId = (a: { id: string }, b: { id: string }) => (a.id < b.id ? -1 : 1);

describe('a list of revocations', () => {
  it.each([
    list,
    { ...list, since: 'abc.1.2', sessions: [], notBefores: [] },
    { ...list, issuer: undefined },
  ])('comes back as it was', (each) => {
    const decoded = decodeRevocationList(encodeRevocationList(each))!;
    expect({ ...decoded, sessions: decoded.sessions.toSorted(byId) }).toEqual({
      ...each,
      sessions: each.sessions.toSorted(byId),
    });
  });

  it('needs 22 characters for each session', () => {
    const sessions = Array.from({ length: 1_000 }, () => ({ id: newSessionId(NOW), reason: 'revoked' }));
    expect(encodeRevocationList({ ...list, sessions }).length).toBeLessThan(22 * 1_000 + 400);
  });

  it.each([
    '',
    'null',
    '[]',
    '5',
    '{}',
    changed({ nonce: 5 }),
    changed({ age: -1 }),
    changed({ age: 1.5 }),
    changed({ keep: '5' }),
    changed({ cursor: undefined }),
    changed({ since: 5 }),
    changed({ iss: {} }),
    changed({ sessions: [] }),
    changed({ sessions: null }),
    changed({ sessions: { logout: 5 } }),
    changed({ sessions: { logout: 'AAAA' } }),
    changed({ sessions: { logout: Buffer.alloc(16).toString('base64url') } }),
    changed({ before: {} }),
    changed({ before: [null] }),
    changed({ before: [['user', 'later', null, 'reason']] }),
    changed({ before: [[5, NOW, null, 'reason']] }),
    changed({ before: [['user', NOW, 'junk', 'reason']] }),
    changed({ before: [['user', NOW, null, 5]] }),
    changed({ before: [['user', NOW]] }),
  ])('is nothing else: %s', (junk) => {
    expect(decodeRevocationList(junk)).toBeUndefined();
  });
});

describe('the digest of a user', () => {
  it('tells a number from a text, and has nothing of either', () => {
    const digests = ['1', 1, 'ann', 'Ann'].map(digestOfUser);
    expect(new Set(digests).size).toBe(4);
    for (const digest of digests) expect(digest).toMatch(/^[\w-]{22}$/);
  });
});

import type { JWTPayload } from 'jose';
import { describe, expect, it } from 'vitest';
import { InvalidClaimsError } from '../errors/session.errors.js';
import type { JsonValue } from '../types/json.js';
import {
  checkClaims,
  describeLargestClaim,
  fromPayload as readPayload,
  RESERVED_CLAIMS,
  type TokenSubject,
  toPayload,
  UNPROVEN_OVERHEAD,
} from './access-token.payload.js';

const TIMES = { iat: 1_900_000_000, exp: 1_900_000_900 };
const subject = {
  sessionId: '0190abcd-0000-7000-8000-000000000001',
  userId: 'ann',
  claims: {},
  unproven: undefined,
};
const PREIMAGE = '0123456789abcdefABCDEF';
const ACTOR = '0190abcd-0000-7000-8000-000000000002';
const act = { sub: 'root', sid: ACTOR };
const payload = { sub: 'ann', sid: '0190abcd-0000-7000-8000-000000000001', ...TIMES };

const ANYBODY = { issuer: undefined, audience: undefined };
const fromPayload = (token: unknown) => readPayload(token, ANYBODY);

/** The payload that a verifier decodes. */
function payloadOf(each: TokenSubject): JWTPayload {
  return JSON.parse(JSON.stringify(toPayload(each, TIMES))) as JWTPayload;
}

/** The number of characters of a payload in its token. */
function encodedLength(made: JWTPayload): number {
  return Buffer.from(JSON.stringify(made)).toString('base64url').length;
}

describe('the payload of an access token', () => {
  it.each([1, '1', 0, -5, Number.MAX_SAFE_INTEGER, '{"i":1}', '用户', 'null', 'true'])(
    'brings back the user id %j with its type, and has it as text in "sub"',
    (userId) => {
      const made = payloadOf({ ...subject, userId });
      expect(made.sub).toBe(String(userId));
      expect(fromPayload(made)?.userId).toBe(userId);
    },
  );

  it.each<JsonValue>([
    null,
    true,
    false,
    0,
    -1.5,
    '',
    'text',
    [],
    [1, { a: null }],
    {},
    { role: 'admin', nested: { list: [1] } },
    { uid2: 1, Sub: 2, gen_: 3 },
  ])('brings back the claims %j', (claims) => {
    expect(fromPayload(payloadOf({ ...subject, claims }))?.claims).toEqual(claims);
  });

  it('has the members of an object as claims of its own, so that other services read them', () => {
    expect(payloadOf({ ...subject, claims: { role: 'admin' } })).toEqual({
      role: 'admin',
      sub: 'ann',
      sid: '0190abcd-0000-7000-8000-000000000001',
      ...TIMES,
    });
  });

  it('brings back the generation of an unproven token', () => {
    const unproven = { generation: 3, issuedAt: 1_900_000_000_123, preimage: PREIMAGE };
    const made = payloadOf({ ...subject, unproven });
    expect(made['gen']).toEqual([3, 1_900_000_000_123, PREIMAGE]);
    expect(fromPayload(made)?.unproven).toEqual(unproven);
  });

  it.each([1, '1', 0, '用户'])('brings back the actor %j with its type, and with its session', (userId) => {
    const actor = { userId, sessionId: ACTOR };
    const made = payloadOf({ ...subject, actor: { ...actor, reason: 'case 1' } });
    expect(made['act']).toEqual({
      sub: String(userId),
      sid: ACTOR,
      ...(typeof userId === 'number' && { uid: userId }),
    });
    expect(fromPayload(made)?.actor).toEqual(actor);
  });

  it.each([undefined, null])('says nothing of an actor if it is %j', (actor) => {
    const made = payloadOf({ ...subject, actor });
    expect(made).toEqual(payload);
    expect(fromPayload(made)?.actor).toBeUndefined();
  });

  it('says nothing of generations once it is proven', () => {
    expect(payloadOf(subject)).not.toHaveProperty('gen');
    expect(fromPayload(payload)?.unproven).toBeUndefined();
  });

  it('gives its times in milliseconds', () => {
    expect(fromPayload(payload)).toMatchObject({
      issuedAt: 1_900_000_000_000,
      expiresAt: 1_900_000_900_000,
    });
  });

  it('does not give the registered claims out as the application’s', () => {
    const registered = { iss: 'issuer', aud: 'audience' };
    expect(fromPayload({ ...payload, ...registered, role: 'admin' })?.claims).toEqual({ role: 'admin' });
  });

  it('lets no claim stand in for one of its own', () => {
    const claims = { sub: 'eve', sid: 'other', role: 'admin' };
    expect(payloadOf({ ...subject, claims })).toMatchObject({
      sub: 'ann',
      sid: '0190abcd-0000-7000-8000-000000000001',
    });
  });

  it('may have a claim that is called __proto__', () => {
    const claims = JSON.parse('{"__proto__":{"admin":true}}') as JsonValue;
    expect(JSON.stringify(payloadOf({ ...subject, claims }))).toContain('"__proto__":{"admin":true}');
  });

  it.each<Record<string, unknown>>([
    { sub: undefined },
    { sub: 1 },
    { sid: undefined },
    { sid: 1 },
    { iat: undefined },
    { iat: '1900000000' },
    { exp: undefined },
    { exp: null },
    { sub: '' },
    { sid: 'a session' },
    { sid: payload.sid.toUpperCase() },
    { iat: -1 },
    { iat: 1.5 },
    { exp: Number.POSITIVE_INFINITY },
    { exp: 2 ** 53 },
    { exp: TIMES.exp + 0.5 },
    { exp: TIMES.iat - 1 },
    { exp: [TIMES.exp] },
    { nbf: 1 },
    { jti: 'id' },
    { uid: 1.5, sub: '1.5' },
    { gen: [1, 2] },
    { gen: [1, 2, 3] },
    { gen: [1, 2, PREIMAGE, 4] },
    { gen: [-1, 2, PREIMAGE] },
    { gen: [1, 1.5, PREIMAGE] },
    { uid: '1' },
    { sub: '1', uid: 2 },
    { sub: '01', uid: 1 },
    { act: null },
    { act: 'root' },
    { act: [] },
    { act: {} },
    { act: { sub: 'root' } },
    { act: { sid: ACTOR } },
    { act: { ...act, sub: '' } },
    { act: { ...act, sub: 1 } },
    { act: { ...act, sid: 'a session' } },
    { act: { ...act, sid: payload.sid } },
    { act: { ...act, uid: 1 } },
    { act: { ...act, sub: '01', uid: 1 } },
    { act: { ...act, sub: '1', uid: '1' } },
    { act: { ...act, iss: 'issuer' } },
    { act: { ...act, act } },
    { act, gen: [1, 2, PREIMAGE] },
    { gen: null },
    { gen: 1 },
    { gen: [] },
    { gen: [1] },
    { gen: ['1', 2, PREIMAGE] },
    { gen: [1, null, PREIMAGE] },
    { gen: { 0: 1, 1: 2, 2: PREIMAGE, length: 3 } },
  ])('is refused with a claim that this package would not write: %j', (wrong) => {
    expect(fromPayload({ ...payload, ...wrong })).toBeUndefined();
  });

  it.each([null, undefined, 1, 'text', [], true])('is refused when it is %j', (other) => {
    expect(fromPayload(other)).toBeUndefined();
  });

  it('is refused with an issuer or an audience that is not the expected one, lists included', () => {
    const named = { ...payload, iss: 'issuer', aud: 'audience' };
    const expected = { issuer: 'issuer', audience: 'audience' };
    expect(readPayload(named, expected)).toBeDefined();
    for (const wrong of [
      { iss: 'other' },
      { iss: undefined },
      { aud: 'other' },
      { aud: ['audience'] },
      { aud: ['audience', 'other'] },
    ]) {
      expect(readPayload({ ...named, ...wrong }, expected)).toBeUndefined();
    }
  });

  it('grows by no more than is set aside when it is unproven', () => {
    const longest = { generation: 2 ** 32 - 1, issuedAt: 2 ** 48 - 1, preimage: PREIMAGE };
    for (let padding = 0; padding < 3; padding++) {
      const each = { ...subject, claims: 'x'.repeat(padding) };
      const growth =
        encodedLength(payloadOf({ ...each, unproven: longest })) - encodedLength(payloadOf(each));
      expect(growth).toBeLessThanOrEqual(UNPROVEN_OVERHEAD);
    }
  });
});

describe('checkClaims', () => {
  it.each(RESERVED_CLAIMS)('refuses the reserved name "%s", whatever its value', (name) => {
    for (const value of [1, null, undefined, {}]) {
      expect(() => checkClaims({ [name]: value })).toThrow(
        new InvalidClaimsError(`The claim name "${name}" is reserved. Rename the claim.`),
      );
    }
  });

  it.each([...RESERVED_CLAIMS])('lets "%s" through where it is not a name of a claim', (name) => {
    expect(() => checkClaims({ nested: { [name]: 1 } })).not.toThrow();
    expect(() => checkClaims([name])).not.toThrow();
    expect(() => checkClaims(name)).not.toThrow();
  });

  it('reserves every name that signing writes', () => {
    const unproven = { generation: 1, issuedAt: 2, preimage: PREIMAGE };
    const written = Object.keys(
      toPayload(
        { ...subject, userId: 1, claims: null, unproven, actor: { userId: 1, sessionId: ACTOR } },
        { ...TIMES, iss: 'issuer', aud: 'audience' },
      ),
    );
    expect(RESERVED_CLAIMS).toEqual(expect.arrayContaining(written));
  });

  it('takes names that objects inherit for names like any other', () => {
    expect(() => checkClaims({ constructor: 1, toString: 2, hasOwnProperty: 3 })).not.toThrow();
  });

  it.each([undefined, Number.NaN, 1n, () => 1, new Date(0), { when: new Date(0) }])(
    'refuses what is not JSON (%#)',
    (claims) => {
      expect(() => checkClaims(claims)).toThrow(InvalidClaimsError);
      expect(() => checkClaims(claims)).toThrow(/^Claims must be JSON: claims/);
    },
  );
});

describe('describeLargestClaim', () => {
  it('names it, with its size in bytes', () => {
    expect(describeLargestClaim({ small: 1, big: 'ü'.repeat(10), list: [1, 2] })).toBe(
      'The largest claim is "big" with 22 bytes',
    );
  });

  it('gives the size of claims that are no object', () => {
    expect(describeLargestClaim([1, 2, 3])).toBe('The claims have 7 bytes');
    expect(describeLargestClaim('üü')).toBe('The claims have 6 bytes');
  });
});

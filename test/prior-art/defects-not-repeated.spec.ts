import { createHash, createSecretKey, randomBytes, timingSafeEqual } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { exportJWK, generateKeyPair, importJWK, type JWK, jwtVerify } from 'jose';
import {
  type IssuedSession,
  type IssuedToken,
  type JsonValue,
  SESSION_ENTITIES,
  type SessionModuleOptions,
  type SessionService,
  SessionEntity,
  SessionError,
  SessionKeyEntity,
} from 'nestjs-session-tokens';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { newSessionId } from '../../lib/protocol/session-id.js';
import { KeySealer } from '../../lib/keys/key-sealer.js';
import {
  encodeRefreshToken,
  parseRefreshToken,
  type RefreshToken,
} from '../../lib/protocol/refresh-token.codec.js';
import { hashSessionSecret, preimageOf } from '../../lib/protocol/session-secret.js';
import { databases } from '../support/databases.js';
import { DAY, HOUR, MINUTE, pass, SECOND } from '../support/time.js';
import { decode, OVER, recordEvents, STRICT, THEFT, TRY_REFRESH } from './expectations.js';
import { untyped } from '../support/untyped.js';
import { insist, useWorld, type World } from '../support/world.js';

// Records the calls of node:crypto, without changing it.
vi.mock('node:crypto', { spy: true });

const SECRET = 'the secret of this application, known to it alone';
/** The default reuse window. */
const WINDOW = 90 * SECOND;

/** Every value in every table of the module. */
async function dump({ dataSource }: World): Promise<string[]> {
  const values: string[] = [];
  for (const entity of SESSION_ENTITIES) {
    const { tableName } = dataSource.getMetadata(entity);
    const rows = await dataSource.query<Record<string, unknown>[]>(`SELECT * FROM ${tableName}`);
    values.push(...rows.flatMap((row) => Object.values(row).map(String)));
  }
  return values;
}

/** The refresh key of an application without a secret. */
async function storedRefreshKey(world: World) {
  const [key] = await world.keys('refresh');
  const { k } = JSON.parse(key!.material) as { k: string };
  return { keyId: key!.sequence, key: createSecretKey(k, 'base64url') };
}

/** Columns and indexes of the table, read from the database. */
async function indexesOf({ dataSource }: World, entity: typeof SessionEntity | typeof SessionKeyEntity) {
  const queryRunner = dataSource.createQueryRunner();
  try {
    const table = await queryRunner.getTable(dataSource.getMetadata(entity).tablePath);
    // TypeORM gives the columns of an index of PostgreSQL in any order.
    return table!.indices.map(({ columnNames, isUnique }) => ({
      columns: columnNames.toSorted((a, b) => a.localeCompare(b)),
      isUnique,
    }));
  } finally {
    await queryRunner.release();
  }
}

/** JWTs that name keys which do not exist. */
function junk(count: number, good: string): string[] {
  const [, payload, signature] = good.split('.');
  return Array.from({ length: count }, (_, index) => {
    const header = { alg: 'HS256', typ: 'at+jwt', kid: `junk-${index}` };
    return [Buffer.from(JSON.stringify(header)).toString('base64url'), payload, signature].join('.');
  });
}

async function noKeys(): Promise<never> {
  throw new Error('no keys');
}

function increment(present: JsonValue): JsonValue {
  return { count: (present as { count: number }).count + 1 };
}

describe.each(databases)('the measured defects of the older libraries are not here, on $name', (kind) => {
  const world = useWorld(kind);

  describe('1: listing gave one session, or nothing at all', () => {
    it('gives all sessions of the user, newest first, and of nobody else', async () => {
      const sessions = await world.process();
      const ids: string[] = [];
      for (let count = 0; count < 5; count++) {
        ids.unshift((await sessions.tokens.issue({ userId: 'ann' })).session.id);
        await sessions.tokens.issue({ userId: 'bob' });
        pass(MINUTE);
      }
      expect((await sessions.findAllForUser('ann')).sessions.map(({ id }) => id)).toEqual(ids);
    });

    it('gives an empty list where there is none', async () => {
      const sessions = await world.process();
      await expect(sessions.findAllForUser('nobody')).resolves.toMatchObject({ sessions: [] });
    });
  });

  describe('2: keys and tokens were predictable, and comparisons told about them', () => {
    afterEach(() => vi.restoreAllMocks());

    it('makes everything that must be secret from the cryptographic generator', async () => {
      vi.spyOn(Math, 'random').mockReturnValue(0.5);
      const sessions = await world.process();
      const [a, b] = [
        await sessions.tokens.issue({ userId: 'ann' }),
        await sessions.tokens.issue({ userId: 'ann' }),
      ];
      const [left, right] = [a, b].map(({ refreshToken }) => parseRefreshToken(refreshToken.token)!);
      expect(left!.issuedAt).toBe(right!.issuedAt);
      expect(left!.sessionId).not.toBe(right!.sessionId);
      expect(left!.tokenId).not.toBe(right!.tokenId);
      expect(left!.sessionSecret).not.toEqual(right!.sessionSecret);
      expect(left!.sessionSecret).toHaveLength(16);
    });

    it.each([
      ['HS256', 256],
      ['ES256', 256],
      ['EdDSA', 256],
      ['RS256', 2048],
    ] as const)('makes keys for %s of %i bits', async (algorithm, bits) => {
      await world.process({ accessToken: { algorithm } });
      const [access] = await world.keys('access');
      const { k, d, n } = JSON.parse(access!.material) as JWK;
      expect(Buffer.from((k ?? n ?? d)!, 'base64url')).toHaveLength(bits / 8);
      const [refresh] = await world.keys('refresh');
      const { k: refreshKey } = JSON.parse(refresh!.material) as { k: string };
      expect(Buffer.from(refreshKey, 'base64url')).toHaveLength(32);
    });

    it('compares macs and hashes of refresh tokens in constant time, where it compares them itself', async () => {
      const sessions = await world.process(STRICT);
      const { refreshToken } = await sessions.tokens.issue({ userId: 'ann' });
      pass(1);
      vi.mocked(timingSafeEqual).mockClear();
      // The third time the row says something else than expected, and is read. Before that the database compares the hash,
      // of which it is of no use to know a part: the secret that it was made from cannot be searched for by it.
      const next = await sessions.tokens.refresh(refreshToken.token);
      await sessions.tokens.refresh(next.refreshToken!.token);
      await expect(sessions.tokens.refresh(refreshToken.token)).rejects.toMatchObject(THEFT);
      const compared = vi.mocked(timingSafeEqual).mock.calls.map(([a]) => a.byteLength);
      expect(compared).toEqual(kind.name === 'mysql' ? [16, 43, 16, 43, 16, 43] : [16, 16, 16, 43]);
    });
  });

  describe('3: whoever read the tables could forge every token', () => {
    it('keeps no key in a form that anybody without the secret can open', async () => {
      const sessions = await world.process({ secret: SECRET });
      const { accessToken } = await sessions.tokens.issue({ userId: 'admin' });
      const keys = [...(await world.keys('access')), ...(await world.keys('refresh'))];
      expect(keys).toHaveLength(2);

      const thief = new KeySealer(['any other secret that the thief could think of']);
      for (const { kid, purpose, material } of keys) {
        const [header, ...rest] = material.split('.');
        expect(JSON.parse(Buffer.from(header!, 'base64url').toString())).toMatchObject({ enc: 'A256GCM' });
        expect(rest).toHaveLength(4);
        await expect(thief.open(material, { kid, purpose })).rejects.toMatchObject({
          code: 'keys_unavailable',
        });
      }

      const currentDate = new Date();
      const outcomes = new Set<unknown>();
      for (const value of await dump(world)) {
        for (const candidate of [Buffer.from(value), Buffer.from(value, 'base64url')]) {
          if (candidate.length === 0) continue;
          for (const key of [candidate, createHash('sha256').update(candidate).digest()]) {
            const verified = jwtVerify(accessToken.token, key, { currentDate });
            outcomes.add(await verified.then(() => key, String));
          }
        }
      }
      expect([...outcomes]).toEqual([expect.stringContaining('signature verification failed')]);
    });

    it.each([
      ['with', SECRET],
      ['without', false as const],
    ])('keeps no refresh token, nor its secret, %s a secret of the application', async (_, secret) => {
      const sessions = await world.process({ ...STRICT, secret });
      const issued = await sessions.tokens.issue({ userId: 'ann' });
      pass(1);
      const refreshed = await sessions.tokens.refresh(issued.refreshToken.token);
      await sessions.tokens.verify(refreshed.accessToken.token);
      const everything = (await dump(world)).join('\n');
      for (const { token } of [issued.refreshToken, refreshed.refreshToken!]) {
        const { sessionSecret } = parseRefreshToken(token)!;
        expect(everything).not.toContain(token);
        for (const encoding of ['hex', 'base64', 'base64url', 'latin1'] as const) {
          expect(everything).not.toContain(sessionSecret.toString(encoding).replace(/=+$/, ''));
        }
      }
      // The control: this search finds the hash, which must be there.
      const { sessionSecret } = parseRefreshToken(issued.refreshToken.token)!;
      expect(everything).toContain(hashSessionSecret(sessionSecret));
      // The preimage, which is computed from it and is in unproven access tokens, is not there either.
      expect(everything).not.toContain(preimageOf(sessionSecret));
    });

    it('refuses what is forged from the tables with the real refresh key, and blames nobody', async () => {
      const sessions = await world.process(STRICT);
      const events = recordEvents(sessions);
      const { session, refreshToken } = await sessions.tokens.issue({ userId: 'ann' });
      pass(1);
      const owners = await sessions.tokens.refresh(refreshToken.token);
      await sessions.tokens.verify(owners.accessToken.token);
      pass(1);

      const { keyId, key } = await storedRefreshKey(world);
      const [row] = await world.rows();
      const forge = (parts: Partial<RefreshToken>): string =>
        encodeRefreshToken(
          {
            keyId,
            sessionId: session.id,
            generation: row!.generation,
            issuedAt: row!.lastSeenAt,
            tokenId: parseRefreshToken(refreshToken.token)!.tokenId,
            sessionSecret: randomBytes(16),
            ...parts,
          },
          key,
        );
      const hash = Buffer.from(row!.secretHash, 'base64url');
      const secrets = [randomBytes(16), Buffer.alloc(16), hash.subarray(0, 16), hash.subarray(16)];
      const forgeries = secrets.flatMap((sessionSecret) =>
        [0, 1, 2, 3].map((generation) => forge({ sessionSecret, generation })),
      );
      for (const forgery of forgeries) {
        await expect(sessions.tokens.refresh(forgery)).rejects.toMatchObject(OVER);
      }
      // With the owner's secret the same forgery is accepted. So only the secret is missing.
      const { sessionSecret } = parseRefreshToken(refreshToken.token)!;
      await expect(
        sessions.tokens.refresh(forge({ sessionSecret, tokenId: 'ab'.repeat(8) })),
      ).resolves.toBeDefined();

      expect(events.map(({ type }) => type)).not.toContain('theft');
      await expect(sessions.find(session.id)).resolves.toMatchObject({ userId: 'ann' });
    });

    it('lets the owner go on after an attack with such forgeries', async () => {
      const sessions = await world.process(STRICT);
      const events = recordEvents(sessions);
      const { refreshToken } = await sessions.tokens.issue({ userId: 'ann' });
      const { key } = await storedRefreshKey(world);
      pass(1);
      const parts = parseRefreshToken(refreshToken.token)!;
      const forgery = encodeRefreshToken({ ...parts, sessionSecret: randomBytes(16) }, key);
      for (let count = 0; count < 5; count++) {
        await expect(sessions.tokens.refresh(forgery)).rejects.toMatchObject(OVER);
      }
      const refreshed = await sessions.tokens.refresh(refreshToken.token);
      await expect(sessions.tokens.verify(refreshed.accessToken.token)).resolves.toMatchObject({
        userId: 'ann',
      });
      expect(events.map(({ type }) => type)).toEqual(['created', 'refreshed']);
    });
  });

  describe('4: key rotation made everybody refresh, junk cost queries, processes raced at first start', () => {
    it('rotates the signing key without anybody having to refresh', async () => {
      const options = { signingKeys: { rotation: '2h' }, accessToken: { ttl: '8h' } };
      const [here, there] = [await world.process(options), await world.process(options)];
      const clients: IssuedSession[] = [];
      for (let minutes = 0; minutes < 7 * 60; minutes += 15) {
        clients.push(await (minutes % 2 === 0 ? here : there).tokens.issue({ userId: 'ann' }));
        pass(15 * MINUTE);
      }
      const kids = new Set(clients.map(({ accessToken }) => decode(accessToken.token, 'header')['kid']));
      expect(kids.size).toBeGreaterThanOrEqual(3);
      const users = new Set<unknown>();
      for (const { accessToken } of clients) {
        for (const each of [here, there]) users.add((await each.tokens.verify(accessToken.token)).userId);
      }
      expect(users).toEqual(new Set(['ann']));
    });

    it('rotates at any period, also one that four does not divide', async () => {
      const sessions = await world.process({ signingKeys: { rotation: '1001ms' } });
      await sessions.tokens.issue({ userId: 'ann' });
      pass(HOUR);
      await expect(sessions.tokens.issue({ userId: 'ann' })).resolves.toBeDefined();
      const keys = await world.keys('access');
      expect(keys).toHaveLength(2);
      expect(keys.filter(({ activeAt }) => !Number.isInteger(activeAt))).toEqual([]);
    });

    it('answers a hundred JWTs with unknown keys with one query, and none within the cooldown', async () => {
      const sessions = await world.process();
      const { accessToken } = await sessions.tokens.issue({ userId: 'ann' });
      const flood = () => {
        const verifications = junk(100, accessToken.token).map((token) => sessions.tokens.verify(token));
        return Promise.allSettled(verifications);
      };
      pass(11 * SECOND);
      await expect(world.queriesOf(flood)).resolves.toHaveLength(1);
      pass(9 * SECOND);
      await expect(world.queriesOf(flood)).resolves.toEqual([]);
      expect(await flood()).toMatchObject(
        Array.from({ length: 100 }, () => ({ status: 'rejected', reason: TRY_REFRESH })),
      );
    });

    it('asks nothing for tokens that are damaged, unsigned, or forged under a known key', async () => {
      const sessions = await world.process();
      const { accessToken, refreshToken } = await sessions.tokens.issue({ userId: 'ann' });
      pass(11 * SECOND);
      const forgedRefresh = encodeRefreshToken(
        parseRefreshToken(refreshToken.token)!,
        createSecretKey(randomBytes(32)),
      );
      const queries = await world.queriesOf(async () => {
        await expect(sessions.tokens.verify(`${accessToken.token.slice(0, -4)}AAAA`)).rejects.toThrow(
          SessionError,
        );
        await expect(sessions.tokens.verify('a.b.c')).rejects.toThrow(SessionError);
        await expect(sessions.tokens.verify('')).rejects.toThrow(SessionError);
        await expect(sessions.tokens.refresh(forgedRefresh)).rejects.toMatchObject(OVER);
        await expect(sessions.tokens.refresh('junk')).rejects.toMatchObject(OVER);
      });
      expect(queries).toEqual([]);
    });

    it('answers refresh tokens with unknown keys with one query at the most', async () => {
      const sessions = await world.process();
      const { refreshToken } = await sessions.tokens.issue({ userId: 'ann' });
      const parts = parseRefreshToken(refreshToken.token)!;
      const key = createSecretKey(randomBytes(32));
      const tokens = Array.from({ length: 50 }, (_, n) =>
        encodeRefreshToken({ ...parts, keyId: 9 + n }, key),
      );
      pass(11 * SECOND);
      const outcomes = new Set<unknown>();
      const queries = await world.queriesOf(async () => {
        for (const token of tokens) {
          const refreshed = sessions.tokens.refresh(token);
          outcomes.add(await refreshed.catch((error: unknown) => (error as SessionError).code));
        }
      });
      expect(outcomes).toEqual(new Set([OVER.code]));
      expect(queries).toHaveLength(1);
    });

    it('ends with one key of each kind when many processes start at once on an empty database', async () => {
      const connections = await Promise.all(Array.from({ length: 5 }, () => world.connect()));
      const processes = await Promise.all(
        connections.map(({ dataSource }) => world.process({ secret: SECRET }, dataSource)),
      );
      await expect(world.keys('access')).resolves.toHaveLength(1);
      await expect(world.keys('refresh')).resolves.toHaveLength(1);
      const { accessToken } = await processes[0]!.tokens.issue({ userId: 'ann' });
      const verified = await Promise.all(processes.map((each) => each.tokens.verify(accessToken.token)));
      expect(verified).toHaveLength(5);
    });
  });

  describe('5: two parallel refreshes of an honest client ended in “theft”', () => {
    it('lets ten at once succeed in two processes, whichever response arrives last, for several rounds', async () => {
      const [here, there] = [
        await world.process(),
        await world.process({}, (await world.connect()).dataSource),
      ];
      const events = [recordEvents(here), recordEvents(there)];
      let { refreshToken } = await here.tokens.issue({ userId: 'ann' });
      for (let round = 0; round < 5; round++) {
        pass(15 * MINUTE);
        const answers = await Promise.all(
          Array.from({ length: 10 }, (_, n) =>
            (n % 2 === 0 ? here : there).tokens.refresh(refreshToken.token),
          ),
        );
        // The client may end up with an access token of one response and the refresh token of another.
        const last = answers[(round * 3) % 10]!;
        await Promise.all(answers.map(({ accessToken }) => there.tokens.verify(accessToken.token)));
        refreshToken = last.refreshToken!;
      }
      expect(events.flat().filter(({ type }) => type === 'theft')).toEqual([]);
      expect((await here.findAllForUser('ann')).sessions).toHaveLength(1);
    });

    it('lets a late twin of the request that rotated succeed until what that one gave has settled and is used', async () => {
      const sessions = await world.process();
      const { refreshToken } = await sessions.tokens.issue({ userId: 'ann' });
      pass(15 * MINUTE);
      const first = await sessions.tokens.refresh(refreshToken.token);
      await sessions.tokens.verify(first.accessToken.token);
      pass(WINDOW - 1);
      await sessions.tokens.verify(first.accessToken.token);
      await expect(sessions.tokens.refresh(refreshToken.token)).resolves.toBeDefined();
      pass(1);
      await expect(sessions.tokens.refresh(refreshToken.token)).resolves.toBeDefined();
      await sessions.tokens.verify(first.accessToken.token);
      await expect(insist(sessions, refreshToken.token)).rejects.toMatchObject(THEFT);
    });

    it('asks a still later one to look again, and whoever has the newer tokens by then goes on', async () => {
      const sessions = await world.process();
      const events = recordEvents(sessions);
      const { refreshToken } = await sessions.tokens.issue({ userId: 'ann' });
      pass(15 * MINUTE);
      const first = await sessions.tokens.refresh(refreshToken.token);
      pass(WINDOW);
      await sessions.tokens.verify(first.accessToken.token);
      pass(5 * MINUTE);
      const late = sessions.tokens.refresh(refreshToken.token);
      await expect(late).rejects.toMatchObject({ code: 'look_again' });
      const { tokenId } = parseRefreshToken(refreshToken.token)!;
      await expect(
        sessions.tokens.refresh(first.refreshToken!.token, { lookedAgain: tokenId }),
      ).resolves.toBeDefined();
      expect(events.map(({ type }) => type)).toEqual(['created', 'refreshed', 'stale']);
    });
  });

  describe('6: after a theft the other party went on', () => {
    interface Split {
      /** The token whose use is the theft. */
      readonly caught: IssuedToken;
      readonly refreshTokens: readonly IssuedToken[];
      /** Access tokens that are accepted until then. Their use changes nothing. */
      readonly accessTokens: readonly IssuedToken[];
      readonly unproven: readonly IssuedToken[];
      readonly kind: 'sibling' | 'superseded';
      readonly behind: number;
    }

    /** Two parties hold this token. */
    const splits: [string, (sessions: SessionService, token: IssuedToken) => Promise<Split>][] = [
      [
        'one has moved on and the other comes with the token before',
        async (sessions, parent) => {
          const ahead = await sessions.tokens.refresh(parent.token);
          const { newAccessToken } = await sessions.tokens.verify(ahead.accessToken.token);
          const refreshTokens = [parent, ahead.refreshToken!];
          const accessTokens = [ahead.accessToken, newAccessToken!];
          return { caught: parent, refreshTokens, accessTokens, unproven: [], kind: 'superseded', behind: 1 };
        },
      ],
      [
        'both exchanged the same token and use what they got, and one refreshes a second time',
        async (sessions, parent) => {
          const [one, other] = [
            await sessions.tokens.refresh(parent.token),
            await sessions.tokens.refresh(parent.token),
          ];
          const used = [
            await sessions.tokens.verify(one.accessToken.token),
            await sessions.tokens.verify(other.accessToken.token),
          ];
          pass(1);
          const { refreshToken, accessToken } = await sessions.tokens.refresh(one.refreshToken!.token);
          return {
            caught: other.refreshToken!,
            refreshTokens: [parent, one.refreshToken!, other.refreshToken!, refreshToken!],
            accessTokens: used.map(({ newAccessToken }) => newAccessToken!),
            unproven: [accessToken],
            kind: 'sibling',
            behind: 0,
          };
        },
      ],
    ];

    describe.each([
      ['at first sight', STRICT, ['token_theft']],
      ['when the client has looked again', { reuseWindow: 0 }, ['look_again', 'token_theft']],
    ] as const)('%s', (_when, options, codes) => {
      it.each(splits)('puts both out when %s', async (_, split) => {
        const [here, there] = [await world.process(options), await world.process(options)];
        const events = recordEvents(here);
        const { session, refreshToken } = await here.tokens.issue({
          userId: 'ann',
          claims: { a: 1 },
          data: { b: 2 },
        });
        pass(1);
        const { caught, refreshTokens, accessTokens, unproven, ...state } = await split(here, refreshToken);
        pass(1);
        const { tokenId, issuedAt } = parseRefreshToken(caught.token)!;
        for (const code of codes) {
          // Until then nobody is signed out.
          for (const { token } of accessTokens) await here.tokens.verify(token);
          const lookedAgain = code === 'look_again' ? undefined : tokenId;
          const caughtNow = here.tokens.refresh(caught.token, { lookedAgain });
          await expect(caughtNow).rejects.toMatchObject({ code, stale: { sessionId: session.id } });
        }
        for (const { token } of [...accessTokens, ...unproven]) {
          await expect(here.tokens.verify(token)).rejects.toMatchObject(OVER);
        }
        const stolenAt = Date.now();

        pass(SECOND);
        for (const sessions of [here, there]) {
          for (const { token } of refreshTokens) {
            const again = { lookedAgain: parseRefreshToken(token)!.tokenId };
            await expect(sessions.tokens.refresh(token, again)).rejects.toMatchObject(OVER);
          }
          for (const { token } of [...accessTokens, ...unproven]) {
            await expect(sessions.tokens.verify(token)).rejects.toMatchObject(OVER);
          }
          await expect(sessions.find(session.id)).resolves.toBeNull();
          await expect(sessions.findAllForUser('ann')).resolves.toMatchObject({ sessions: [] });
        }
        const [row] = await world.rows();
        const emptied = { secretHash: '', claims: 'null', data: 'null', userAgent: null, ip: null };
        expect(row).toMatchObject({ revokedAt: stolenAt, ...emptied });
        const age = stolenAt - issuedAt;
        const stale = { sessionId: session.id, userId: 'ann', tokenId, age, ...state };
        expect(events.filter(({ type }) => type === 'theft')).toMatchObject([{ type: 'theft', ...stale }]);
        const seen = { type: 'stale', ...stale };
        expect(events.filter(({ type }) => type === 'stale')).toMatchObject(codes.length > 1 ? [seen] : []);
      });
    });
  });

  describe('7: an update of a missing session was a raw error, or silently nothing', () => {
    const updates: [string, (sessions: SessionService, id: string) => Promise<unknown>][] = [
      ['data', (sessions, id) => sessions.updateData(id, { a: 1 })],
      ['data by a function', (sessions, id) => sessions.updateData(id, () => ({ a: 1 }))],
      ['claims', (sessions, id) => sessions.updateClaims(id, { a: 1 })],
      ['claims by a function', (sessions, id) => sessions.updateClaims(id, () => ({ a: 1 }))],
    ];

    it.each(updates)('says that there is no such session to update: %s', async (_, update) => {
      const sessions = await world.process({ refreshToken: { ttl: '1h' } });
      const revoked = await sessions.tokens.issue({ userId: 'ann' });
      await sessions.revoke(revoked.session.id);
      const expired = await sessions.tokens.issue({ userId: 'ann' });
      pass(HOUR);
      const before = await world.rows();
      for (const id of [revoked.session.id, expired.session.id, '019f0000-1111-7222-8333-444455556666', '']) {
        await expect(update(sessions, id)).rejects.toMatchObject({
          name: 'SessionNotFoundError',
          code: 'session_not_found',
          sessionId: id,
        });
      }
      expect(await world.rows()).toEqual(before);
    });
  });

  describe('9: access tokens were no standard JWTs', () => {
    it('has header and claims of RFC 7519 and RFC 9068, times in seconds', async () => {
      const accessToken = { issuer: 'https://issuer.example', audience: 'the-api', ttl: '15m' };
      const sessions = await world.process({ accessToken });
      const issued = await sessions.tokens.issue({ userId: 'ann', claims: { role: 'admin' } });
      const [key] = await world.keys('access');
      expect(decode(issued.accessToken.token, 'header')).toEqual({
        alg: 'HS256',
        kid: key!.kid,
        typ: 'at+jwt',
      });
      const iat = Date.now() / SECOND;
      expect(decode(issued.accessToken.token, 'payload')).toEqual({
        iss: 'https://issuer.example',
        aud: 'the-api',
        sub: 'ann',
        sid: issued.session.id,
        iat,
        exp: iat + 15 * 60,
        role: 'admin',
      });
    });

    it('has neither issuer nor audience where none is set', async () => {
      const { accessToken } = await (await world.process()).tokens.issue({ userId: 'ann' });
      const payload = decode(accessToken.token, 'payload');
      expect(Object.keys(payload).toSorted()).toEqual(['exp', 'iat', 'sid', 'sub']);
    });

    it('is verified by a plain JWT library with the key from the database', async () => {
      const sessions = await world.process({ accessToken: { issuer: 'me', audience: 'you' } });
      const { accessToken } = await sessions.tokens.issue({ userId: 1 });
      const [stored] = await world.keys('access');
      const key = await importJWK(JSON.parse(stored!.material) as JWK, stored!.algorithm);
      const { payload } = await jwtVerify(accessToken.token, key, {
        issuer: 'me',
        audience: 'you',
        typ: 'at+jwt',
        algorithms: ['HS256'],
        currentDate: new Date(),
      });
      expect(payload.sub).toBe('1');
    });

    it.each(['ES256', 'EdDSA', 'RS256'])(
      'is verified by a plain JWT library with the public half of the application’s own %s key',
      async (alg) => {
        const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
        const jwk = { ...(await exportJWK(privateKey)), kid: 'own', alg };
        const sessions = await world.process({ signingKeys: { source: () => [jwk] } });
        const { accessToken } = await sessions.tokens.issue({ userId: 'ann' });
        const { protectedHeader } = await jwtVerify(accessToken.token, publicKey, {
          currentDate: new Date(),
        });
        expect(protectedHeader).toEqual({ alg, kid: 'own', typ: 'at+jwt' });
      },
    );
  });

  describe('10: there were no indexes, no migrations, no absolute end', () => {
    it('has indexes on user, expiry and revocation, and a unique one on the place of a key', async () => {
      await expect(indexesOf(world, SessionEntity)).resolves.toEqual(
        expect.arrayContaining([
          { columns: ['id', 'user_id'], isUnique: false },
          { columns: ['expires_at'], isUnique: false },
          { columns: ['revoked_at'], isUnique: false },
        ]),
      );
      await expect(indexesOf(world, SessionKeyEntity)).resolves.toContainEqual({
        columns: ['purpose', 'sequence'],
        isUnique: true,
      });
    });

    it('migrates to the very tables that the entities describe', async () => {
      const { upQueries } = await world.dataSource.driver.createSchemaBuilder().log();
      expect(upQueries.map(({ query }) => query)).toEqual([]);
    });

    it('ends a session at its absolute end, however often it is refreshed', async () => {
      const sessions = await world.process({ refreshToken: { ttl: '30d', absoluteTtl: '100d' } });
      const issued = await sessions.tokens.issue({ userId: 'ann' });
      const end = Date.now() + 100 * DAY;
      let refreshToken = issued.refreshToken;
      for (let day = 9; day <= 99; day += 10) {
        pass((day === 9 ? 9 : 10) * DAY);
        const refreshed = await sessions.tokens.refresh(refreshToken.token);
        refreshToken = refreshed.refreshToken!;
        expect(refreshToken.expiresAt.getTime()).toBe(Math.min(Date.now() + 30 * DAY, end));
      }
      vi.setSystemTime(end - 1);
      await expect(sessions.find(issued.session.id)).resolves.not.toBeNull();
      vi.setSystemTime(end);
      await expect(insist(sessions, refreshToken.token)).rejects.toMatchObject(OVER);
      await expect(sessions.find(issued.session.id)).resolves.toBeNull();
    });
  });

  describe('11: updates were lost, revoking all was a query per session, the pool deadlocked, errors were no errors', () => {
    it('loses none of twenty updates of data and of claims at once from two processes', async () => {
      const [here, there] = [
        await world.process(),
        await world.process({}, (await world.connect()).dataSource),
      ];
      const { session } = await here.tokens.issue({
        userId: 'ann',
        data: { count: 0 },
        claims: { count: 0 },
      });
      await Promise.all(
        Array.from({ length: 20 }, async (_, n) => {
          const sessions = n % 2 === 0 ? here : there;
          await Promise.all([
            sessions.updateData(session.id, increment),
            n < 5 ? sessions.updateClaims(session.id, increment) : undefined,
          ]);
        }),
      );
      await expect(here.find(session.id)).resolves.toMatchObject({
        data: { count: 20 },
        claims: { count: 5 },
      });
    });

    it('loses no update to a rotation, and no rotation to an update', async () => {
      const sessions = await world.process(STRICT);
      const { session, refreshToken } = await sessions.tokens.issue({ userId: 'ann', data: [] });
      pass(1);
      const [refreshed] = await Promise.all([
        sessions.tokens.refresh(refreshToken.token),
        ...Array.from({ length: 10 }, (_, n) =>
          sessions.updateData(session.id, (present) => untyped([...(untyped(present) as number[]), n])),
        ),
      ]);
      pass(1);
      await expect(sessions.tokens.refresh(refreshed.refreshToken!.token)).resolves.toBeDefined();
      expect((await sessions.find(session.id))!.data).toHaveLength(10);
    });

    it('revokes all sessions of a user with as many queries for forty as for two', async () => {
      const sessions = await world.process();
      const counts: number[] = [];
      for (const count of [2, 40]) {
        for (let each = 0; each < count; each++) await sessions.tokens.issue({ userId: count });
        const queries = await world.queriesOf(async () => {
          await expect(sessions.revokeAllForUser(count)).resolves.toBe(count);
        });
        counts.push(queries.length);
      }
      expect(counts[1]).toBe(counts[0]);
    });

    it('revokes thousands, too', async () => {
      const sessions = await world.process();
      const { session } = await sessions.tokens.issue({ userId: 'ann' });
      const [row] = await world.rows();
      const copies = Array.from({ length: 1_200 }, (_, n) => Object.assign({}, row, { id: newSessionId(n) }));
      const repository = world.dataSource.getRepository(SessionEntity);
      for (let at = 0; at < copies.length; at += 300) await repository.insert(copies.slice(at, at + 300));
      await expect(sessions.revokeAllForUser('ann', { except: session.id })).resolves.toBe(1_200);
      expect((await sessions.findAllForUser('ann')).sessions.map(({ id }) => id)).toEqual([session.id]);
    });

    it('needs no second connection while it holds one: a pool of one serves twenty requests at once', async () => {
      const { dataSource: one } = await world.connect({ poolSize: 1 });
      const sessions = await world.process(STRICT, one);
      const issued = await Promise.all(
        Array.from({ length: 20 }, (_, n) => sessions.tokens.issue({ userId: n, data: { count: 0 } })),
      );
      pass(1);
      const answers = await Promise.all(
        issued.map(async ({ session, refreshToken }) => {
          const { accessToken } = await sessions.tokens.refresh(refreshToken.token);
          await sessions.updateData(session.id, ({ count }) => ({ count: Number(count) + 1 }));
          return sessions.tokens.verify(accessToken.token);
        }),
      );
      expect(answers.map(({ userId }) => userId)).toEqual(issued.map(({ session }) => session.userId));
    });

    it('throws errors that are errors, with a code and a stack', async () => {
      const sessions = await world.process(STRICT);
      const { session, refreshToken } = await sessions.tokens.issue({ userId: 'ann' });
      pass(1);
      const second = await sessions.tokens.refresh(refreshToken.token);
      await sessions.tokens.verify(second.accessToken.token);
      pass(1);
      const wrong = { csrf: { mode: 'none' } } as unknown as SessionModuleOptions;
      const failures: [string, () => Promise<unknown>][] = [
        ['token_theft', () => sessions.tokens.refresh(refreshToken.token)],
        ['try_refresh', () => sessions.tokens.verify('junk')],
        ['session_over', () => sessions.tokens.refresh('junk')],
        ['session_not_found', () => sessions.updateData(session.id, {})],
        ['invalid_user_id', () => sessions.tokens.issue({ userId: '' })],
        ['invalid_claims', () => sessions.tokens.issue({ userId: 1, claims: { sub: 1 } })],
        ['invalid_data', () => sessions.tokens.issue({ userId: 1, data: untyped(1n) })],
        ['invalid_option', () => world.process(wrong)],
        ['keys_unavailable', () => world.process({ signingKeys: { source: noKeys } })],
      ];
      for (const [code, fail] of failures) {
        const error: unknown = await fail().catch((reason: unknown) => reason);
        expect(error).toBeInstanceOf(SessionError);
        expect(error).toBeInstanceOf(Error);
        expect(error).toMatchObject({
          code,
          name: expect.stringMatching(/^\w+Error$/),
          stack: expect.stringContaining('.ts'),
        });
      }
    });
  });

  describe('12: tokens were up to 1.1 kB per request', () => {
    it.each([
      ['HS256', 600],
      ['ES256', 650],
    ] as const)('stays small with 100 bytes of claims (%s: under %i bytes)', async (algorithm, limit) => {
      const sessions = await world.process({ ...STRICT, accessToken: { algorithm } });
      const claims = { roles: ['admin', 'editor'], tenant: 'x'.repeat(60) };
      expect(JSON.stringify(claims)).toHaveLength(100);
      const issued = await sessions.tokens.issue({ userId: '019f0000-1111-7222-8333-444455556666', claims });
      pass(1);
      const refreshed = await sessions.tokens.refresh(issued.refreshToken.token);
      const { newAccessToken } = await sessions.tokens.verify(refreshed.accessToken.token);
      for (const { token } of [issued.refreshToken, refreshed.refreshToken!]) {
        expect(token.length).toBeLessThan(100);
      }
      for (const { token } of [issued.accessToken, refreshed.accessToken, newAccessToken!]) {
        expect(token.length + issued.refreshToken.token.length).toBeLessThan(limit);
      }
    });
  });
});

describe('the sources of the library', () => {
  const root = fileURLToPath(new URL('../../lib', import.meta.url));

  async function sources(): Promise<{ name: string; text: string }[]> {
    const names = await readdir(root, { recursive: true });
    const files = names.filter((name) => name.endsWith('.ts') && !name.endsWith('.spec.ts'));
    return Promise.all(
      files.map(async (name) => ({ name, text: await readFile(`${root}/${name}`, 'utf8') })),
    );
  }

  it('use the non-cryptographic generator for waiting times only', async () => {
    const users = (await sources()).filter(({ text }) => text.includes('Math.random'));
    const lines = users.flatMap(({ text }) =>
      text.split('\n').filter((line) => line.includes('Math.random')),
    );
    expect(lines.filter((line) => !/\bdelay\(|\bwait\b/.test(line))).toEqual([]);
    expect(users.filter(({ text }) => /from 'node:crypto'|from 'jose'/.test(text))).toEqual([]);
  });

  it('use no broken hash', async () => {
    const weak = (await sources()).filter(({ text }) =>
      /(createHash|\bhash)\('(?!sha256')|\bmd5\b|\bsha1\b/i.test(text),
    );
    expect(weak.map(({ name }) => name)).toEqual([]);
  });

  it('compare in constant time wherever they make a mac or hash of a token', async () => {
    // Storage hashes nothing but names and texts, and lists of revocations nothing but user ids.
    const makers = (await sources()).filter(
      ({ name, text }) =>
        !/^storage\/|^protocol\/revocation-list/.test(name) &&
        /createHmac\(|createHash\(|\bhash\('/.test(text),
    );
    expect(makers.length).toBeGreaterThanOrEqual(2);
    expect(makers.filter(({ text }) => !text.includes('timingSafeEqual(')).map(({ name }) => name)).toEqual(
      [],
    );
    expect(makers.filter(({ text }) => /\.equals\(|Buffer\.compare/.test(text))).toEqual([]);
  });
});

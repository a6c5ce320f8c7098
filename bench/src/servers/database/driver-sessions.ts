import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { type CryptoKey, type JWTPayload, jwtVerify, SignJWT } from 'jose';
import { Pool, type PoolClient } from 'pg';
import { readEnvironment } from '../support/environment.js';
import { type AnyResponse, setHeader } from '../support/responses.js';

/**
 * Sessions with the bare driver: what the library does, by the shortest way there is, and nothing that it does beside
 * (no parallel requests, no theft, no key rotation, no options). The same columns, statements prepared by name, an access
 * token and a refresh token of the same size, the same cookies.
 */

const DAY = 86_400_000;
const ACCESS_TTL = 15 * 60_000;
const SESSION_TTL = 30 * DAY;

const TABLE = `
  CREATE TABLE IF NOT EXISTS user_session (
    id varchar(36) PRIMARY KEY, user_id varchar(255) NOT NULL, secret_hash varchar(43) NOT NULL, claims text NOT NULL,
    data text NOT NULL, version int NOT NULL, generation int NOT NULL, redeemed_by varchar(16),
    created_at bigint NOT NULL, last_seen_at bigint NOT NULL, expires_at bigint NOT NULL, revoked_at bigint, revoked_reason varchar(16),
    user_agent varchar(255), ip varchar(64)
  );
  CREATE INDEX IF NOT EXISTS ix_user_session_user_id ON user_session (user_id, id);
  CREATE INDEX IF NOT EXISTS ix_user_session_expires_at ON user_session (expires_at);
  CREATE INDEX IF NOT EXISTS ix_user_session_revoked_at ON user_session (revoked_at) WHERE revoked_at IS NOT NULL`;

const INSERT = `
  INSERT INTO user_session (id, user_id, secret_hash, claims, data, version, generation, redeemed_by,
    created_at, last_seen_at, expires_at, revoked_at, user_agent, ip)
  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`;

/** The expiry is indexed: it moves only when that gains one per cent, so that the update can be a HOT one. */
const EXPIRY = `CASE WHEN $5 - expires_at >= ${SESSION_TTL / 100} THEN $5 ELSE expires_at END`;

const SET = `
  SET generation = $2 + 1, redeemed_by = $3, last_seen_at = $4, expires_at = ${EXPIRY}`;

const ADVANCE = `
  UPDATE user_session ${SET}
  WHERE id = $1 AND generation = $2 AND secret_hash = $6 AND revoked_at IS NULL AND expires_at > $4
  RETURNING *`;

const LOCK = 'SELECT * FROM user_session WHERE id = $1 FOR UPDATE';
const ADVANCE_LOCKED = `UPDATE user_session ${SET} WHERE id = $1`;

/** How a refresh reaches the row. */
export type Method = 'one UPDATE' | 'SELECT FOR UPDATE';

interface Row {
  readonly id: string;
  readonly user_id: string;
  readonly secret_hash: string;
  readonly claims: string;
  readonly generation: number;
  readonly expires_at: string;
  readonly revoked_at: string | null;
}

interface RefreshToken {
  readonly sessionId: string;
  readonly generation: number;
  readonly issuedAt: number;
  readonly tokenId: string;
  readonly secret: Buffer;
}

export interface AnyRequest {
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly ip?: string;
}

export class DriverSessions {
  private readonly pool: Pool;
  private readonly macKey: Buffer;
  private constructor(
    private readonly method: Method,
    private readonly key: CryptoKey,
    { databaseUrl, pool, secret } = readEnvironment(),
  ) {
    this.pool = new Pool({ connectionString: databaseUrl, max: pool });
    this.macKey = createHash('sha256').update(secret).digest();
  }

  /** Connects, and makes the table. */
  static async open(method: Method): Promise<DriverSessions> {
    const { secret } = readEnvironment();
    const bytes = createHash('sha256').update(`access:${secret}`).digest();
    const hmac = { name: 'HMAC', hash: 'SHA-256' };
    const key = await crypto.subtle.importKey('raw', bytes, hmac, false, ['sign', 'verify']);
    const sessions = new DriverSessions(method, key);
    await sessions.pool.query(TABLE);
    return sessions;
  }

  async close(): Promise<void> {
    await this.pool.end();
  }

  async login(
    { userId, claims }: { userId: string; claims: object },
    request: AnyRequest,
    response: AnyResponse,
  ): Promise<void> {
    const now = Date.now();
    const id = timeOrderedId(now);
    const secret = randomBytes(16);
    const expiresAt = now + SESSION_TTL;
    const accessToken = await this.sign({ ...claims, sub: userId, sid: id }, now);
    const refreshToken = this.encode({
      sessionId: id,
      generation: 0,
      issuedAt: now,
      tokenId: newTokenId(),
      secret,
    });
    const texts = [JSON.stringify(userId), hashOf(secret), JSON.stringify(claims), '{}'];
    const times = [now, now, expiresAt];
    const device = [request.headers['user-agent'] ?? null, request.ip ?? null];
    const values = [id, ...texts, 1, 0, null, ...times, null, ...device];
    await this.pool.query({ name: 'insert', text: INSERT, values });
    this.writeCookies(response, accessToken, refreshToken, expiresAt, now);
  }

  async renew(request: AnyRequest, response: AnyResponse): Promise<void> {
    const now = Date.now();
    const token = this.decode(cookieOf(request, '__Host-Http-session_refresh'));
    const row = await (this.method === 'one UPDATE'
      ? this.advance(token, now)
      : this.advanceLocked(token, now));
    const generation = token.generation + 1;
    const payload = {
      ...(JSON.parse(row.claims) as object),
      sub: JSON.parse(row.user_id) as string,
      sid: row.id,
      gen: [generation, now],
    };
    const accessToken = await this.sign(payload, now);
    const refreshToken = this.encode({ ...token, generation, issuedAt: now, tokenId: newTokenId() });
    this.writeCookies(response, accessToken, refreshToken, Number(row.expires_at), now);
  }

  async userOf(request: AnyRequest): Promise<string> {
    const token = cookieOf(request, '__Host-Http-session_access');
    const { payload } = await jwtVerify(token, this.key, { algorithms: ['HS256'] });
    return payload.sub!;
  }

  private async advance(token: RefreshToken, now: number): Promise<Row> {
    const values = [...this.next(token, now), hashOf(token.secret)];
    const { rows } = await this.pool.query<Row>({ name: 'advance', text: ADVANCE, values });
    if (!rows[0]) throw new Error('The session is over.');
    return rows[0];
  }

  private async advanceLocked(token: RefreshToken, now: number): Promise<Row> {
    const client = await this.pool.connect();
    try {
      await client.query('BEGIN');
      const row = await this.lock(client, token, now);
      const values = this.next(token, now);
      await client.query({ name: 'advance locked', text: ADVANCE_LOCKED, values });
      await client.query('COMMIT');
      return row;
    } catch (error) {
      await client.query('ROLLBACK');
      throw error;
    } finally {
      client.release();
    }
  }

  private async lock(client: PoolClient, token: RefreshToken, now: number): Promise<Row> {
    const { rows } = await client.query<Row>({ name: 'lock', text: LOCK, values: [token.sessionId] });
    const [row] = rows;
    const isRight =
      row !== undefined &&
      row.generation === token.generation &&
      row.secret_hash === hashOf(token.secret) &&
      row.revoked_at === null &&
      Number(row.expires_at) > now;
    if (!isRight) throw new Error('The session is over.');
    return row;
  }

  private next({ sessionId, generation, tokenId }: RefreshToken, now: number): unknown[] {
    return [sessionId, generation, tokenId, now, now + SESSION_TTL];
  }

  private async sign(payload: JWTPayload, now: number): Promise<string> {
    const issued = Math.floor(now / 1e3);
    return new SignJWT(payload)
      .setProtectedHeader({ alg: 'HS256', kid: 'A'.repeat(16), typ: 'at+jwt' })
      .setIssuedAt(issued)
      .setExpirationTime(issued + ACCESS_TTL / 1e3)
      .sign(this.key);
  }

  /** As the library's: 71 bytes, the last 16 of them a mac. */
  private encode({ sessionId, generation, issuedAt, tokenId, secret }: RefreshToken): string {
    const bytes = Buffer.alloc(71);
    bytes.writeUInt8(1, 0);
    bytes.write(sessionId.replaceAll('-', ''), 5, 'hex');
    bytes.writeUInt32BE(generation, 21);
    bytes.writeUIntBE(issuedAt, 25, 6);
    bytes.write(tokenId, 31, 'hex');
    secret.copy(bytes, 39);
    this.mac(bytes).copy(bytes, 55, 0, 16);
    return bytes.toString('base64url');
  }

  private decode(text: string): RefreshToken {
    const bytes = Buffer.from(text, 'base64url');
    if (bytes.length !== 71 || !timingSafeEqual(this.mac(bytes).subarray(0, 16), bytes.subarray(55)))
      throw new Error('Not a refresh token.');
    return {
      sessionId: uuid(bytes.toString('hex', 5, 21)),
      generation: bytes.readUInt32BE(21),
      issuedAt: bytes.readUIntBE(25, 6),
      tokenId: bytes.toString('hex', 31, 39),
      secret: bytes.subarray(39, 55),
    };
  }

  private mac(bytes: Buffer): Buffer {
    return createHmac('sha256', this.macKey).update(bytes.subarray(0, 55)).digest();
  }

  private writeCookies(
    response: AnyResponse,
    accessToken: string,
    refreshToken: string,
    expiresAt: number,
    now: number,
  ): void {
    const attributes = `Max-Age=${Math.ceil((expiresAt - now) / 1e3)}; Path=/; HttpOnly; Secure; SameSite=Lax`;
    setHeader(response, 'set-cookie', [
      `__Host-Http-session_access=${accessToken}; ${attributes}`,
      `__Host-Http-session_refresh=${refreshToken}; ${attributes}`,
    ]);
    setHeader(response, 'cache-control', 'private, no-store');
  }
}

function cookieOf({ headers }: AnyRequest, name: string): string {
  for (const pair of String(headers['cookie'] ?? '').split('; ')) {
    if (pair.startsWith(`${name}=`)) return pair.slice(name.length + 1);
  }
  throw new Error(`There is no cookie "${name}".`);
}

/** A UUID of version 7, as the library's session ids are. */
function timeOrderedId(now: number): string {
  const bytes = randomBytes(16);
  bytes.writeUIntBE(now, 0, 6);
  bytes[6] = (bytes[6]! & 0x0f) | 0x70;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  return uuid(bytes.toString('hex'));
}

function uuid(hex: string): string {
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

function newTokenId(): string {
  return randomBytes(8).toString('hex');
}

function hashOf(secret: Buffer): string {
  return createHash('sha256').update(secret).digest('base64url');
}

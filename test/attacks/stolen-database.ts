/**
 * A thief who has read every table, and has nothing else: no token of a client. No code of the library is used. All formats
 * are implemented here again, from their documentation. Each function makes forgeries from the dump. The caller decides
 * which parts are guessed and which are right. So a suite can show that the same function succeeds if it gets what a thief
 * lacks.
 */
import { createHash, createHmac, hkdfSync } from 'node:crypto';
import { compactDecrypt, exportJWK, generateKeyPair, type JWK, type JWTPayload, SignJWT } from 'jose';

type Json =
  string | number | boolean | null | undefined | readonly Json[] | { readonly [name: string]: Json };

export type Row = Readonly<Record<string, string | number | null>>;

/** Every row of every table, as `SELECT *` gives them. */
export interface Dump {
  readonly user_session: readonly Row[];
  readonly user_session_key: readonly Row[];
}

/** A key of the dump, ready for use. */
export interface OpenedKey {
  readonly kid: string;
  readonly purpose: string;
  readonly sequence: number;
  readonly algorithm: string;
  readonly jwk: JWK;
}

/** A key that authenticates refresh tokens: its sequence number and its bytes. */
export interface MacKey {
  readonly keyId: number;
  readonly bytes: Buffer;
}

/** The position in the session's refresh tokens that a forgery claims. */
export interface Position {
  readonly generation: number;
  readonly issuedAt: number;
  /** 8 bytes, hex. */
  readonly tokenId: string;
}

export interface RefreshTokenParts extends Position {
  readonly sessionId: string;
  readonly sessionSecret: Buffer;
}

const LATER = 10 * 60; // seconds

/** All texts of a dump or a row: values, leaves of JSON, and parts of tokens. */
export function textsOf(dump: Dump | Row): string[] {
  const texts = new Set<string>();
  const visit = (value: Json | Dump): void => {
    if (value === null || value === undefined || value === '') return;
    if (typeof value === 'object') return Object.values(value).forEach(visit);
    const text = String(value);
    if (texts.has(text)) return;
    texts.add(text);
    const parts = text.split('.');
    if (parts.length > 1) parts.forEach(visit);
    for (const json of [text, Buffer.from(text, 'base64url').toString()]) {
      if (/^[{["]/.test(json)) visit(parseJson(json));
    }
  };
  visit(dump);
  return [...texts];
}

/**
 * The texts of a dump or a row as bytes: as they are, decoded, hashed once, and hashed twice. Also two values of a row
 * hashed together, as older libraries linked a token to its parent; and values that a careless program uses in place of a
 * key.
 */
export function guessesOf(dump: Dump | Row): Buffer[] {
  const guesses = new Map<string, Buffer>();
  const add = (bytes: Buffer): void => void guesses.set(bytes.toString('hex'), bytes);
  for (const length of [0, 8, 16, 32, 64]) {
    add(Buffer.alloc(length));
    add(Buffer.alloc(length, 0xff));
  }
  for (const text of textsOf(dump)) {
    for (const bytes of readingsOf(text)) {
      add(bytes);
      const hash = sha256(bytes);
      add(hash);
      add(sha256(hash));
      add(Buffer.from(hash.toString('hex')));
      add(sha256(Buffer.from(hash.toString('hex'))));
      add(createHash('md5').update(bytes).digest());
    }
  }
  for (const [a, b] of linksOf(dump)) {
    add(sha256(Buffer.from(a + b)));
    add(createHmac('sha256', a).update(b).digest());
    add(createHmac('sha256', Buffer.from(a, 'base64url')).update(b).digest());
  }
  return [...guesses.values()];
}

/** Parts of guesses with the length of a session secret, 16 bytes. */
export function secretsOf(guesses: readonly Buffer[]): Buffer[] {
  const secrets = new Map<string, Buffer>();
  for (const guess of guesses) {
    const cuts =
      guess.length < 16
        ? [Buffer.concat([guess, Buffer.alloc(16)]).subarray(0, 16)]
        : [guess.subarray(0, 16), guess.subarray(-16)];
    for (const cut of cuts) secrets.set(cut.toString('hex'), cut);
  }
  return [...secrets.values()];
}

/** The most obvious guesses of session secrets. */
export function likelySecretsOf(row: Row): Buffer[] {
  const { id, secret_hash, redeemed_by } = row;
  const hash = Buffer.from(String(secret_hash), 'base64url');
  return secretsOf([
    Buffer.alloc(16),
    hash,
    sha256(hash),
    Buffer.from(String(secret_hash)),
    uuidBytes(String(id)),
    Buffer.from(String(redeemed_by), 'hex'),
    Buffer.from(`${String(redeemed_by)}${String(redeemed_by)}`, 'hex'),
  ]);
}

/** The preimage, which an unproven access token contains. */
export function preimageOf(secret: Buffer): string {
  return createHash('sha256')
    .update('preimage:')
    .update(secret)
    .digest()
    .subarray(0, 16)
    .toString('base64url');
}

/** Pairs of values of one session. */
function linksOf(dump: Dump | Row): [string, string][] {
  const rows = isDump(dump) ? dump.user_session : [dump];
  return rows.flatMap((row) => {
    const columns = ['id', 'secret_hash', 'redeemed_by', 'generation', 'user_id'];
    const values = columns.map((column) => String(row[column] ?? ''));
    return values.flatMap((a) => values.map((b): [string, string] => [a, b]));
  });
}

function isDump(dump: Dump | Row): dump is Dump {
  return Array.isArray(dump['user_session']);
}

function readingsOf(text: string): Buffer[] {
  const readings = [Buffer.from(text)];
  const hex = text.replaceAll('-', '');
  if (/^([0-9a-f]{2})+$/i.test(hex)) readings.push(Buffer.from(hex, 'hex'));
  if (/^[\w+/=-]+$/.test(text)) readings.push(Buffer.from(text, 'base64url'));
  return readings;
}

/** The stored keys that are in plain text, or can be decrypted with the application's secret. */
export async function openKeys(dump: Dump, secret: string | false = false): Promise<OpenedKey[]> {
  const keys = secret === false ? [] : [keyOfSecret(secret)];
  return openKeysWith(dump, keys);
}

/** The stored keys that one of these values decrypts, used as the application's secret or as the key derived from it. */
export async function openKeysByGuessing(dump: Dump, guesses: readonly Buffer[]): Promise<OpenedKey[]> {
  const keys = guesses.flatMap((guess) => [
    keyOfSecret(guess),
    ...(guess.length >= 32 ? [guess.subarray(0, 32), guess.subarray(-32)] : []),
  ]);
  return openKeysWith(dump, keys);
}

/** RFC 5869: the key with which the library encrypts keys. */
function keyOfSecret(secret: string | Buffer): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', secret, '', 'nestjs-session-tokens key encryption v1', 32));
}

async function openKeysWith(dump: Dump, keys: readonly Uint8Array[]): Promise<OpenedKey[]> {
  const opened: OpenedKey[] = [];
  for (const row of dump.user_session_key) {
    const material = String(row['material']);
    const text = material.startsWith('{') ? material : await decrypt(material, keys);
    if (text === undefined) continue;
    opened.push({
      kid: String(row['kid']),
      purpose: String(row['purpose']),
      sequence: Number(row['sequence']),
      algorithm: String(row['algorithm']),
      jwk: JSON.parse(text) as JWK,
    });
  }
  return opened;
}

/** RFC 7516, `dir` with AES-256-GCM. */
async function decrypt(jwe: string, keys: readonly Uint8Array[]): Promise<string | undefined> {
  for (const key of keys) {
    try {
      return new TextDecoder().decode((await compactDecrypt(jwe, key)).plaintext);
    } catch {
      // another key, then
    }
  }
  return undefined;
}

/** The mac key of refresh tokens among opened keys. */
export function macKeyOf(keys: readonly OpenedKey[]): MacKey {
  const { sequence, jwk } = keys.findLast(({ purpose }) => purpose === 'refresh')!;
  return { keyId: sequence, bytes: Buffer.from(jwk.k!, 'base64url') };
}

/** The most obvious guesses of mac keys. */
export function likelyMacKeysOf(dump: Dump): MacKey[] {
  const row = dump.user_session_key.findLast(({ purpose }) => purpose === 'refresh')!;
  const material = String(row['material']);
  const ciphertext = material.split('.').at(-2) ?? '';
  return macKeysOf(dump, [
    Buffer.from(material),
    Buffer.from(ciphertext, 'base64url'),
    sha256(Buffer.from(ciphertext, 'base64url')),
  ]);
}

/** Guesses as mac keys, with every key id that a refresh token could have. */
export function macKeysOf(dump: Dump, guesses: readonly Buffer[]): MacKey[] {
  const keyIds = new Set(dump.user_session_key.map(({ sequence }) => Number(sequence)));
  return [...keyIds].flatMap((keyId) => guesses.map((bytes) => ({ keyId, bytes })));
}

/** The payload of an access token of a session, in which the thief is an administrator. */
export function payloadFor(row: Row, now: number): JWTPayload {
  const userId = JSON.parse(String(row['user_id'])) as string | number;
  const iat = Math.floor(now / 1_000);
  return {
    role: 'admin',
    sub: String(userId),
    sid: String(row['id']),
    ...(typeof userId === 'number' && { uid: userId }),
    iat,
    exp: iat + LATER,
  };
}

/** One access token for each guess, signed with the guess as the key. */
export function accessTokensByHmac(
  payload: JWTPayload,
  header: { readonly kid: string; readonly alg?: string },
  guesses: readonly Buffer[],
): string[] {
  return guesses.map((guess) =>
    jwt({ alg: 'HS256', ...header, typ: 'at+jwt' }, payload, (input) =>
      createHmac('sha256', guess).update(input).digest('base64url'),
    ),
  );
}

/** Access tokens without a signature. Their header says that they need none, or names a key. */
export function accessTokensWithoutSignature(
  payload: JWTPayload,
  kids: readonly string[],
  {
    algs = ['none', 'None', 'NONE', 'nOnE', '', undefined, 'HS256'],
    hmacKey,
  }: { readonly algs?: readonly (string | undefined)[]; readonly hmacKey?: Buffer } = {},
): string[] {
  const headers = [...kids, undefined].flatMap((kid) => algs.map((alg) => ({ alg, kid, typ: 'at+jwt' })));
  const sign = (input: string) =>
    hmacKey ? createHmac('sha256', hmacKey).update(input).digest('base64url') : '';
  return headers.map((header) => jwt(header, payload, sign));
}

/**
 * Access tokens that are signed with the thief's own key. They contain this key, or give it the name of a key of the ring.
 */
export async function accessTokensWithOwnKey(
  payload: JWTPayload,
  kids: readonly string[],
): Promise<string[]> {
  const tokens: string[] = [];
  for (const alg of ['HS256', 'ES256', 'EdDSA', 'RS256']) {
    const own = await ownKey(alg);
    const location = `data:application/json,${encodeURIComponent(JSON.stringify({ keys: [own.public] }))}`;
    const carriers = [{}, { jwk: own.public }, { jku: location }, { x5u: location }, { x5c: ['MIIB'] }];
    for (const kid of [...kids, 'own', undefined]) {
      for (const carrier of carriers) {
        const header = { alg, ...(kid !== undefined && { kid }), typ: 'at+jwt', ...carrier };
        tokens.push(await new SignJWT(payload).setProtectedHeader(header).sign(own.private));
      }
    }
  }
  return tokens;
}

/** An access token that is signed with a key from the dump. */
export async function accessTokenSignedWith(key: OpenedKey, payload: JWTPayload): Promise<string> {
  return new SignJWT(payload)
    .setProtectedHeader({ alg: key.algorithm, kid: key.kid, typ: 'at+jwt' })
    .sign({ ...key.jwk, alg: key.algorithm });
}

async function ownKey(alg: string): Promise<{ public: JWK; private: JWK }> {
  if (alg === 'HS256') {
    const oct = { kty: 'oct', k: Buffer.alloc(32, 7).toString('base64url'), alg, kid: 'own' };
    return { public: oct, private: oct };
  }
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
  const names = { alg, kid: 'own' };
  return {
    public: { ...(await exportJWK(publicKey)), ...names },
    private: { ...(await exportJWK(privateKey)), ...names },
  };
}

function jwt(header: object, payload: JWTPayload, sign: (input: string) => string): string {
  const input = [header, payload].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'));
  return `${input.join('.')}.${sign(input.join('.'))}`;
}

/**
 * `base64url( version 1 | keyId 4 | sessionId 16 | generation 4 | issuedAt 6 | tokenId 8 | sessionSecret 16 | mac 16 )`,
 * where the mac is HMAC-SHA-256 over all bytes before it, cut to 16 bytes.
 */
export function refreshToken(parts: RefreshTokenParts, { keyId, bytes }: MacKey): string {
  const body = Buffer.concat([
    Buffer.from([1]),
    bigEndian(keyId, 4),
    uuidBytes(parts.sessionId),
    bigEndian(parts.generation, 4),
    bigEndian(parts.issuedAt, 6),
    Buffer.from(parts.tokenId, 'hex'),
    parts.sessionSecret,
  ]);
  const mac = createHmac('sha256', bytes).update(body).digest().subarray(0, 16);
  return Buffer.concat([body, mac]).toString('base64url');
}

/** Refresh tokens of a known session: every position with every secret under every key. */
export function refreshTokens(
  row: Row,
  choices: {
    readonly positions: readonly Position[];
    readonly secrets: readonly Buffer[];
    readonly keys: readonly MacKey[];
  },
): string[] {
  const sessionId = String(row['id']);
  return choices.positions.flatMap((position) =>
    choices.secrets.flatMap((sessionSecret) =>
      choices.keys.map((key) => refreshToken({ ...position, sessionId, sessionSecret }, key)),
    ),
  );
}

/** The position with the fewest checks: a sibling of the newest generation that was just issued. */
export function newest(row: Row, now: number): Position {
  return { generation: Number(row['generation']), issuedAt: now, tokenId: '00'.repeat(8) };
}

/** The next positions of a session: one and two generations after the token that was exchanged last. */
export function childrenOf(row: Row, now: number): Position[] {
  const generation = Number(row['generation']);
  const parents = [row['redeemed_by'], row['secret_hash'], row['id'], row['created_at']];
  return parents.flatMap((parent) => {
    const hash = sha256(Buffer.from(String(parent)));
    return [hash, sha256(hash)].flatMap((id) =>
      [1, 2].map((step) => ({
        generation: generation + step,
        issuedAt: now,
        tokenId: id.toString('hex', 0, 8),
      })),
    );
  });
}

/**
 * Siblings of the known tokens of a session: of the newest generation and of the previous one. The row does not say when
 * these were issued. The server checks tokens most that are older than the lifetime of an access token.
 */
export function siblingsOf(row: Row): Position[] {
  const generation = Number(row['generation']);
  const issuedAt = Number(row['created_at']);
  return [generation, Math.max(0, generation - 1)].flatMap((each) =>
    ['00'.repeat(8), '01'.padStart(16, '0')].map((tokenId) => ({ generation: each, issuedAt, tokenId })),
  );
}

/** The token that was exchanged according to the row, with the row's generation and with those before and after it. */
export function redeemedOf(row: Row): Position[] {
  const generation = Number(row['generation']);
  const tokenId = row['redeemed_by'];
  if (typeof tokenId !== 'string') return [];
  return ['last_seen_at', 'created_at'].flatMap((column) =>
    [generation, generation + 1, Math.max(0, generation - 1)].map((each) => ({
      generation: each,
      issuedAt: Number(row[column]) - 3_600_000,
      tokenId,
    })),
  );
}

/** Every position of a session about which the dump has information. */
export function positionsOf(row: Row, now: number): Position[] {
  return [newest(row, now), ...childrenOf(row, now), ...siblingsOf(row), ...redeemedOf(row), outdated(row)];
}

/**
 * A position that is over, because the client has proven a later one. With the right secret, a thief
 * would have such a token.
 */
export function outdated(row: Row): Position {
  return { generation: 0, issuedAt: Number(row['created_at']) - 3_600_000, tokenId: 'ff'.repeat(8) };
}

/** Every text of the dump, and every decoding of it, used in place of a token. */
export function replaysOf(dump: Dump): string[] {
  const replays = new Set<string>();
  for (const text of textsOf(dump)) {
    for (const bytes of readingsOf(text)) {
      replays.add(text).add(bytes.toString('base64url')).add(bytes.toString('hex'));
      // As long as a refresh token.
      replays.add(Buffer.concat([Buffer.from([1]), bytes, Buffer.alloc(70)]).toString('base64url', 0, 71));
    }
  }
  return [...replays].filter((text) => /^[\x21-\x7e]+$/.test(text) && !text.includes(';') && text !== '');
}

/** The CSRF token of a session, under each key: HMAC-SHA-256 over `csrf:` and the id, cut to 16 bytes. */
export function csrfTokens(sessionId: string, keys: readonly Buffer[]): string[] {
  return keys.map((key) =>
    createHmac('sha256', key).update(`csrf:${sessionId}`).digest().toString('base64url', 0, 16),
  );
}

function sha256(bytes: Buffer): Buffer {
  return createHash('sha256').update(bytes).digest();
}

function uuidBytes(uuid: string): Buffer {
  return Buffer.from(uuid.replaceAll('-', ''), 'hex');
}

function bigEndian(number: number, length: number): Buffer {
  return Buffer.from(number.toString(16).padStart(2 * length, '0'), 'hex');
}

function parseJson(text: string): Json {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return undefined;
  }
}

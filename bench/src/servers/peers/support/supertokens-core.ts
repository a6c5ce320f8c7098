// Stands in for the SuperTokens core, a Java server: answers what the SDK asks of it, with the core's rules for refresh
// tokens, its RS256 keys and its token formats, but from memory instead of a database. A process of its own, as the core is:
// what it costs is not in the figures of the server that asks it.
import { execFileSync } from 'node:child_process';
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  generateKeyPairSync,
  randomBytes,
  randomUUID,
  sign,
} from 'node:crypto';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { cpus } from 'node:os';

try {
  // The server that starts it is pinned to a core. Like the database, the core runs where there is room.
  execFileSync('taskset', ['-acp', `0-${cpus().length - 1}`, String(process.pid)], { stdio: 'ignore' });
} catch {
  // Without taskset, nothing is pinned.
}

interface StoredSession {
  readonly handle: string;
  readonly userId: string;
  readonly claims: object;
  /** Of the newest refresh token that the client is known to have. */
  refreshTokenHash2: string;
}

interface RefreshTokenContent {
  readonly sessionHandle: string;
  readonly userId: string;
  readonly parentRefreshTokenHash1?: string;
  readonly nonce: string;
  readonly tenantId: 'public';
}

interface AccessTokenContent {
  readonly sessionHandle: string;
  readonly refreshTokenHash1: string;
  readonly parentRefreshTokenHash1: string | null;
}

const ACCESS_TOKEN_LIFE = 3_600;
const REFRESH_TOKEN_LIFE = 100 * 24 * 3_600;

const sessions = new Map<string, StoredSession>();
const handlesOfUser = new Map<string, Set<string>>();

// `d-` is what the SDK expects of a key that is rotated, which is the core's default.
const kid = `d-${Date.now()}`;
const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2_048 });
const encryptionKey = randomBytes(32);

const hash = (text: string) => createHash('sha256').update(text).digest('hex');
const base64url = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');

function accessToken(
  session: StoredSession,
  refreshTokenHash1: string,
  parentRefreshTokenHash1: string | null,
) {
  const createdTime = Date.now();
  const iat = Math.floor(createdTime / 1_000);
  const exp = iat + ACCESS_TOKEN_LIFE;
  const content = {
    ...session.claims,
    iat,
    exp,
    sub: session.userId,
    tId: 'public',
    rsub: session.userId,
    sessionHandle: session.handle,
    refreshTokenHash1,
    parentRefreshTokenHash1,
    antiCsrfToken: null,
  };
  const text = `${base64url({ kid, typ: 'JWT', version: '5', alg: 'RS256' })}.${base64url(content)}`;
  const signature = sign('sha256', Buffer.from(text), privateKey).toString('base64url');
  return { token: `${text}.${signature}`, createdTime, expiry: exp * 1_000 };
}

function refreshToken({ handle, userId }: StoredSession, parentRefreshTokenHash1?: string) {
  const nonce = hash(randomUUID());
  const content: RefreshTokenContent = {
    sessionHandle: handle,
    userId,
    parentRefreshTokenHash1,
    nonce,
    tenantId: 'public',
  };
  const iv = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', encryptionKey, iv);
  const sealed = [iv, cipher.update(JSON.stringify(content)), cipher.final(), cipher.getAuthTag()];
  const createdTime = Date.now();
  const token = `${Buffer.concat(sealed).toString('base64')}.${nonce}.V2`;
  return { token, createdTime, expiry: createdTime + REFRESH_TOKEN_LIFE * 1_000 };
}

function openRefreshToken(token: string): RefreshTokenContent {
  const sealed = Buffer.from(token.split('.')[0]!, 'base64');
  const decipher = createDecipheriv('aes-256-gcm', encryptionKey, sealed.subarray(0, 12));
  decipher.setAuthTag(sealed.subarray(-16));
  return JSON.parse(Buffer.concat([decipher.update(sealed.subarray(12, -16)), decipher.final()]).toString());
}

function described({ handle, userId, claims }: StoredSession) {
  return { handle, userId, recipeUserId: userId, userDataInJWT: claims, tenantId: 'public' };
}

function create({ userId, userDataInJWT }: { userId: string; userDataInJWT: object }) {
  const session = { handle: randomUUID(), userId, claims: userDataInJWT, refreshTokenHash2: '' };
  const first = refreshToken(session);
  const hash1 = hash(first.token);
  session.refreshTokenHash2 = hash(hash1);
  sessions.set(session.handle, session);
  handlesOfUser.set(userId, (handlesOfUser.get(userId) ?? new Set()).add(session.handle));
  return {
    status: 'OK',
    session: described(session),
    accessToken: accessToken(session, hash1, null),
    refreshToken: first,
  };
}

function refresh({ refreshToken: token }: { refreshToken: string }) {
  const { sessionHandle, parentRefreshTokenHash1: parent } = openRefreshToken(token);
  const session = sessions.get(sessionHandle);
  if (!session) return { status: 'UNAUTHORISED', message: 'Session does not exist' };
  const hash1 = hash(token);
  if (parent !== undefined && session.refreshTokenHash2 === hash(parent)) {
    // A child that comes back: it has arrived, and its parent is over.
    session.refreshTokenHash2 = hash(hash1);
  }
  if (session.refreshTokenHash2 !== hash(hash1)) {
    return { status: 'TOKEN_THEFT_DETECTED', session: described(session) };
  }
  const child = refreshToken(session, hash1);
  return {
    status: 'OK',
    session: described(session),
    accessToken: accessToken(session, hash(child.token), hash1),
    refreshToken: child,
  };
}

/** Asked for the first use of an access token that a refresh gave; signatures are checked by the SDK. */
function verify({ accessToken: token }: { accessToken: string }) {
  const content: AccessTokenContent = JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString());
  const session = sessions.get(content.sessionHandle);
  if (!session) return { status: 'UNAUTHORISED', message: 'Session does not exist' };
  const { refreshTokenHash1, parentRefreshTokenHash1: parent } = content;
  if (parent !== null && session.refreshTokenHash2 === hash(parent)) {
    session.refreshTokenHash2 = hash(refreshTokenHash1);
  }
  return {
    status: 'OK',
    session: described(session),
    accessToken: accessToken(session, refreshTokenHash1, null),
  };
}

function remove({ sessionHandles }: { sessionHandles: string[] }) {
  const sessionHandlesRevoked = sessionHandles.filter((handle) => {
    const session = sessions.get(handle);
    if (session) handlesOfUser.get(session.userId)!.delete(handle);
    return sessions.delete(handle);
  });
  return { status: 'OK', sessionHandlesRevoked };
}

const routes: Record<string, (body: never, query: URLSearchParams) => object> = {
  'GET /apiversion': () => ({ versions: ['5.4'] }),
  'GET /.well-known/jwks.json': () => ({
    keys: [{ ...publicKey.export({ format: 'jwk' }), kid, alg: 'RS256', use: 'sig' }],
  }),
  // Users are none of the session recipe's business: nobody is known.
  'GET /user/id': () => ({ status: 'UNKNOWN_USER_ID_ERROR' }),
  'POST /public/recipe/session': create,
  'POST /recipe/session/refresh': refresh,
  'POST /recipe/session/verify': verify,
  'POST /recipe/session/remove': remove,
  'GET /recipe/session/user': (_body, query) => ({
    status: 'OK',
    sessionHandles: [...(handlesOfUser.get(query.get('userId')!) ?? [])],
  }),
};

async function json(request: IncomingMessage): Promise<never> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return (chunks.length === 0 ? undefined : JSON.parse(Buffer.concat(chunks).toString())) as never;
}

const server = createServer(async (request, response) => {
  const { pathname, searchParams } = new URL(request.url!, 'http://core');
  const route = routes[`${request.method} ${pathname}`];
  const answer = route
    ? route(await json(request), searchParams)
    : { message: `no ${request.method} ${pathname}` };
  response.writeHead(route ? 200 : 404, { 'content-type': 'application/json' });
  response.end(JSON.stringify(answer));
});
server.listen(0, '127.0.0.1', () => process.send!((server.address() as AddressInfo).port));
process.on('disconnect', () => process.exit());

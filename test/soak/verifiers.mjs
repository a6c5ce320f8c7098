// How soon services without the database refuse a revoked session, with a proxy in between that delays, drops and replays; what
// they ask when nobody comes; how many bytes a list has. Usage:
//   npm run build && npm run soak:verifiers [-- --revocations 200 --sessions 1000000 --revoked 10000]
// The issuer's two processes work on the PostgreSQL of TEST_POSTGRES_URL.
import { fork } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { DataSource } from 'typeorm';
import { createDatabase } from './processes.mjs';

const { values } = parseArgs({
  options: {
    revocations: { type: 'string', default: '200' },
    sessions: { type: 'string', default: '1000000' },
    revoked: { type: 'string', default: '10000' },
    interval: { type: 'string', default: '1' },
  },
});
const PATH = '/.well-known/session-revocations';
const ISSUER = 'https://accounts.example.com';
const AUDIENCE = 'https://api.example.com';

const database = await createDatabase('postgres');
const closing = [() => database.remove()];
const issuers = [];
try {
  const issuing = {
    database: { type: 'postgres', url: database.url },
    secret: 'a secret for the soak tests, long enough',
    jwksPath: '/.well-known/jwks.json',
    revocationsPath: PATH,
    accessToken: { issuer: ISSUER, audience: AUDIENCE },
  };
  for (let n = 0; n < 2; n++) issuers.push(await start('issuer', issuing));
  const rows = [];
  for (const misdeed of ['nothing', 'delays', 'drops', 'replays']) rows.push(await measure(misdeed));
  console.table(rows);
  console.table(await bytes());
  const failed = rows.some(
    (each) => each['honest 401'] > 0 || each['asked when idle'] > 0 || each.missed > 0,
  );
  console.log(
    failed
      ? 'FAILED'
      : 'Every revocation was heard of, nobody else was refused, and nothing was asked in vain.',
  );
  process.exitCode = failed ? 1 : 0;
} finally {
  for (const close of closing.toReversed()) await close();
}

/** Starts a process, and gives its address and a way to call it. */
async function start(role, options) {
  const env = { ...process.env, VERIFIER_PROCESS: JSON.stringify({ role, options }) };
  const child = fork(new URL('verifier-process.mjs', import.meta.url), { env });
  const waiting = new Map();
  child.on('message', ({ id, result }) => waiting.get(id)?.(result));
  const answer = (id) => new Promise((resolve) => waiting.set(id, resolve));
  closing.push(async () => {
    const exited = new Promise((resolve) => child.once('exit', resolve));
    child.kill();
    await exited;
  });
  const url = await answer(0);
  let count = 0;
  const call = (method, ...parameters) => {
    const id = ++count;
    child.send({ id, method, parameters });
    return answer(id);
  };
  return { url, call };
}

/** A proxy before the issuer's processes. One answer in three meets with its misdeed. */
async function startProxy(misdeed) {
  const counts = { requests: 0, bytes: 0 };
  let last;
  const server = createServer(async (request, response) => {
    const target = issuers[counts.requests++ % issuers.length].url;
    const headers = request.headers['if-none-match']
      ? { 'if-none-match': request.headers['if-none-match'] }
      : {};
    const answer = await fetch(target + request.url, { headers });
    const body = await answer.text();
    const isHit = Math.random() < 1 / 3;
    if (isHit && misdeed === 'delays') await delay(Math.random() * 800);
    if (isHit && misdeed === 'drops') return response.destroy();
    const old = last;
    if (answer.status === 200) last = body;
    const text = isHit && misdeed === 'replays' && old !== undefined ? old : body;
    const isOld = text === old && text !== body;
    counts.bytes += text.length;
    const etag = answer.headers.get('etag');
    response
      .writeHead(isOld ? 200 : answer.status, { etag, 'content-type': 'application/jwt' })
      .end(isOld ? text : body);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const close = () => {
    server.closeAllConnections();
    server.close();
  };
  return { url: `http://127.0.0.1:${server.address().port}`, counts, close };
}

async function visit(service, token) {
  const response = await fetch(`${service.url}/me`, { headers: { authorization: `Bearer ${token}` } });
  await response.arrayBuffer();
  return response.status;
}

function issue(userId) {
  return issuers[0].call('issue', { userId });
}

async function measure(misdeed) {
  const proxy = await startProxy(misdeed);
  const services = [];
  for (let n = 0; n < 3; n++) {
    services.push(
      await start('verifier', {
        jwksUri: `${issuers[0].url}/.well-known/jwks.json`,
        issuer: ISSUER,
        audience: AUDIENCE,
        timeout: 2,
        revocations: { uri: proxy.url + PATH, interval: Number(values.interval), maxStaleness: '30s' },
      }),
    );
  }
  const honest = await issue('honest');
  const over = new AbortController();
  let refusals = 0;
  let visits = 0;
  const visitors = services.map(async (service) => {
    while (!over.signal.aborted) {
      visits++;
      if ((await visit(service, honest.accessToken.token)) !== 200) refusals++;
      await delay(20);
    }
  });
  const took = [];
  let missed = 0;
  await Promise.all(
    Array.from({ length: Number(values.revocations) }, async (_, n) => {
      await delay(n * 60);
      const { session, accessToken } = await issue(`user ${misdeed} ${n}`);
      const service = services[n % 3];
      await visit(service, accessToken.token);
      const issuer = issuers[n % 2];
      await (n % 4
        ? issuer.call('revoke', session.id)
        : issuer.call('revokeAllForUser', `user ${misdeed} ${n}`));
      const begin = performance.now();
      while ((await visit(service, accessToken.token)) !== 401) {
        if (performance.now() - begin > 20_000) {
          missed++;
          return;
        }
        await delay(10);
      }
      took.push(performance.now() - begin);
    }),
  );
  over.abort();
  await Promise.all(visitors);
  await delay(2_000);
  const before = proxy.counts.requests;
  const { bytes: busy } = proxy.counts;
  await delay(5_000);
  const idle = proxy.counts.requests - before;
  proxy.close();
  took.sort((a, b) => a - b);
  const at = (share) => Math.round(took[Math.min(took.length - 1, Math.floor(share * took.length))]);
  return {
    'in between': misdeed === 'nothing' ? 'nothing' : `${misdeed} one in three`,
    revocations: took.length,
    missed,
    'p50 ms': at(0.5),
    'p99 ms': at(0.99),
    'honest requests': visits,
    'honest 401': refusals,
    'asked when idle': idle,
    'kB in all': Math.round(busy / 1_000),
  };
}

function row(what, { size, took }) {
  return { list: what, bytes: size, ms: took };
}

/** The bytes of a list, of many revocations among very many sessions. */
async function bytes() {
  const dataSource = await new DataSource({ type: 'postgres', url: database.url }).initialize();
  const { session } = await issuers[0].call('issue', { userId: 'copied' });
  const columns = await dataSource.query(
    "SELECT column_name FROM information_schema.columns WHERE table_name = 'user_session' AND column_name <> 'id'",
  );
  const names = columns.map(({ column_name }) => column_name).join(', ');
  // Ids as the library makes them, of the last minutes.
  const id = `lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000)::bigint - n), 12, '0')`;
  await dataSource.query(
    `INSERT INTO user_session (id, ${names})
     SELECT substr(${id}, 1, 8) || '-' || substr(${id}, 9, 4) || '-7' || substr(md5(n::text), 1, 3) || '-8' || substr(md5(n::text), 4, 3) || '-' || substr(md5(n::text), 7, 12), ${names}
     FROM user_session, generate_series(1, $1) n WHERE id = $2`,
    [Number(values.sessions), session.id],
  );
  const measureList = async (query) => {
    const begin = performance.now();
    const response = await fetch(`${issuers[0].url}${PATH}?${query}`);
    const text = await response.text();
    const { cursor } = JSON.parse(Buffer.from(text.split('.')[1], 'base64url').toString());
    return {
      size: text.length,
      took: Math.round(performance.now() - begin),
      cursor,
      etag: response.headers.get('etag'),
    };
  };
  const small = await measureList(`nonce=${randomUUID()}`);
  const ids = await dataSource.query('SELECT id FROM user_session WHERE user_id = $1 LIMIT $2', [
    JSON.stringify('copied'),
    Number(values.revoked),
  ]);
  await issuers[1].call(
    'revokeMany',
    ids.map((each) => each.id),
  );
  await delay(200);
  const delta = await measureList(`since=${small.cursor}&nonce=${randomUUID()}`);
  const full = await measureList(`nonce=${randomUUID()}`);
  const nothing = await measureList(`since=${full.cursor}&nonce=${randomUUID()}`);
  const unchanged = await fetch(`${issuers[0].url}${PATH}?since=${full.cursor}`, {
    headers: { 'if-none-match': nothing.etag },
  });
  await dataSource.destroy();
  return [
    row(`what is new: ${values.revoked} revocations, of ${values.sessions} sessions`, delta),
    row('everything, for a service that starts', full),
    row('nothing new, signed', nothing),
    { list: `nothing new, ${unchanged.status}`, bytes: (await unchanged.text()).length, ms: 0 },
  ];
}

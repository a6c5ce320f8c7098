import { setTimeout as delay } from 'node:timers/promises';
import type { ServerProcess } from '../run/server-process.js';
import { latencies } from './latencies.js';
import { type Found, type Growth, NAMES, say, type Station } from './station.js';

const RATE = 1_000;
/** Sessions that the other process uses all the time. */
const WATCHED = 300;

interface Token {
  readonly id: string;
  readonly accessToken: string;
}

/** Use of the reading process while something lasts. */
interface Use {
  readonly cpu: number;
  readonly bytes: number;
  readonly statements: number;
  readonly loopDelay: { readonly p99: number; readonly max: number };
}

/** One process revokes 1,000 sessions a second; another one uses sessions, and reads the feed once a second. */
export async function feed(growth: Growth, large: Station): Promise<Found> {
  // Every ten seconds, the feed goes back by two minutes more. So it takes two minutes until these reads are as large as they get.
  const seconds = growth.isQuick ? 5 : 150;
  const idleSeconds = Math.min(seconds, 30);
  growth.progress(`the feed under ${RATE} revocations a second, for ${seconds} s`);
  const revoker = await large.start({ core: 'generator' });
  const reader = await large.start({ env: { COUNT_QUERIES: '1' } });
  await revoker.call('create', RATE * seconds);
  const tokens = await revoker.call<Token[]>('accessTokens');
  const step = Math.max(1, Math.floor(tokens.length / WATCHED));
  const watched = tokens.filter((_, n) => n % step === 0);

  await reader.call('startWatching', watched);
  await delay(2_000);
  const idle = await used(reader, () => delay(idleSeconds * 1e3));
  const busy = await used(reader, () =>
    revoker.call<{ seconds: number; revoked: [string, number][] }>('revokeAtRate', RATE),
  );
  const now = Date.now();
  const revokedWithin = async (time: number) => {
    const [row] = await large.sql.run(
      `SELECT count(*) AS n FROM user_session WHERE revoked_at >= ${now - time}`,
    );
    return Number(row!['n']);
  };
  const usual = await revokedWithin(6_000);
  const full = await revokedWithin(130_000);
  await delay(2_500);
  const refused = new Map(await reader.call<[string, number][]>('stopWatching'));
  await revoker.stop();
  await reader.stop();
  const { revoked, seconds: took } = busy.result;
  const isWatched = new Set(watched.map(({ id }) => id));
  const ofWatched = revoked.filter(([id]) => isWatched.has(id));
  const missing = ofWatched.filter(([id]) => !refused.has(id)).length;
  if (missing > 0) throw new Error(`${missing} of ${ofWatched.length} revoked sessions were still accepted.`);
  const waits = latencies(ofWatched.map(([id, at]) => Math.max(0, refused.get(id)! - at)));
  const values = {
    'revocations per second, each by a call of its own': revoked.length / took,
    'from a revocation to the refusal in another process, ms, p50': waits.p50,
    'the same, p99': waits.p99,
    'rows of a usual read (6 s)': usual,
    'rows of the read every 10 s (130 s)': full,
    'statements of the reading process, per second': busy.use.statements / took,
    'bytes that it gets from the database, per second': busy.use.bytes / took,
    'CPU of the reading process, of a core': share(busy.use, took),
    'the same without revocations': share(idle.use, idleSeconds),
    'event-loop delay of the reading process, ms, p99': busy.use.loopDelay.p99,
    'the same, longest': busy.use.loopDelay.max,
  };
  return {
    tables: [
      {
        name: `growth-feed-${growth.kind}`,
        title: `The feed under ${RATE} revocations a second, ${NAMES[growth.kind]}`,
        text: `One process revokes, in a table of ${say(large.rows)} sessions, for ${seconds} s. Another one uses ${watched.length} of the sessions all the time; \`revocationInterval\` is 1 s.`,
        columns: [{ key: 'value', label: '' }],
        rows: Object.entries(values).map(([name, value]) => ({ name, values: { value } })),
      },
    ],
    summary: {
      [`revoked to refused under ${RATE}/s, ms, p50`]: waits.p50,
      [`revoked to refused under ${RATE}/s, ms, p99`]: waits.p99,
      [`CPU of a process that reads ${RATE} revocations a second, of a core`]:
        share(busy.use, took) - share(idle.use, idleSeconds),
    },
  };
}

/** @param seconds how long it took */
function share({ cpu }: Use, seconds: number): number {
  return cpu / 1e6 / seconds;
}

async function used<T>(
  process: ServerProcess,
  meanwhile: () => Promise<T>,
): Promise<{ use: Use; result: T }> {
  const state = async () => ({
    sample: await process.sample(),
    bytes: await process.call<number>('bytesRead'),
  });
  const before = await state();
  const result = await meanwhile();
  const after = await state();
  return {
    result,
    use: {
      cpu: after.sample.cpu - before.sample.cpu,
      bytes: after.bytes - before.bytes,
      statements: after.sample.queries! - before.sample.queries!,
      loopDelay: after.sample.eventLoopDelay,
    },
  };
}

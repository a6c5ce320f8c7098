import type { Bench } from '../questions/question.js';
import type { SqlRow } from './sql.js';

/** A session whose refresh token the benchmark has. */
export interface Held {
  readonly id: string;
  readonly refreshToken: string;
}

/** Sessions that the library has made, as if over the last weeks, with their rows and the keys of their tokens. */
export interface Samples {
  readonly sessions: readonly Held[];
  readonly rows: readonly SqlRow[];
  readonly keys: readonly SqlRow[];
}

/**
 * Makes sessions whose rows are then put among the generated ones, so that rows which nobody has read or written since the
 * table was filled can be used with valid tokens. The library makes them on SQLite, whose clock is the machine's, and the
 * machine's is set back meanwhile.
 */
export async function makeSamples(bench: Bench, signingJwk: string, count: number): Promise<Samples> {
  const database = await bench.database('sqlite');
  const issuer = await bench.start({
    server: 'growth/worker',
    adapter: 'fastify',
    databaseUrl: database!.url,
    env: { SIGNING_JWK: signingJwk },
  });
  const samples = await issuer.call<Samples>('makeSamples', { count });
  await issuer.stop();
  return samples;
}

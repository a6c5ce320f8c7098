import type { Bench, ServerSpec } from '../questions/question.js';
import type { Adapter } from '../servers/support/environment.js';
import { type Client, signIn } from './client.js';
import { type Algorithm, makeKey } from './signing-key.js';

/** Signed-in users, and the servers that know their tokens. */
export interface Sessions {
  readonly clients: readonly Client[];
  /** A server with the library. */
  readonly ours: (adapter: Adapter) => ServerSpec;
  /** A server whose guard verifies the library's tokens with `jose`. */
  readonly jose: (adapter: Adapter) => ServerSpec;
}

/** Signs in so many users with the library, on PostgreSQL, under a key that all these servers have. */
export async function makeSessions(bench: Bench, algorithm: Algorithm, count: number): Promise<Sessions> {
  bench.progress(`signing in ${count.toLocaleString('en-GB')} users (${algorithm})`);
  const database = await bench.database('postgres');
  if (!database) throw new Error('This question needs PostgreSQL: see README.md.');
  const env = {
    SIGNING_JWK: JSON.stringify(await makeKey(algorithm)),
    // Longer than any run.
    SESSION_OPTIONS: JSON.stringify({ accessToken: { ttl: '3h' } }),
  };
  const ours = (adapter: Adapter): ServerSpec => ({
    server: 'ours/session-tokens',
    adapter,
    databaseUrl: database.url,
    env,
  });
  const process = await bench.start(ours('fastify'));
  const users = Array.from({ length: count }, (_, index) => `user-${index}`);
  const clients = await signIn(process.port, users);
  await process.stop();
  return { clients, ours, jose: (adapter) => ({ server: 'guard/jose', adapter, env }) };
}

import type { Bench, Table } from '../questions/question.js';
import { type Algorithm, makeKey } from '../load/signing-key.js';
import { type Spread, spread } from '../run/statistics.js';
import type { Cost, VerificationCosts, VerificationPlan } from './figures.js';

const PLANS: Readonly<Record<Algorithm, Omit<VerificationPlan, 'rounds'>>> = {
  HS256: { tokens: 500, repeats: 50 },
  EdDSA: { tokens: 200, repeats: 50 },
};

const LABELS: readonly (readonly [keyof VerificationCosts, string])[] = [
  ['jose', 'jose’s jwtVerify, imported key'],
  ['verify', 'SessionService.verify, first-seen token'],
  ['verifyAgain', 'SessionService.verify, seen token'],
  ['authenticate', 'SessionService.authenticate, first-seen token'],
  ['authenticateAgain', 'SessionService.authenticate, seen token'],
];

export async function verificationTable(bench: Bench): Promise<Table> {
  const figures: [Algorithm, VerificationCosts][] = [];
  for (const algorithm of ['HS256', 'EdDSA'] as const)
    figures.push([algorithm, await measureVerification(bench, algorithm)]);
  const rows = figures.flatMap(([algorithm, costs]) =>
    LABELS.map(([what, label]) => {
      const ratio = costs[what].map(({ cpu }, round) => cpu / costs.jose[round]!.cpu);
      return {
        name: `${label}, ${algorithm}`,
        values: {
          cpu: of(costs[what], 'cpu'),
          elapsed: of(costs[what], 'elapsed'),
          ratio: spread(ratio),
        },
      };
    }),
  );
  return {
    name: 'verification',
    title: 'Verifying a token inside a process',
    text: 'No HTTP and no Nest: 16 tokens at a time, in rounds. “First-seen” tokens are used once, “seen” ones again and again. The query for revocations, once a second, is left out.',
    columns: [
      { key: 'cpu', label: 'CPU µs' },
      { key: 'elapsed', label: 'elapsed µs' },
      { key: 'ratio', label: 'CPU / jose’s', format: 'percent' },
    ],
    rows,
    chart: {
      column: 'cpu',
      title: 'CPU time to verify an access token, µs',
      highlight: rows.map(({ name }) => name).filter((name) => name.startsWith('Session')),
    },
  };
}

/** Measures what verifying a token costs inside a process. */
export async function measureVerification(bench: Bench, algorithm: Algorithm): Promise<VerificationCosts> {
  bench.progress(`verification inside a process (${algorithm})`);
  const env = { SIGNING_JWK: JSON.stringify(await makeKey(algorithm)) };
  const plan: VerificationPlan = { ...PLANS[algorithm], rounds: bench.pace.rounds };
  const heats: VerificationCosts[] = [];
  for (let heat = 0; heat < bench.pace.heats; heat++) {
    const process = await bench.start({
      server: 'guard/verification',
      adapter: 'fastify',
      databaseUrl: 'sqlite::memory:',
      env,
    });
    try {
      heats.push(await process.call<VerificationCosts>('measure', plan));
    } finally {
      await process.stop();
    }
  }
  const all = (what: keyof VerificationCosts) => heats.flatMap((costs) => costs[what]);
  return {
    jose: all('jose'),
    verify: all('verify'),
    verifyAgain: all('verifyAgain'),
    authenticate: all('authenticate'),
    authenticateAgain: all('authenticateAgain'),
  };
}

function of(costs: readonly Cost[], what: keyof Cost): Spread {
  return spread(costs.map((cost) => cost[what]));
}

// No server: measures inside one process what verifying a token costs, without HTTP and without Nest's guards.
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { jwtVerify } from 'jose';
import { SessionModule, SessionService } from 'nestjs-session-tokens';
import 'reflect-metadata';
import { CLAIMS } from '../../load/client.js';
import type { Cost, VerificationCosts, VerificationPlan } from '../../verification/figures.js';
import { dataSourceOptions } from '../support/data-source-options.js';
import { readEnvironment } from '../support/environment.js';
import { serve } from '../support/serve.js';
import { algorithm, jwk, key } from './signing-key.js';

/** As many as a busy server has in hand; one at a time would measure the way to the thread pool and back. */
const AT_ONCE = 16;

/** Until V8 compiles no more, which would count as CPU time: it takes some thousand tokens. */
const WARM_UP_ROUNDS = 30;

@Module({
  imports: [
    SessionModule.forRoot({
      secret: readEnvironment().secret,
      database: dataSourceOptions(),
      signingKeys: { source: () => [jwk] },
      // The query for revocations comes once a second, which is often for the few tokens of a round.
      revocationInterval: '1h',
    }),
  ],
})
class AppModule {}

const app = await NestFactory.createApplicationContext(AppModule, { logger: false, abortOnError: false });
const sessions = app.get(SessionService);

serve({
  listen: async () => undefined,
  close: () => app.close(),
  calls: { measure },
});

async function measure({ rounds, tokens, repeats }: VerificationPlan): Promise<VerificationCosts> {
  const costs = {
    jose: [] as Cost[],
    verify: [] as Cost[],
    verifyAgain: [] as Cost[],
    authenticate: [] as Cost[],
    authenticateAgain: [] as Cost[],
  };
  for (let round = -WARM_UP_ROUNDS; round < rounds; round++) {
    const [first, second] = [await issue(tokens), await issue(tokens)];
    const cookies = second.map((token) => `__Host-Http-session_access=${token}`);
    // The most recent ones, so that a bounded cache still has them.
    const again = Array.from({ length: repeats }, () => first.slice(-100)).flat();
    const cookiesAgain = Array.from({ length: repeats }, () => cookies.slice(-100)).flat();
    // No garbage collection is forced in between: V8 would throw away what it has compiled.
    const steps: [keyof VerificationCosts, () => Promise<Cost>][][] = [
      [['jose', () => cost(first, useJose)]],
      [
        ['verify', () => cost(first, verify)],
        ['verifyAgain', () => cost(again, verify)],
      ],
      [
        ['authenticate', () => cost(cookies, authenticate)],
        ['authenticateAgain', () => cost(cookiesAgain, authenticate)],
      ],
    ];
    const start = (round + WARM_UP_ROUNDS) % steps.length;
    for (const [name, step] of [...steps.slice(start), ...steps.slice(0, start)].flat()) {
      const measured = await step();
      if (round >= 0) costs[name].push(measured);
    }
  }
  return costs;
}

function useJose(token: string): Promise<unknown> {
  return jwtVerify(token, key, {
    algorithms: [algorithm],
    requiredClaims: ['sub', 'sid', 'iat', 'exp'],
  });
}

function verify(token: string): Promise<unknown> {
  return sessions.tokens.verify(token);
}

const response = { headersSent: false, getHeader: () => undefined, setHeader: () => undefined };

function authenticate(cookie: string): Promise<unknown> {
  return sessions.authenticate({ method: 'GET', headers: { cookie } }, response);
}

async function issue(count: number): Promise<string[]> {
  const tokens: string[] = [];
  for (let index = 0; index < count; index++) {
    const { accessToken } = await sessions.tokens.issue({ userId: `user-${index}`, claims: CLAIMS });
    tokens.push(accessToken.token);
  }
  return tokens;
}

/** What an operation costs on average over some items. */
async function cost(items: readonly string[], operation: (item: string) => Promise<unknown>): Promise<Cost> {
  const cpu = process.cpuUsage();
  const start = performance.now();
  const rest = items.values();
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (const item of rest) await operation(item);
    }),
  );
  const elapsed = (performance.now() - start) * 1e3;
  const { user, system } = process.cpuUsage(cpu);
  return { cpu: (user + system) / items.length, elapsed: elapsed / items.length };
}

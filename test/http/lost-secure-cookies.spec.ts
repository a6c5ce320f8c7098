import type { SessionModuleOptions } from 'nestjs-session-tokens';
import request from 'supertest';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { adapters } from '../support/app.js';
import { LogCapture } from '../support/log-capture.js';
import { pass } from '../support/time.js';
import { accountApps } from './account-app.js';

interface Story {
  readonly options?: SessionModuleOptions;
  readonly environment?: string;
  /** Headers of the sign-in. */
  readonly signIn?: Record<string, string>;
  /** What happens before the next request. */
  readonly meanwhile?: (agent: ReturnType<typeof request.agent>) => Promise<unknown> | void;
  /** Headers of the next request. */
  readonly next?: Record<string, string>;
  readonly nextPath?: [method: 'get' | 'post', path: string];
  readonly isNoticed: boolean;
}

const STORIES: Readonly<Record<string, Story>> = {
  'the agent sends nothing': { isNoticed: true },
  'the agent asks for a refresh': { nextPath: ['post', '/auth/refresh'], isNoticed: true },
  'a few seconds later': { meanwhile: () => pass('9s'), isNoticed: true },
  'much later': { meanwhile: () => pass('11s'), isNoticed: false },
  'another client, by its user agent': { next: { 'user-agent': 'other' }, isNoticed: false },
  'a client that has another cookie': { next: { cookie: 'a=b' }, isNoticed: false },
  'a client that has signed out': {
    meanwhile: (agent) => agent.post('/sign-out').expect(204),
    isNoticed: false,
  },
  'HTTPS before a proxy': { signIn: { 'x-forwarded-proto': 'https' }, isNoticed: false },
  'HTTPS before another proxy': { signIn: { forwarded: 'proto=https' }, isNoticed: false },
  'cookies that are not Secure': {
    // For another reason, nothing comes back.
    options: { cookies: { secure: false, path: '/elsewhere' } },
    isNoticed: false,
  },
  'in production': { environment: 'production', isNoticed: false },
};

describe.each(adapters)('a client that loses Secure cookies, over %s', (adapter) => {
  const apps = accountApps(adapter);
  let log: LogCapture;
  beforeEach(() => {
    log = new LogCapture();
  });
  afterEach(() => {
    vi.unstubAllEnvs();
  });

  it.each(Object.entries(STORIES))('%s', async (_name, story) => {
    vi.stubEnv('NODE_ENV', story.environment ?? 'test');
    const options = { secret: 's'.repeat(32), refreshPath: '/auth/refresh', ...story.options };
    const { app } = await apps(options, { configure: (nest) => nest.useLogger(log) });
    const agent = request.agent(app.getHttpServer());
    const [method, path] = story.nextPath ?? ['get', '/me'];
    // It is said once, whatever comes after it.
    for (let times = 0; times < 2; times++) {
      const signIn = agent.post('/login').set(story.signIn ?? {});
      expect((await signIn.send({ userId: 'alice' })).status).toBe(200);
      await story.meanwhile?.(agent);
      await agent[method](path).set(story.next ?? {});
    }
    const notices = log.lines.filter((line) => line.includes('withMemorySessions()'));
    expect(notices).toHaveLength(story.isNoticed ? 1 : 0);
  });
});

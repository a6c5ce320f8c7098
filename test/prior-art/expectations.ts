import type { SessionEvent, SessionModuleOptions, SessionService } from 'nestjs-session-tokens';
import { expect } from 'vitest';
import type { World } from '../support/world.js';

/** What the older suites' words for refusals are here. */
export const TRY_REFRESH = { code: 'try_refresh' };
export const OVER = { code: 'session_over' };
export const THEFT = { code: 'token_theft' };

/** Single use that is enforced at first sight: the older libraries knew neither a reuse window nor a second look. */
export const STRICT = { reuseWindow: 0, lookAgain: false } as const satisfies SessionModuleOptions;

/** What happens to sessions in a process, from now on. */
export function recordEvents(sessions: SessionService): SessionEvent[] {
  const events: SessionEvent[] = [];
  sessions.events.subscribe((event) => events.push(event));
  return events;
}

/** A part of a JWT. */
export function decode(token: string, part: 'header' | 'payload'): Record<string, unknown> {
  const text = token.split('.')[part === 'header' ? 0 : 1]!;
  return JSON.parse(Buffer.from(text, 'base64url').toString()) as Record<string, unknown>;
}

/** Expects an access token to be good, proven, and without any cost to the database. */
export async function expectFree(world: World, sessions: SessionService, accessToken: string): Promise<void> {
  // The revocation feed reads once per interval, whatever the tokens; that read is not this token's.
  await sessions.tokens.verify(accessToken);
  const queries = await world.queriesOf(async () => {
    expect((await sessions.tokens.verify(accessToken)).newAccessToken).toBeUndefined();
  });
  expect(queries).toEqual([]);
}

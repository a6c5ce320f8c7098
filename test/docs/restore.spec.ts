import { expect, describe, test } from 'vitest';
import {
  LookAgainError,
  SESSION_ENTITIES,
  type SessionEvent,
  SessionOverError,
  TokenTheftError,
} from 'nestjs-session-tokens';
import { databases } from '../support/databases.js';
import { HOUR, MINUTE, pass, SECOND, TTL } from '../support/time.js';
import { type Instance, useWorld, type World } from '../support/world.js';
import { endAllFromBefore, repeatRevocations } from './runbook.js';

type Tokens = { access: string; refresh: string };

/** The rows of all tables, as a backup has them. */
async function backUp({ dataSource }: World) {
  const tables = await Promise.all(
    SESSION_ENTITIES.map(async (entity) => ({ entity, rows: await dataSource.getRepository(entity).find() })),
  );
  return async () => {
    for (const { entity, rows } of tables) {
      await dataSource.getRepository(entity).clear();
      await dataSource.getRepository(entity).insert(rows);
    }
  };
}

async function signIn({ service }: Instance, userId: string): Promise<Tokens & { id: string }> {
  const { accessToken, refreshToken, session } = await service.tokens.issue({ userId });
  return { access: accessToken.token, refresh: refreshToken.token, id: session.id };
}

async function refresh({ service }: Instance, tokens: Tokens): Promise<void> {
  const { accessToken, refreshToken } = await service.tokens.refresh(tokens.refresh);
  tokens.access = accessToken.token;
  tokens.refresh = refreshToken?.token ?? tokens.refresh;
}

/** Goes on with a client as its next requests would. @returns the error of the last one, after it has looked again */
async function goOn({ service }: Instance, tokens: Tokens): Promise<unknown> {
  try {
    const { newAccessToken } = await service.tokens.verify(tokens.access);
    tokens.access = newAccessToken?.token ?? tokens.access;
    return undefined;
  } catch {
    // The refresh token decides.
  }
  try {
    await refresh({ service } as Instance, tokens);
    return undefined;
  } catch (error) {
    if (!(error instanceof LookAgainError)) return error;
    const { tokenId: lookedAgain } = error;
    return service.tokens.refresh(tokens.refresh, { lookedAgain }).then(
      () => undefined,
      (reason: unknown) => reason,
    );
  }
}

describe.each(databases)('after a backup has been restored on $name', (kind) => {
  const world = useWorld(kind);

  /**
   * What has happened between the backup and its restore. `old` is a process that has lived through it, `fresh` one that was
   * started afterwards.
   */
  async function restored() {
    const [old] = (await world.start(1)) as [Instance];
    const honest = await signIn(old, 'ann');
    const idle = await signIn(old, 'ben');
    const revoked = await signIn(old, 'cleo');
    const everywhere = [await signIn(old, 'dan'), await signIn(old, 'dan')];
    pass(MINUTE);
    const restore = await backUp(world);
    const auditLog: SessionEvent[] = [];
    old.events.stream.subscribe((event) => auditLog.push(event));
    // Three refreshes, each proven.
    for (let times = 0; times < 3; times++) {
      pass(TTL);
      for (const each of [honest, revoked, ...everywhere]) await refresh(old, each);
      pass(2 * MINUTE);
      for (const each of [honest, revoked, ...everywhere]) expect(await goOn(old, each)).toBeUndefined();
    }
    await old.service.revoke(revoked.id);
    await old.service.revokeAllForUser('dan');
    const late = await signIn(old, 'eve');
    // A row of the last half minute is waited for, as in a cluster.
    pass(MINUTE);
    await restore();
    const [fresh] = (await world.start(1)) as [Instance];
    const thefts: SessionEvent[] = [];
    for (const { events } of [old, fresh]) {
      events.stream.subscribe((event) => event.type === 'theft' && thefts.push(event));
    }
    return { old, fresh, honest, idle, revoked, everywhere, late, auditLog, thefts };
  }

  test('revoked sessions live again, if nothing is done', async () => {
    const { fresh, honest, revoked, everywhere, late, thefts } = await restored();
    pass(TTL);
    for (const each of [honest, revoked, ...everywhere]) expect(await goOn(fresh, each)).toBeUndefined();
    expect(await goOn(fresh, late)).toBeInstanceOf(SessionOverError);
    expect(thefts).toEqual([]);
  });

  test('all from before can be ended: everybody signs in again, and nobody is called a thief', async () => {
    const { old, fresh, honest, idle, revoked, everywhere, late, thefts } = await restored();
    const restoredAt = new Date(Date.now());
    expect(await endAllFromBefore(fresh.service, restoredAt)).toBe(5);
    pass(SECOND);
    for (const process of [old, fresh]) {
      for (const each of [honest, idle, revoked, ...everywhere, late]) {
        const error = await goOn(process, { ...each });
        expect(error).toBeInstanceOf(SessionOverError);
        expect(error).not.toBeInstanceOf(TokenTheftError);
      }
    }
    const again = await signIn(old, 'ann');
    pass(HOUR);
    expect(await goOn(fresh, again)).toBeUndefined();
    expect(thefts).toEqual([]);
  });

  test('the revocations since can be repeated: only those who were out stay out', async () => {
    const { old, fresh, honest, idle, revoked, everywhere, auditLog, thefts } = await restored();
    await repeatRevocations(fresh.service, auditLog);
    pass(SECOND);
    for (const process of [old, fresh]) {
      for (const each of [revoked, ...everywhere]) {
        expect(await goOn(process, { ...each })).toBeInstanceOf(SessionOverError);
      }
    }
    for (let times = 0; times < 4; times++) {
      for (const each of [honest, idle]) expect(await goOn(times % 2 ? old : fresh, each)).toBeUndefined();
      pass(TTL);
    }
    expect(thefts).toEqual([]);
  });
});

import { type AccessToken, type Jar, type RefreshToken, TICK } from './server.js';
import type { Limits, Message, World } from './world.js';

/** All generations that are further behind the row's than this count as equal. */
const FURTHEST = -3;

/** A part of the world as text, and the token ids in it. */
type Described = [text: string, ...ids: (string | undefined)[]];

/**
 * A text that is equal for worlds with the same future. Generations are relative to the row's, and times to now. Token ids
 * are renamed in order of appearance. Times so long ago that no rule distinguishes them are equal. So are counts without a
 * limit.
 */
export function canonical(world: World, limits: Limits): string {
  const { now } = world;
  const name = namer();
  const oldest = (Math.max(limits.ttl, limits.window) + 1) * TICK;
  const current = world.sessions.length - 1;
  const furthest = FURTHEST - (world.failed < limits.failovers ? limits.writes : 0);

  const deepest = 2 + (limits.failovers > 0 ? limits.writes : 0);

  const age = (time: number) => Math.min(now - time, oldest) / TICK;
  const generation = (session: number, g: number) => {
    const row = world.sessions[session]?.row;
    return row ? Math.max(g - row.generation, furthest) : 'o';
  };
  const refreshOf = (t: RefreshToken | undefined) =>
    t
      ? `${t.session - current},${generation(t.session, t.generation)},${age(t.issuedAt)}${limits.jitter > 0 ? t.tokenId[0]! : ''}${world.hoard ? `d${Math.min(deepest, t.depth)}` : ''}`
      : '';
  const accessOf = (t: AccessToken | undefined) => {
    if (!t) return '';
    if (now >= t.expiresAt + limits.skew) return 'x';
    const left = (t.expiresAt - now) / TICK;
    return t.isUnproven ? `${generation(t.session, t.generation)},${age(t.issuedAt)},${left}` : `p${left}`;
  };
  const ofJar = (jar: Jar | undefined): Described =>
    jar ? [`${refreshOf(jar.refresh)}/${accessOf(jar.access)}`, jar.refresh.tokenId, jar.again] : ['-'];
  const ofMessage = (message: Message): Described => {
    switch (message.kind) {
      case 'request': {
        const [text, ...ids] = ofJar(message.jar);
        const gone = message.life === world.killed ? '' : 'g';
        return [
          `q${gone}${message.isExplicit ? 'e' : ''}${message.isSignIn ? 's' : ''}${(message.until - now) / TICK}/${text}`,
          ...ids,
        ];
      }
      case 'held': {
        const { refresh, access } = message.tokens;
        return [
          `h${age(message.madeAt)}/${message.session - current}/${refreshOf(refresh)}/${accessOf(access)}`,
          refresh?.tokenId,
        ];
      }
      case 'response': {
        const { refresh, access } = message.tokens;
        return [
          `r${message.isExplicit && message.again !== undefined ? 'e' : ''}${message.isSignIn ? 's' : ''}${message.clears ? 'c' : ''}${message.isOlder ? 'o' : ''}${(message.until - now) / TICK}/${refreshOf(refresh)}/${accessOf(access)}`,
          refresh?.tokenId,
          message.again,
        ];
      }
    }
  };
  const write = ([text, ...ids]: Described) => `${text}#${ids.map(name).join(',')}`;
  // Sorted before token ids are renamed in the order in which they appear.
  const writeAll = (described: Described[]) =>
    described
      .toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
      .map(write)
      .join('|');

  const parts = world.sessions.map(({ row }) => (row ? name(row.redeemedBy ?? undefined) : 'over'));
  parts.push(write(ofJar(world.jar)));
  parts.push(writeAll(world.messages.map(ofMessage)));
  if (world.failed < limits.failovers) {
    for (const { generation: g, redeemedBy } of world.sessions[0]!.past) {
      parts.push(`${generation(0, g)},${name(redeemedBy ?? undefined)}`);
    }
  }
  parts.push(world.earlier.map(({ at, jar }) => `${(now - at) / TICK}:${write(ofJar(jar))}`).join('|'));
  if (world.hoard) {
    const loot = world.hoard.map(({ refresh, access }): Described => [
      `${refreshOf(refresh)}/${accessOf(access)}`,
      refresh.tokenId,
    ]);
    const depths = world.refreshed.map((depth) => Math.min(deepest, depth));
    parts.push(writeAll(loot), depths.join(','), String(world.forgotten));
  }
  const counts: [number, number][] = [
    [world.sent, limits.sends],
    [world.passed, limits.time],
    [world.lost, limits.lost],
    [world.killed, limits.kills],
    [world.failed, limits.failovers],
    [world.revoked, limits.revocations],
  ];
  for (const [count, limit] of counts) parts.push(limit === Infinity ? '' : String(count));
  return `${world.end ?? ''};${parts.join(';')}`;
}

/** Renames token ids in the order in which they appear. */
function namer(): (id: string | undefined) => string {
  const names = new Map<string, number>();
  return (id) => {
    if (id === undefined) return '-';
    let known = names.get(id);
    if (known === undefined) names.set(id, (known = names.size));
    return String(known);
  };
}

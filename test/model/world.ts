import {
  decideRefresh,
  decideUse,
  isWorthReplacing,
  type RotationState,
} from '../../lib/rotation/rotation.js';

/**
 * A small world around the real rotation rules: one session row, clients with a cookie jar each, messages that are
 * delayed, reordered and lost. Time is in ticks.
 */

/** The rules of the world; the protocol promises its guarantees while a message is on its way for less than half of `window`. */
export interface Limits {
  /** Reuse window. */
  readonly window: number;
  /** Life of an access token; more than twice the window. */
  readonly ttl: number;
  /** Ticks that a message is on its way at the most. */
  readonly delay: number;
  /** How often time passes: by a tick, or, while nothing is on its way, by the life of an access token. */
  readonly time: number;
  /** Messages on their way at once. */
  readonly messages: number;
  /** Requests that are sent in all. */
  readonly sends: number;
  /** Responses that get lost in all. */
  readonly lost: number;
  /** Whether clients also call the refresh route whenever they like. */
  readonly explicit: boolean;
  /** Whether a thief copies the jar once. */
  readonly thief: boolean;
}

interface RefreshToken {
  readonly generation: number;
  readonly issuedAt: number;
  readonly tokenId: string;
}

interface AccessToken {
  readonly generation: number;
  readonly issuedAt: number;
  readonly expiresAt: number;
  readonly isUnproven: boolean;
}

interface Jar {
  readonly refresh: RefreshToken;
  readonly access: AccessToken;
}

interface Client {
  readonly jar: Jar;
  /** Refreshes whose response has arrived since the jar was copied. */
  readonly refreshed: number;
}

interface Request {
  readonly kind: 'request';
  readonly client: number;
  readonly at: number;
  readonly jar: Jar;
  readonly refreshed: number;
  readonly isExplicit: boolean;
}

interface Response {
  readonly kind: 'response';
  readonly client: number;
  readonly at: number;
  readonly refresh: RefreshToken | undefined;
  readonly access: AccessToken | undefined;
  readonly refreshed: number;
}

type Message = Request | Response;

export interface World {
  readonly now: number;
  readonly passed: number;
  readonly tokens: number;
  readonly sent: number;
  readonly lost: number;
  readonly isCopied: boolean;
  /** Undefined once the session has been revoked as stolen. */
  readonly row: RotationState | undefined;
  readonly clients: readonly Client[];
  readonly messages: readonly Message[];
}

export function initialWorld(limits: Limits): World {
  const jar: Jar = {
    refresh: { generation: 0, issuedAt: 0, tokenId: '0' },
    access: { generation: 0, issuedAt: 0, expiresAt: limits.ttl, isUnproven: false },
  };
  return {
    now: 0,
    passed: 0,
    tokens: 1,
    sent: 0,
    lost: 0,
    isCopied: false,
    row: { generation: 0, generationIssuedAt: 0, redeemedBy: null, previousRedeemedBy: null },
    clients: [{ jar, refreshed: 0 }],
    messages: [],
  };
}

/** What is wrong with a world, if anything. */
export function violation({ row, clients, isCopied }: World, limits: Limits): string | undefined {
  if (!limits.thief && row === undefined) return 'An honest client was called a thief.';
  if (isCopied && row !== undefined && clients.every(({ refreshed }) => refreshed >= 2)) {
    return 'Owner and thief have both refreshed twice, and nobody has noticed.';
  }
  return undefined;
}

/** Everything that can happen next, each with its place in the story. */
export function successors(world: World, limits: Limits): [string, World][] {
  const next: [string, World][] = [];
  if (world.row === undefined) return next;
  const { now, messages, clients } = world;

  if (world.sent < limits.sends && messages.length < limits.messages) {
    for (const [client, { jar, refreshed }] of clients.entries()) {
      for (const isExplicit of limits.explicit ? [false, true] : [false]) {
        const request: Request = { kind: 'request', client, at: now, jar, refreshed, isExplicit };
        const story = isExplicit ? 'calls the refresh route' : 'sends a request';
        next.push([
          `${nameOf(client)} ${story}`,
          { ...world, sent: world.sent + 1, messages: [...messages, request] },
        ]);
      }
    }
  }

  for (const [index, message] of messages.entries()) {
    const rest = messages.toSpliced(index, 1);
    if (message.kind === 'request') {
      next.push(serve({ ...world, messages: rest }, message, limits));
    } else {
      const delivered = clients.map((each, client) =>
        client === message.client ? deliver(each, message) : each,
      );
      next.push([
        `a response arrives at ${nameOf(message.client)}`,
        { ...world, clients: delivered, messages: rest },
      ]);
      if (world.lost < limits.lost) {
        next.push([
          `a response to ${nameOf(message.client)} gets lost`,
          { ...world, lost: world.lost + 1, messages: rest },
        ]);
      }
    }
  }

  if (world.passed < limits.time) {
    const passed = world.passed + 1;
    if (messages.every(({ at }) => now - at < limits.delay)) {
      next.push(['a tick passes', { ...world, passed, now: now + 1 }]);
    }
    if (messages.length === 0)
      next.push(["an access token's life passes", { ...world, passed, now: now + limits.ttl }]);
  }
  if (limits.thief && !world.isCopied) next.push(['a thief copies the cookies', copyJar(world)]);
  return next;
}

/** What the guard does with a request: use the access token, else exchange the refresh token. */
function serve(world: World, request: Request, limits: Limits): [string, World] {
  const { now } = world;
  const row = world.row!;
  const { access, refresh } = request.jar;
  const who = `a request of ${nameOf(request.client)} is served:`;

  if (!request.isExplicit && now < access.expiresAt) {
    if (!access.isUnproven) return [`${who} proven access token`, world];
    const decision = decideUse(row, access, limits.window);
    if (decision.verdict !== 'stale') {
      const replaced = isWorthReplacing(access.expiresAt, now, limits.window)
        ? respond(world, request, { access: { ...access, isUnproven: false } })
        : world;
      const next = decision.verdict === 'prove' ? decision.next : row;
      return [`${who} generation ${access.generation} ${decision.verdict}`, { ...replaced, row: next }];
    }
  }

  const decision = decideRefresh(row, refresh, now, limits.window);
  const issue = (generation: number, issuedAt: number): AccessToken => ({
    generation,
    issuedAt,
    expiresAt: now + limits.ttl,
    isUnproven: true,
  });
  switch (decision.verdict) {
    case 'keep': {
      const kept = respond(world, request, { access: issue(refresh.generation, refresh.issuedAt) });
      return [`${who} refresh token ${refresh.tokenId} is recent and stays`, kept];
    }
    case 'rotate': {
      const { generation } = decision;
      const token: RefreshToken = { generation, issuedAt: now, tokenId: String(world.tokens) };
      const responded = respond(world, request, { access: issue(generation, now), refresh: token });
      return [
        `${who} refresh token ${refresh.tokenId} is exchanged for ${token.tokenId}, generation ${generation}`,
        { ...responded, row: decision.next ?? row, tokens: world.tokens + 1 },
      ];
    }
    case 'theft':
      return [
        `${who} THEFT by refresh token ${refresh.tokenId}, generation ${refresh.generation}`,
        { ...world, row: undefined },
      ];
  }
}

function respond(
  world: World,
  request: Request,
  set: { access: AccessToken; refresh?: RefreshToken },
): World {
  const response: Response = {
    kind: 'response',
    client: request.client,
    at: world.now,
    access: set.access,
    refresh: set.refresh,
    refreshed: request.refreshed + (set.refresh ? 1 : 0),
  };
  return { ...world, messages: [...world.messages, response] };
}

function deliver({ jar, refreshed }: Client, { access, refresh, refreshed: depth }: Response): Client {
  return {
    jar: { access: access ?? jar.access, refresh: refresh ?? jar.refresh },
    refreshed: refresh ? Math.max(refreshed, depth) : refreshed,
  };
}

function copyJar(world: World): World {
  const owner: Client = { jar: world.clients[0]!.jar, refreshed: 0 };
  return {
    ...world,
    isCopied: true,
    clients: [owner, owner],
    // What is on its way was made before the copy; a refresh among it is the owner's first since then.
    messages: world.messages.map((message) => ({
      ...message,
      refreshed: message.kind === 'response' && message.refresh ? 1 : 0,
    })),
  };
}

function nameOf(client: number): string {
  return client === 0 ? 'the owner' : 'the thief';
}

/**
 * The same text for worlds that differ only in names and in when they began: generations are counted from the row's,
 * times from now, token ids renamed in order of appearance.
 */
export function canonical(world: World): string {
  const { now, row, clients } = world;
  const names = new Map<string, number>();
  const name = (id: string | null): string => {
    if (id === null) return '-';
    let known = names.get(id);
    if (known === undefined) names.set(id, (known = names.size));
    return String(known);
  };
  if (row === undefined) return 'theft';
  const generation = (g: number): number => g - row.generation;
  const refresh = (t: RefreshToken | undefined): string =>
    t ? `${generation(t.generation)},${t.issuedAt - now},${name(t.tokenId)}` : '';
  const access = (t: AccessToken | undefined): string => {
    if (!t) return '';
    if (now >= t.expiresAt) return 'x';
    return t.isUnproven
      ? `${generation(t.generation)},${t.issuedAt - now},${t.expiresAt - now}`
      : String(t.expiresAt - now);
  };
  const parts = [`${row.generationIssuedAt - now},${name(row.redeemedBy)},${name(row.previousRedeemedBy)}`];
  for (const { jar, refreshed } of clients)
    parts.push(`${refresh(jar.refresh)}/${access(jar.access)}/${Math.min(2, refreshed)}`);
  const messages = world.messages.map((m) =>
    m.kind === 'request'
      ? `q${m.client}${m.isExplicit ? 'e' : ''}${m.at - now}/${refresh(m.jar.refresh)}/${access(m.jar.access)}/${m.refreshed}`
      : `s${m.client}${m.at - now}/${refresh(m.refresh)}/${access(m.access)}/${m.refreshed}`,
  );
  parts.push(...messages.toSorted());
  parts.push(`${world.lost},${world.sent},${world.isCopied ? 1 : 0},${world.passed}`);
  return parts.join('|');
}

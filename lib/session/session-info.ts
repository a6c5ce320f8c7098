import { inspect, type InspectOptions } from 'node:util';
import type { SessionDetails } from '../storage/session.store.js';
import type { SessionClaims, SessionData } from '../types/register.js';
import { clientNames } from './client-names.js';
import type { SessionInfo } from './session.types.js';

/**
 * A row as applications see it.
 *
 * @param current the id of the session that asks, if it is known
 */
export function toInfo(row: SessionDetails, current?: string): SessionInfo {
  const { id, userId, claims, data, actor, label, userAgent, ip } = row;
  const info: SessionInfo = {
    id,
    userId,
    claims: claims as SessionClaims,
    data: data as SessionData,
    createdAt: new Date(row.createdAt),
    lastSeenAt: new Date(row.lastSeenAt),
    expiresAt: new Date(row.expiresAt),
    remember: row.remember === 1,
    authenticatedAt: new Date(row.authTime ?? row.createdAt),
    amr: row.amr ?? [],
    actor: actor ?? undefined,
    label,
    // Not many who get a session read these, and parsing takes longer than the rest.
    get browser() {
      return clientNames(userAgent).browser;
    },
    get system() {
      return clientNames(userAgent).system;
    },
    userAgent,
    ip,
    current: current === undefined ? undefined : id === current,
  };
  return Object.defineProperty(info, inspect.custom, { value: show });
}

/** inspect() would show "[Getter]" in the place of values. */
function show(this: SessionInfo, _depth: number, options: InspectOptions): string {
  return inspect({ ...this }, options);
}

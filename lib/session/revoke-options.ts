import { InvalidReasonError, type RevocationReason } from '../errors/session.errors.js';
import type { RevokeOptions } from './session.types.js';

/** Fits the column, and every client that takes it for a name. */
const REASON = /^[a-z][a-z0-9_]{0,15}$/;

export interface CheckedReason {
  readonly reason: RevocationReason;
  readonly by: string | number | undefined;
}

/** @throws {@link InvalidReasonError} */
export function checkRevokeOptions(options?: RevokeOptions): CheckedReason {
  const { reason = 'revoked', by } = options ?? {};
  // A client that is told "expired" would look for a session that nobody has ended.
  if (typeof reason !== 'string' || !REASON.test(reason) || reason === 'expired')
    throw new InvalidReasonError();
  return { reason, by };
}

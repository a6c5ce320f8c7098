// The code of docs/operations.md. restore.spec.ts runs what is for a restored backup.
import type { SessionEvent, SessionService } from 'nestjs-session-tokens';

// #region leaked-key
export async function afterASigningKeyHasLeaked(sessions: SessionService): Promise<void> {
  // If somebody may have read a process's memory, or the database and the secret: 'all'.
  const { current, dropped } = await sessions.rotateSigningKeys({ drop: 'current' });
  console.log(`${dropped.join(', ')} refused from now on; ${current} signs.`);
}
// #endregion

// #region breach
export async function afterSomebodyCouldWriteToTheDatabase(sessions: SessionService): Promise<void> {
  await sessions.rotateSigningKeys({ drop: 'all' });
  await sessions.revokeAll({ reason: 'breach' });
}
// #endregion

// #region restore-all
export async function endAllFromBefore(sessions: SessionService, restoredAt: Date): Promise<number> {
  return sessions.revokeAll({ before: restoredAt, reason: 'restored' });
}
// #endregion

// #region restore-some
export async function repeatRevocations(
  sessions: SessionService,
  auditLog: readonly SessionEvent[], // what was logged since a little before the backup, oldest first
): Promise<void> {
  for (const event of auditLog) {
    if (event.type === 'revoked' || event.type === 'theft') {
      await sessions.revoke(event.sessionId, { reason: 'restored' });
    } else if (event.type === 'all_revoked' && event.userId === undefined) {
      const before = new Date(event.before.getTime() + 1); // the sessions of this time itself as well
      await sessions.revokeAll({ before, reason: 'restored' });
    } else if (event.type === 'all_revoked' && event.userId !== undefined) {
      await sessions.revokeAllForUser(event.userId, { except: event.except, reason: 'restored' });
    }
  }
}
// #endregion

// #region stolen
export async function signOutEverywhere(sessions: SessionService, userId: string): Promise<void> {
  await sessions.revokeAllForUser(userId, { reason: 'theft_reported', by: 'support' });
}
// #endregion

import { InvalidInputError } from '../errors/session.errors.js';
import type { SessionCore } from '../module/session.core.js';
import type { TokenSet } from '../session/session-lifecycle.js';
import type { ImpersonationInput, SessionInput } from '../session/session.types.js';

/** The input for a session in a test: that of `sessions.create()`, and who acts as the user. */
export type TestSessionInput = SessionInput & {
  /** Who acts as the user, in a session of their own. @default nobody */
  actor?: SessionInput & {
    /** Why. @default none */
    reason?: string;
  };
};

/** The tokens of a session, and those of the session of who acts in it. */
export interface IssuedTokens {
  readonly tokens: TokenSet;
  readonly actor: TokenSet | undefined;
}

const NONE: ReadonlySet<string> = new Set();

/** Makes a session as if its user had signed in at a time. */
export async function issueAt(
  { lifecycle, cap, manager }: SessionCore,
  input: TestSessionInput,
  at: number,
): Promise<IssuedTokens> {
  const issue = (of: SessionInput) => lifecycle.issue(of, at, async (row) => cap.insert(row, NONE));
  if (typeof input?.actor !== 'object') return { tokens: await issue(input), actor: undefined };
  const { actor, ...session } = input;
  const { reason, ...by } = actor;
  const acting = await issue(by);
  const tokens = await lifecycle.impersonate(
    await manager.getRow(acting.row.id),
    { ...(session as ImpersonationInput), ...(reason !== undefined && { reason }) },
    at,
    async (row) => cap.exempt(row),
  );
  return { tokens, actor: acting };
}

/** @throws {@link InvalidInputError} */
export function refuseActor(input: TestSessionInput, state: string): void {
  if (typeof input?.actor !== 'object') return;
  throw new InvalidInputError(
    `Who acts as another user cannot be "${state}". Leave out the actor or the state.`,
  );
}

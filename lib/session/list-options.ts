import { InvalidInputError } from '../errors/session.errors.js';
import { isSessionId } from '../protocol/session-id.js';
import { checkNames } from './session-input.js';
import type { ListOptions } from './session.types.js';

const DEFAULT_LIMIT = 100;
const MAX_LIMIT = 1_000;

const KNOWN: ReadonlySet<string> = new Set(['limit', 'after', 'current']);

/** @throws {@link InvalidInputError} */
export function checkListOptions(options: ListOptions): ListOptions & { limit: number } {
  checkNames(options, KNOWN, 'options.');
  const { limit = DEFAULT_LIMIT, after, current } = options;
  if (!Number.isInteger(limit) || limit < 1 || limit > MAX_LIMIT) {
    throw new InvalidInputError(`"limit" must be a whole number from 1 to ${MAX_LIMIT}.`);
  }
  for (const [name, id] of Object.entries({ after, current })) {
    if (id !== undefined && !isSessionId(id))
      throw new InvalidInputError(`"${name}" must be the id of a session.`);
  }
  return { limit, after, current };
}

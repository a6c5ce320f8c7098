import { type SessionErrorCode, STATUS } from '../errors/session.errors.js';
import type { AuthenticationFacts } from '../http/authentication-facts.js';
import type { ReadyMade } from '../module/ready-made-route.js';
import type { GuardedRequest, ReadyMadeOperation } from './guards-of-routes.js';

/** When an error is the answer to a request. */
interface Answer {
  /** What it means for the client. */
  readonly meaning: string;
  /** Whether a guard may refuse a request with it. */
  readonly guard?: (request: GuardedRequest) => boolean;
  /** Whether ready-made routes may answer with it. */
  readonly routes?: Partial<Record<ReadyMade, (facts: AuthenticationFacts) => boolean>>;
}

const always = () => true;
const usesCookies = ({ credentials }: AuthenticationFacts) =>
  credentials.some(({ type }) => type === 'cookie');
const forged = (facts: AuthenticationFacts) => facts.csrf.mode !== 'off' && usesCookies(facts);
const exchanges = ({ rules, facts }: GuardedRequest) => facts.refreshes && rules.refresh;
const refusesToActors = ({ rules }: GuardedRequest) => !rules.impersonated || rules.maxAge !== undefined;

/** An error that is no answer of the guard or a ready-made route: methods of the service throw it, or it is a fault. */
const NEVER: Answer = { meaning: '' };

/** All errors, so that none is forgotten. */
export const ANSWERS: Readonly<Record<SessionErrorCode, Answer>> = {
  no_credentials: {
    meaning: 'Nobody is signed in.',
    guard: ({ rules }) => !rules.optional,
    routes: { refresh: always },
  },
  try_refresh: {
    meaning: 'The access token is no longer good: refresh the session, and send the request again.',
    guard: (request) => !request.rules.optional || !exchanges(request),
  },
  session_over: {
    meaning: 'The session has ended. `reason` says why, if that is known.',
    guard: ({ rules }) => !rules.optional,
    routes: { refresh: always },
  },
  token_theft: {
    meaning: 'Two parties held copies of the tokens. The session has been revoked.',
    guard: (request) => !request.rules.optional && exchanges(request),
    routes: { refresh: always },
  },
  insufficient_user_authentication: {
    meaning: 'The user proved who they are too long ago: ask them again. `maxAge` has the limit in seconds.',
    guard: ({ rules }) => rules.maxAge !== undefined,
  },
  look_again: {
    meaning:
      'The tokens look old: repeat the request with those that are stored now. Browsers get 307 instead.',
    guard: (request) => exchanges(request) && request.facts.looksAgain,
    routes: { refresh: ({ looksAgain }) => looksAgain },
  },
  csrf_failed: {
    meaning: 'A page of another site may have sent the request.',
    guard: ({ rules, facts, isUnsafe }) => isUnsafe && rules.csrf && forged(facts),
    routes: { refresh: forged },
  },
  impersonation_refused: {
    meaning: 'Somebody acts as the user, and this is for the user alone.',
    guard: refusesToActors,
    routes: { refresh: always },
  },
  session_not_found: NEVER,
  signing_key_not_found: NEVER,
  invalid_user_id: NEVER,
  invalid_claims: NEVER,
  invalid_data: NEVER,
  invalid_input: NEVER,
  too_many_sessions: NEVER,
  invalid_reason: NEVER,
  headers_sent: NEVER,
  unguarded_route: NEVER,
  unsupported_context: NEVER,
  invalid_option: NEVER,
  keys_unavailable: {
    meaning: 'The keys are not available at present. Try again.',
    guard: ({ facts }) => facts.unavailable.includes('keys_unavailable'),
    routes: { refresh: always, keys: ({ hasOwnKeys }) => hasOwnKeys, revocations: always },
  },
  revocations_unavailable: {
    meaning: 'The list of revoked sessions is not available at present. Try again.',
    guard: ({ facts }) => facts.unavailable.includes('revocations_unavailable'),
  },
  storage_unavailable: {
    meaning: 'The database is not available at present. Try again.',
    guard: ({ facts }) => facts.unavailable.includes('storage_unavailable'),
    routes: { refresh: always, revocations: always },
  },
};

const CODES = Object.keys(ANSWERS) as SessionErrorCode[];

/** The errors with which the guards of a route may answer. */
export function answersOfGuards(requests: readonly GuardedRequest[]): SessionErrorCode[] {
  return CODES.filter((code) => requests.some((request) => ANSWERS[code].guard?.(request)));
}

/** The errors with which a ready-made route may answer. */
export function answersOfRoute({ kind, facts }: ReadyMadeOperation): SessionErrorCode[] {
  return CODES.filter((code) => ANSWERS[code].routes?.[kind]?.(facts));
}

export const TITLES: Readonly<Record<number, string>> = {
  307: 'The tokens look old. Browsers send the request again, with the cookies that they have then.',
  401: 'No session that can be used.',
  403: 'The request is refused.',
  503: 'The request could not be authenticated.',
};

const HEADERS: Readonly<Record<number, object>> = {
  307: {
    Location: {
      description: 'The same URL, as a relative reference.',
      schema: { type: 'string', format: 'uri-reference' },
    },
  },
  401: { 'WWW-Authenticate': { description: 'A challenge (RFC 6750, 3).', schema: { type: 'string' } } },
  503: { 'Retry-After': { description: 'In seconds.', schema: { type: 'integer' } } },
};

/**
 * The responses that have these codes, by status.
 *
 * @param body reference to the schema of all errors
 * @param modules whose errors these are
 */
export function responsesOf(
  codes: readonly SessionErrorCode[],
  body: string,
  modules: readonly AuthenticationFacts[],
): Record<string, object> {
  const responses: Record<string, object> = {};
  if (codes.includes('look_again') && modules.some(usesCookies))
    responses[307] = responseOf(307, ['look_again'], body);
  for (const status of new Set(codes.map((code) => STATUS[code]))) {
    responses[status] = responseOf(
      status,
      codes.filter((code) => STATUS[code] === status),
      body,
    );
  }
  return responses;
}

function responseOf(status: number, codes: readonly SessionErrorCode[], body: string): object {
  const meanings = codes.map((code) => `- \`${code}\`: ${ANSWERS[code].meaning}`);
  return {
    description: [TITLES[status], '', ...meanings].join('\n'),
    headers: HEADERS[status],
    content: {
      'application/json': {
        schema: {
          allOf: [
            { $ref: body },
            {
              type: 'object',
              properties: {
                statusCode: { type: 'integer', enum: [status] },
                code: { type: 'string', enum: codes },
              },
            },
          ],
        },
      },
    },
  };
}

/** The schema of the body of all errors. */
export const ERROR_BODY = {
  type: 'object',
  description: 'Why a request was refused. `code` is stable, `message` may change.',
  required: ['statusCode', 'code', 'message'],
  properties: {
    statusCode: { type: 'integer' },
    code: { type: 'string' },
    message: { type: 'string' },
    reason: { type: 'string', description: '`session_over`: why the session ended, if that is known.' },
    impersonation: {
      type: 'boolean',
      description: '`session_over`: true if it was one in which somebody acted as the user.',
    },
    maxAge: {
      type: 'integer',
      description:
        '`insufficient_user_authentication`: how long ago the user may have proved who they are at most, in seconds.',
    },
  },
};

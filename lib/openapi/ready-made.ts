import { DEFAULT_MODULE } from '../guard/injection-tokens.js';
import type { AuthenticationFacts } from '../http/authentication-facts.js';
import type { ReadyMade } from '../module/ready-made-route.js';
import type { ReadyMadeOperation } from './guards-of-routes.js';
import type { SecuritySchemes } from './schemes.js';
import type { Operation } from './document.js';

const text = { schema: { type: 'string' } };
const query = (name: string, description: string) => ({
  name,
  in: 'query',
  description,
  required: false,
  ...text,
});

/** What the ready-made routes do, and how they answer if all is well. */
const ROUTES: Readonly<Record<ReadyMade, (facts: AuthenticationFacts) => Operation>> = {
  refresh: ({ csrf }) => ({
    summary: 'Refreshes the session',
    responses: {
      204: {
        description: 'The session has new tokens.',
        headers: {
          'Set-Cookie': { description: 'The new tokens.', ...text },
          ...(csrf.mode === 'token' && {
            [csrf.header]: { description: 'The CSRF token of the session.', ...text },
          }),
        },
      },
    },
  }),
  keys: () => ({
    summary: 'The public keys of access tokens',
    responses: {
      200: {
        description: 'A JSON Web Key Set (RFC 7517, 5).',
        headers: { 'Cache-Control': { description: 'For how long it may be kept.', ...text } },
        content: {
          'application/jwk-set+json': {
            schema: {
              type: 'object',
              required: ['keys'],
              properties: {
                keys: {
                  type: 'array',
                  items: {
                    type: 'object',
                    required: ['kty', 'kid', 'alg'],
                    properties: Object.fromEntries(
                      ['kty', 'kid', 'alg', 'use'].map((name) => [name, { type: 'string' }]),
                    ),
                    additionalProperties: true,
                  },
                },
              },
            },
          },
        },
      },
    },
  }),
  revocations: () => ({
    summary: 'The sessions that have ended, signed',
    parameters: [
      query('since', 'The cursor of the last list. Without it, the answer has everything.'),
      query('nonce', 'Comes back in the answer.'),
      {
        name: 'if-none-match',
        in: 'header',
        description: 'The `ETag` of the last answer.',
        required: false,
        ...text,
      },
    ],
    responses: {
      200: {
        description: 'The list, as a JWS.',
        headers: { ETag: text },
        content: { 'application/jwt': text },
      },
      304: { description: 'Nothing is new.', headers: { ETag: text } },
    },
  }),
};

/** Describes a ready-made route. What `@nestjs/swagger` has found out of its handler says less. */
export function describeReadyMade(
  operation: Operation,
  { kind, facts }: ReadyMadeOperation,
  schemes: SecuritySchemes,
): void {
  Object.assign(operation, ROUTES[kind](facts));
  // The lists are public, even if the document asks for something everywhere.
  operation.security = kind === 'refresh' ? schemes.ofRefresh(facts) : [];
  // The controllers of all modules have the same names, and the ids of a document must differ.
  if (facts.module !== DEFAULT_MODULE) operation.operationId = `${operation.operationId}_${facts.module}`;
}

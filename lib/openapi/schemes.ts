import { DEFAULT_MODULE } from '../guard/injection-tokens.js';
import type { AuthenticationFacts } from '../http/authentication-facts.js';
import type { Credential } from '../http/transport/token-transport.js';
import type { GuardedRequest } from './guards-of-routes.js';

/** What one request must have; all members of it. */
type Requirement = Readonly<Record<string, readonly string[]>>;

/** Security schemes by name. */
type Schemes = Record<string, object>;

/** Collects the security schemes that the operations of a document need. */
export class SecuritySchemes {
  readonly all: Schemes = {};

  /** What a request must have to pass the guards: any of these. */
  ofGuards(requests: readonly GuardedRequest[]): Requirement[] {
    return requests
      .map((request) => this.ofGuard(request))
      .reduce((one, other) => one.flatMap((a) => other.map((b) => ({ ...a, ...b }))));
  }

  /** What a request to the refresh route must have. */
  ofRefresh(facts: AuthenticationFacts): Requirement[] {
    return facts.refreshCredentials.map((each) => ({ [this.require(facts, 'refresh', each)]: [] }));
  }

  private ofGuard({ facts, rules, isUnsafe }: GuardedRequest): Requirement[] {
    const { csrf, credentials } = facts;
    const hasHeader = isUnsafe && rules.csrf && (csrf.mode === 'token' || csrf.mode === 'header');
    const required = credentials.map((each): Requirement => {
      const names = [this.require(facts, 'session', each)];
      if (hasHeader && each.type === 'cookie') names.push(this.requireHeader(facts));
      return Object.fromEntries(names.map((name) => [name, []]));
    });
    return rules.optional ? [{}, ...required] : required;
  }

  private require(facts: AuthenticationFacts, use: 'session' | 'refresh', credential: Credential): string {
    const scheme =
      'name' in credential
        ? { type: 'apiKey', in: credential.type, name: credential.name }
        : { type: 'http', scheme: 'bearer', ...(use === 'session' && { bearerFormat: 'JWT' }) };
    return this.add(facts, `${use}-${credential.type}`, scheme);
  }

  private requireHeader(facts: AuthenticationFacts): string {
    const description =
      facts.csrf.mode === 'token'
        ? 'The CSRF token of the session.'
        : 'Any value. Pages of other sites cannot send it.';
    return this.add(facts, 'session-csrf', {
      type: 'apiKey',
      in: 'header',
      name: facts.csrf.header,
      description,
    });
  }

  /** @returns the name of the scheme */
  private add({ module }: AuthenticationFacts, kind: string, scheme: object): string {
    // Names of schemes may have letters, digits and these signs only.
    const suffix = module.replaceAll(/[^\w.-]/g, (sign) => `_${sign.codePointAt(0)}`);
    const name = module === DEFAULT_MODULE ? kind : `${kind}-${suffix}`;
    this.all[name] = scheme;
    return name;
  }
}

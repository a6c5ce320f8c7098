import { fail, list, oneOf, text, TOKEN } from './option-checks.js';
import type { CsrfMode, CsrfOptions } from './session-module.options.js';

export interface ResolvedCsrfOptions {
  readonly mode: CsrfMode;
  readonly header: string;
  readonly trustedOrigins: ReadonlySet<string>;
}

export function resolveCsrf(input: CsrfOptions | undefined, warnings: string[]): ResolvedCsrfOptions {
  const trustedOrigins = new Set<string>();
  for (const origin of list('csrf.trustedOrigins', input?.trustedOrigins)) {
    let parsed: URL | undefined;
    try {
      parsed = new URL(origin);
    } catch {
      // The check below reports it, as all other texts that are no origins.
    }
    const exact = parsed && originOf(parsed);
    if (!parsed || exact === undefined || parsed.hostname.includes('*') || exact !== origin.toLowerCase()) {
      fail(
        'csrf.trustedOrigins',
        `${JSON.stringify(origin)} is not an origin. Write scheme, host and port only, such as "https://app.example.com".`,
      );
    }
    if (parsed.protocol === 'http:' && process.env['NODE_ENV'] === 'production') {
      warnings.push(
        `csrf.trustedOrigins has ${origin}: whoever can change unencrypted traffic can act as that origin.`,
      );
    }
    trustedOrigins.add(exact);
  }
  const header = (text('csrf.header', input?.header) ?? 'anti-csrf').toLowerCase();
  if (!TOKEN.test(header)) fail('csrf.header', 'is not a header name.');
  const mode = oneOf('csrf.mode', input?.mode, ['origin', 'token', 'header', 'off'], 'origin');
  if (mode === 'off') {
    warnings.push(
      'csrf.mode is "off": other sites can send requests in the name of your users, unless no browser is a client.',
    );
  }
  return {
    mode,
    header,
    trustedOrigins,
  };
}

/**
 * The origin of a URL. Those of custom schemes (`capacitor://localhost`, `chrome-extension://…`) are opaque to `URL`; browsers send
 * them as they are.
 */
function originOf({ protocol, host, origin }: URL): string | undefined {
  if (origin !== 'null') return origin;
  return host === '' || protocol === 'file:' ? undefined : `${protocol}//${host}`;
}

import type { ResolvedOptions } from '../options/resolved-options.js';
import { logger } from '../util/logger.js';

/** Options for Nest's `app.enableCors()`, on either adapter. */
export interface SessionCorsOptions {
  origin: string[];
  credentials: true;
  allowedHeaders: string[];
  exposedHeaders: string[];
  methods: string[];
  maxAge: number;
}

/** What a browser client on a trusted origin needs: credentials, the CSRF header, and to see every header that carries a token. */
export function corsOptions(options: ResolvedOptions, allowedHeaders: readonly string[]): SessionCorsOptions {
  const { mode, header, trustedOrigins } = options.csrf;
  const { access, refresh, lookAgain, transport } = options.headers;
  const hasHeaders = options.transport !== 'cookie';
  if (trustedOrigins.size === 0) {
    logger.warn('corsOptions() allows no origin: list those of your pages in csrf.trustedOrigins.');
  }
  const ours = mode === 'token' || mode === 'header' ? [header] : [];
  if (hasHeaders) ours.push('authorization', refresh, lookAgain, transport);
  return {
    origin: [...trustedOrigins],
    credentials: true,
    allowedHeaders: [
      ...new Set(['content-type', ...allowedHeaders.map((name) => name.toLowerCase()), ...ours]),
    ],
    exposedHeaders: [
      ...(hasHeaders ? [access, refresh, lookAgain] : []),
      ...(mode === 'token' ? [header] : []),
    ],
    methods: ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'],
    maxAge: 600,
  };
}

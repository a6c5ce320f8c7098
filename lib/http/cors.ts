import type { ResolvedOptions } from '../options/resolved-options.js';
import { logger } from '../util/logger.js';
import { ACCESS_TOKEN_HEADER } from './transport/bearer-transport.js';

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
  if (trustedOrigins.size === 0) {
    logger.warn('corsOptions() allows no origin: list those of your pages in csrf.trustedOrigins.');
  }
  const ours = mode === 'token' || mode === 'header' ? [header] : [];
  return {
    origin: [...trustedOrigins],
    credentials: true,
    allowedHeaders: [
      ...new Set(['content-type', ...allowedHeaders.map((name) => name.toLowerCase()), ...ours]),
    ],
    exposedHeaders: [ACCESS_TOKEN_HEADER, ...(mode === 'token' ? [header] : [])],
    methods: ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'],
    maxAge: 600,
  };
}

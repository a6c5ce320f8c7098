import type { ResolvedOptions } from '../options/resolved-options.js';

/** Options for Nest's `app.enableCors()`, on either adapter. */
export interface SessionCorsOptions {
  origin: string[];
  credentials: true;
  allowedHeaders: string[];
  exposedHeaders: string[];
  methods: string[];
  maxAge: number;
}

/** The CORS options for browser clients on trusted origins: credentials, and the CSRF header in both directions. */
export function corsOptions(options: ResolvedOptions, allowedHeaders: readonly string[]): SessionCorsOptions {
  const { mode, header, trustedOrigins } = options.csrf;
  const ours = mode === 'token' || mode === 'header' ? [header] : [];
  return {
    origin: [...trustedOrigins],
    credentials: true,
    allowedHeaders: [
      ...new Set(['content-type', ...allowedHeaders.map((name) => name.toLowerCase()), ...ours]),
    ],
    exposedHeaders: mode === 'token' ? [header] : [],
    methods: ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'],
    maxAge: 600,
  };
}

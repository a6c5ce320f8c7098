import type { DataSource } from 'typeorm';
import { resolveOptions } from '../../lib/options/resolved-options.js';
import type { SessionModuleOptions } from '../../lib/options/session-module.options.js';
import { createSessionCore, type SessionCore } from '../../lib/module/session.core.js';
import { keepSecret } from './log-search.js';

/** The library without Nest, as in one process, for suites that work with tokens. */
export async function startCore(
  dataSource: DataSource,
  options: SessionModuleOptions = {},
): Promise<SessionCore> {
  keepSecret(options.secret);
  // The cases need the exact second at which a token expires.
  const accessToken = { jitter: 0, ...options.accessToken };
  const core = createSessionCore(dataSource, resolveOptions({ ...options, accessToken }).options);
  await core.signingKeys.start(Date.now());
  await core.refreshTokens.start(Date.now());
  return core;
}

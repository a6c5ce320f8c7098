import type { DataSource } from 'typeorm';
import { resolveOptions } from '../../lib/options/resolved-options.js';
import type { SessionModuleOptions } from '../../lib/options/session-module.options.js';
import { createSessionCore, type SessionCore } from '../../lib/session.core.js';

/** The library without Nest, as one process would have it: for suites that work with tokens. */
export async function startCore(
  dataSource: DataSource,
  options: SessionModuleOptions = {},
): Promise<SessionCore> {
  const core = createSessionCore(dataSource, resolveOptions(options).options);
  await core.signingKeys.start(Date.now());
  await core.refreshTokens.start(Date.now());
  return core;
}

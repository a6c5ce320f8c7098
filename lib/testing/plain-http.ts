import { NAME_PREFIX } from '../options/cookie-name.js';
import type { SessionCookieOptions, SessionModuleOptions } from '../options/session-module.options.js';

const NAMES = ['accessName', 'refreshName', 'lookAgainName', 'indicatorName'] as const;

const OF_DATABASES = ['database', 'sqliteConnection', 'deployment', 'revocationPush'] as const;

/** The options without those that concern only the database, for rows in memory. */
export function withoutDatabase(options: SessionModuleOptions = {}): SessionModuleOptions {
  const others = { ...options };
  for (const name of OF_DATABASES) delete others[name];
  return { ...others, secret: false };
}

/** The options with cookies that clients also keep and send over plain HTTP. Their names have no prefix. */
export function overPlainHttp(options: SessionModuleOptions): SessionModuleOptions {
  const { sameSite, ...given } = options.cookies ?? {};
  const cookies: SessionCookieOptions = { ...given, secure: false, partitioned: false };
  if (sameSite !== undefined) cookies.sameSite = sameSite === 'none' ? 'lax' : sameSite;
  for (const key of NAMES) {
    const name = cookies[key];
    // A wrong name is for the check of the options to report.
    if (typeof name === 'string') cookies[key] = name.replace(NAME_PREFIX, '');
  }
  return { ...options, cookies };
}

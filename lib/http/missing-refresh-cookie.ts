import { logger } from '../util/logger.js';
import { type HttpRequest, pathOf } from './messages.js';

/**
 * Warns if a client asks for a refresh with an access cookie but without a refresh cookie. Both cookies are set and cleared
 * together. So the browser most likely has the refresh cookie for another path, for example behind a proxy that removes a
 * prefix, which cannot be seen from the server. Warns once in a process, because every client of such an application asks.
 */
export class MissingRefreshCookie {
  private hasWarned = false;

  /** @param cookiePath the path of the refresh cookie */
  constructor(private readonly cookiePath: () => string) {}

  /** @param request with an authentic access cookie and without a refresh cookie */
  notice(request: HttpRequest): void {
    // Browsers send a cookie with the path "/" to every path.
    if (this.hasWarned || this.cookiePath() === '/') return;
    this.hasWarned = true;
    const path = pathOf(request).slice(0, 200);
    logger.warn(
      `A client asked for a refresh at ${JSON.stringify(path)} with an access cookie, but without a refresh cookie. The refresh cookie has the path ${JSON.stringify(this.cookiePath())}. If browsers request the refresh route at another path, because a proxy changes paths or the application is mounted in another one, set cookies.refreshPath to that path. This is logged once.`,
    );
  }
}

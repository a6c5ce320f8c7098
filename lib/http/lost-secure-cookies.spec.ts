import { describe, expect, it, vi } from 'vitest';
import { logger } from '../util/logger.js';
import { LostSecureCookies } from './lost-secure-cookies.js';
import type { HttpRequest } from './messages.js';

// What real clients do is in test/http/lost-secure-cookies.spec.ts.
describe('LostSecureCookies', () => {
  it.each<[connection: string, socket: object | undefined, isNoticed: boolean]>([
    ['plain HTTP', { remoteAddress: '10.0.0.1' }, true],
    ['TLS', { remoteAddress: '10.0.0.1', encrypted: true }, false],
    ['a connection that is not known', undefined, false],
  ])('%s', (_connection, socket, isNoticed) => {
    const warn = vi.spyOn(logger, 'warn').mockReturnValue(undefined);
    const lost = new LostSecureCookies();
    const request = { headers: {}, socket } as HttpRequest;
    lost.signedIn(request, 0);
    lost.refused(request, 1_000);
    expect(warn).toHaveBeenCalledTimes(isNoticed ? 1 : 0);
    warn.mockRestore();
  });

  it('takes clients at other addresses for others', () => {
    const warn = vi.spyOn(logger, 'warn').mockReturnValue(undefined);
    const lost = new LostSecureCookies();
    const [one, other] = ['10.0.0.1', '10.0.0.2'].map(
      (remoteAddress) => ({ headers: {}, socket: { remoteAddress } }) as HttpRequest,
    );
    lost.signedIn(one!, 0);
    lost.refused(other!, 1_000);
    expect(warn).not.toHaveBeenCalled();
    warn.mockRestore();
  });
});

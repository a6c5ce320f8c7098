import type { ServerResponse } from 'node:http';
import onHeaders from 'on-headers';

type Listener = (response: ServerResponse) => void;

/** Where a response has the listeners; a WeakMap would cost several times as much. */
const LISTENERS = Symbol('nestjs-session-tokens.before-headers');

type HeardResponse = ServerResponse & { [LISTENERS]?: Listener[] };

/**
 * Calls a listener when the headers of a response are about to leave, whoever has written them: adapter, handler, middleware,
 * stream. The same listener is called once.
 */
export function beforeHeaders(response: HeardResponse, listener: Listener): void {
  const known = response[LISTENERS];
  if (known) {
    if (!known.includes(listener)) known.push(listener);
    return;
  }
  const listeners = [listener];
  response[LISTENERS] = listeners;
  // One for all: each call of onHeaders() wraps the response once more.
  onHeaders(response, () => {
    for (const each of listeners) each(response);
  });
}

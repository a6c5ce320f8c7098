// Twenty requests at once.

import { explain } from './actions.js';
import { call } from './api.js';
import { $, element, log } from './dom.js';

const COUNT = 20;

/**
 * @returns what to say about the answers
 * @throws the first answer that says that nobody is signed in any more, if there was one
 */
export async function sendBurst(withExpiredToken) {
  const cells = Array.from({ length: COUNT }, (_, index) =>
    element('li', { className: 'waiting', textContent: String(index + 1) }),
  );
  $('burst').replaceChildren();
  if (withExpiredToken) await call('POST', '/demo/theft/owner-refresh');

  $('burst').replaceChildren(...cells);
  const start = performance.now();
  const errors = (await Promise.all(cells.map((cell) => one(cell, start)))).filter(Boolean);
  const over = errors.find(({ meansSignedOut }) => meansSignedOut);
  if (over) throw over;

  const took = Math.round(performance.now() - start);
  const result = `${COUNT - errors.length} of ${COUNT} answered 200, in ${took} ms altogether.`;
  if (errors.length > 0) {
    log(`You sent ${COUNT} requests at once: ${result}`, 'bad');
    return { text: `${result} ${explain(errors[0])}`, kind: 'bad' };
  }
  log(
    withExpiredToken
      ? `You sent ${COUNT} requests at once with an access token that had run out. All were answered; to the server they were one device in a hurry, not a thief.`
      : `You sent ${COUNT} requests at once: ${result}`,
    'good',
  );
  return result;
}

async function one(cell, start) {
  const error = await call('GET', '/me').then(
    () => undefined,
    (reason) => reason,
  );
  const ms = Math.round(performance.now() - start);
  cell.className = error ? 'bad' : 'good';
  cell.replaceChildren(
    element('b', { textContent: error ? error.status || 'none' : '200' }),
    element('span', { textContent: `${ms} ms` }),
  );
  return error;
}

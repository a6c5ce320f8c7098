// Twenty requests at once.

import { call } from './api.js';
import { $, element, log } from './dom.js';

const COUNT = 20;

/** @returns the first answer that says that nobody is signed in any more, if there was one */
export async function sendBurst(withExpiredToken) {
  const cells = Array.from({ length: COUNT }, (_, index) =>
    element('li', { className: 'waiting', textContent: String(index + 1) }),
  );
  $('burst').replaceChildren(...cells);
  $('burst-result').textContent = '';
  if (withExpiredToken) await call('POST', '/demo/theft/owner-refresh');

  const start = performance.now();
  const answers = await Promise.all(cells.map((cell) => one(cell, start)));
  const fine = answers.filter((error) => error === undefined).length;
  const took = Math.round(performance.now() - start);
  const result = `${fine} of ${COUNT} answered 200, in ${took} ms altogether.`;
  $('burst-result').textContent = result;
  $('burst-result').className = `result ${fine === COUNT ? 'good' : 'bad'}`;
  log(
    fine === COUNT && withExpiredToken
      ? `You sent ${COUNT} requests at once with an access token that had run out. All were answered; to the server they were one device in a hurry, not a thief.`
      : `You sent ${COUNT} requests at once: ${result}`,
    fine === COUNT ? 'good' : 'bad',
  );
  return answers.find((error) => error?.meansSignedOut);
}

async function one(cell, start) {
  const error = await call('GET', '/me').then(
    () => undefined,
    (reason) => reason,
  );
  const ms = Math.round(performance.now() - start);
  cell.className = error ? 'bad' : 'good';
  cell.replaceChildren(
    element('b', { textContent: String(error?.status ?? 200) }),
    element('span', { textContent: `${ms} ms` }),
  );
  return error;
}

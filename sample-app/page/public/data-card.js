// The session's data: any JSON.

import { call } from './api.js';
import { fail, onClick, tell } from './actions.js';
import { $, log, time } from './dom.js';

const NOT_LOADED = 'What the field shows may not be what is kept.';

onClick('data-load', 'data-result', load, { refused: NOT_LOADED, unsure: NOT_LOADED });
onClick('data-save', 'data-result', save, {
  refused: 'Nothing was saved.',
  unsure: 'It may not have been saved.',
});

let loads = 0;

/** Shows the data of the session that has just become this page's. */
export async function startDataCard() {
  // Whatever another session had.
  $('data').value = '';
  $('data').removeAttribute('aria-invalid');
  tell($('data-result'), '');
  await load().catch((error) => fail($('data-result'), error, { unsure: 'The data is not shown.' }));
}

async function load() {
  loads += 1;
  const mine = loads;
  const data = await call('GET', '/data');
  // A slow answer must not take the place of a newer one, which may be that of another session.
  if (mine !== loads) return '';
  $('data').value = JSON.stringify(data, undefined, 2);
  $('data').removeAttribute('aria-invalid');
  return 'Loaded.';
}

async function save() {
  let value;
  try {
    value = JSON.parse($('data').value);
  } catch (error) {
    $('data').setAttribute('aria-invalid', 'true');
    return { text: `That is not JSON yet: ${error.message}. Nothing was saved.`, kind: 'bad' };
  }
  $('data').removeAttribute('aria-invalid');
  await call('PUT', '/data', value);
  log('You saved the session data. It is in the database; the tokens do not carry it.');
  return `Saved at ${time()}.`;
}

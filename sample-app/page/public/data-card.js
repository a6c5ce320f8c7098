// The session's data: any JSON.

import { call } from './api.js';
import { $, log, time } from './dom.js';

export async function loadData() {
  $('data').value = JSON.stringify(await call('GET', '/data'), undefined, 2);
  tell('');
}

export async function saveData() {
  let value;
  try {
    value = JSON.parse($('data').value);
  } catch (error) {
    $('data').setAttribute('aria-invalid', 'true');
    tell(`That is not JSON yet: ${error.message}`, 'bad');
    return;
  }
  await call('PUT', '/data', value);
  tell(`Saved at ${time()}.`, 'good');
  log('You saved the session data. It is in the database; the tokens do not carry it.');
}

function tell(text, kind = '') {
  if (kind !== 'bad') $('data').removeAttribute('aria-invalid');
  $('data-result').textContent = text;
  $('data-result').className = `result ${kind}`;
}

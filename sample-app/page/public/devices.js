// The user's devices: each is a session that can be named, and signed out from here.

import { call, serverNow } from './api.js';
import { $, ago, day, element, log } from './dom.js';

export async function showDevices(onSignedOutHere) {
  const { sessions, next } = await call('GET', '/sessions');
  // Somebody is typing a name: the list waits.
  if ($('devices').querySelector('form')) return;
  sessions.sort((a, b) => b.current - a.current);
  const reload = () => showDevices(onSignedOutHere);
  const show = (each) => device(each, reload, onSignedOutHere);
  $('devices').replaceChildren(...sessions.map(show));
  $('sign-out-others').disabled = sessions.length < 2;
  offerMore(next, show);
}

let loadMore;
$('devices-more').addEventListener('click', () => loadMore().catch((error) => log(error.message, 'bad')));

/** The next page of a user with very many devices. */
function offerMore(after, show) {
  $('devices-more').hidden = after === null;
  loadMore = async () => {
    const { sessions, next } = await call('GET', `/sessions?after=${after}`);
    $('devices').append(...sessions.map(show));
    offerMore(next, show);
  };
}

function device(session, reload, onSignedOutHere) {
  const client = describe(session);
  const name = session.label ?? client;
  const signOut = element('button', { type: 'button', className: 'quiet small', textContent: 'Sign out' });
  signOut.setAttribute('aria-label', `Sign out ${name}${session.current ? ', this device' : ''}`);
  signOut.addEventListener('click', async () => {
    signOut.disabled = true;
    await call('DELETE', `/sessions/${session.id}`).catch(() => undefined); // it may be gone already
    if (session.current) {
      onSignedOutHere();
      return;
    }
    log(`You signed out ${name}. Its next request will be refused.`);
    await reload();
  });
  const rename = element('button', { type: 'button', className: 'quiet small', textContent: 'Rename' });
  rename.setAttribute('aria-label', `Rename ${name}${session.current ? ', this device' : ''}`);
  const title = element(
    'p',
    { className: 'device-name' },
    // A name may be of any language, and must not turn the text around it.
    element('bdi', { textContent: name }),
    ...(session.current ? [element('span', { className: 'badge', textContent: 'this device' })] : []),
  );
  rename.addEventListener('click', () => title.replaceWith(nameForm(session, title, reload)));
  const facts = [
    ...(session.label === null ? [] : [client]),
    session.ip ?? 'unknown address',
    session.current ? 'active now' : `seen ${ago(Date.parse(session.lastSeenAt), serverNow())}`,
    `signed in ${day(new Date(session.createdAt))}`,
  ];
  return element(
    'li',
    {},
    $(['iOS', 'Android'].includes(session.system) ? 'icon-phone' : 'icon-desk').content.cloneNode(true),
    element('div', {}, title, element('p', { className: 'hint', textContent: facts.join(' · ') })),
    element('div', { className: 'device-actions' }, rename, signOut),
  );
}

/** Takes the place of the name until the user has typed another one. An empty one takes the name away. */
function nameForm(session, title, reload) {
  const input = element('input', {
    value: session.label ?? '',
    maxLength: 64,
    placeholder: describe(session),
  });
  input.setAttribute('aria-label', 'Name of the device');
  const form = element(
    'form',
    { className: 'row' },
    input,
    element('button', { className: 'small', textContent: 'Save' }),
  );
  input.addEventListener('keydown', ({ key }) => {
    if (key === 'Escape') form.replaceWith(title);
  });
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const label = input.value.trim() || null;
    try {
      await call('PATCH', `/sessions/${session.id}`, { label });
      log(label === null ? 'The device has no name any more.' : `The device is called “${label}” now.`);
    } catch (error) {
      log(error.message, 'bad');
    }
    form.replaceWith(title);
    await reload().catch(() => undefined); // the next request says why
  });
  setTimeout(() => input.focus());
  return form;
}

/** Browser and system in words. */
function describe({ browser, system }) {
  if (system === null) return browser ?? 'Unknown device';
  return `${browser ?? 'Unknown browser'} on ${system}`;
}

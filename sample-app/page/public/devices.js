// The user's devices: each is a session that can be named, and signed out from here.

import { fail, onClick, perform, rescueFocus, tell } from './actions.js';
import { call } from './api.js';
import { $, day, element, exact, log, relativeTime } from './dom.js';

const NOT_LOADED = { refused: 'The list may be out of date.', unsure: 'The list may be out of date.' };

const rows = new Map(); // by the ids of the sessions
let pages = 1;
let next = null;
let onSignedOutHere;
/** Counts what changes the list. An answer to a question from before a change is out of date. */
let changes = 0;

/** `onSignedOut(text)` is called when this device has been signed out from the list. */
export function startDevices(onSignedOut) {
  onSignedOutHere = onSignedOut;
}

/** Forgets the devices of another session. */
export function resetDevices() {
  changes += 1;
  rows.clear();
  pages = 1;
  next = null;
  $('devices').replaceChildren();
  for (const id of ['devices-result', 'more-result', 'others-result']) tell($(id), '');
  arrange();
}

/** Asks for the list, and says so beside it if that fails. @returns the id of this device's session, if it is on display */
export async function reloadDevices() {
  const before = changes;
  try {
    const current = await load();
    tell($('devices-result'), '');
    return current;
  } catch (error) {
    if (before === changes) fail($('devices-result'), error, NOT_LOADED);
    return undefined;
  }
}

onClick(
  'devices-reload',
  'devices-result',
  async () => {
    await load();
    return 'The list is up to date.';
  },
  NOT_LOADED,
);

onClick(
  'devices-more',
  'more-result',
  async () => {
    const last = $('devices').lastElementChild;
    pages += 1;
    await load().catch((error) => {
      pages -= 1;
      throw error;
    });
    (last?.nextElementSibling ?? $('devices-title')).focus();
  },
  {
    refused: 'There are more devices than the list shows.',
    unsure: 'There are more devices than the list shows.',
  },
);

onClick(
  'sign-out-others',
  'others-result',
  async () => {
    const { revoked } = await call('DELETE', '/sessions');
    const text = `You signed out ${revoked} other ${revoked === 1 ? 'device' : 'devices'}.`;
    log(text);
    changes += 1;
    // The server has said so: the list need not be asked for to know it.
    for (const [id, { li }] of rows) if (!li.classList.contains('current')) forget(id);
    pages = 1;
    next = null;
    arrange();
    await reloadDevices();
    rescueFocus($('devices-title'));
    return text;
  },
  { refused: 'The other devices are still signed in.', unsure: 'The other devices may still be signed in.' },
);

/** Loads as many pages of the list as are on display. */
async function load() {
  const before = changes;
  let answer = await call('GET', '/sessions');
  const { sessions } = answer;
  for (let page = 1; page < pages && answer.next !== null; page++) {
    answer = await call('GET', `/sessions?after=${answer.next}`);
    sessions.push(...answer.sessions);
  }
  if (before !== changes) return undefined;
  next = answer.next;
  sessions.sort((a, b) => b.current - a.current);
  show(sessions);
  return sessions.find(({ current }) => current)?.id;
}

/** Rows of sessions that are still there stay, with what is being typed in them and what they say. */
function show(sessions) {
  const list = $('devices');
  const focused = list.contains(document.activeElement) ? document.activeElement : undefined;
  const items = sessions.map((session) => {
    const row = rows.get(session.id) ?? makeRow();
    rows.set(session.id, row);
    row.show(session, nameOf(session, sessions));
    return row.li;
  });
  for (const [id, { li }] of rows) if (!items.includes(li)) rows.delete(id);
  if (items.length !== list.children.length || items.some((each, index) => each !== list.children[index])) {
    list.replaceChildren(...items);
    focused?.focus({ preventScroll: true });
    if (focused) rescueFocus($('devices-title'));
  }
  arrange();
}

function arrange() {
  const others = $('devices').querySelectorAll('li:not(.current, .gone)').length;
  $('sign-out-others').disabled = others === 0 && next === null;
  $('devices-more').hidden = next === null;
}

function forget(id) {
  rows.get(id)?.li.remove();
  rows.delete(id);
}

function makeRow() {
  let session;
  let name; // as the user sees it
  let quoted; // the same, within a sentence
  const title = element('p', { className: 'device-name' });
  const facts = element('p', { className: 'hint' });
  const result = element('p', { className: 'result', role: 'status' });
  const rename = element('button', { type: 'button', className: 'quiet small', textContent: 'Rename' });
  const signOut = element('button', { type: 'button', className: 'quiet small', textContent: 'Sign out' });
  const icon = element('span');
  const li = element(
    'li',
    { tabIndex: -1 },
    icon,
    element('div', {}, title, facts),
    element('div', { className: 'device-actions' }, rename, signOut),
    result,
  );

  rename.addEventListener('click', () => {
    if (!title.isConnected) return;
    const form = nameForm(
      session,
      async (label, save) => {
        await perform(
          save,
          result,
          async () => {
            await call('PATCH', `/sessions/${session.id}`, { label });
            form.replaceWith(title);
            rename.focus();
            const text =
              label === null
                ? 'The device has no name any more.'
                : `The device is called “${isolated(label)}” now.`;
            log(text);
            await reloadDevices();
            return text;
          },
          { refused: 'The name has not changed.', unsure: 'The name may not have changed.' },
        );
      },
      () => {
        form.replaceWith(title);
        tell(result, '');
        rename.focus();
      },
    );
    title.replaceWith(form);
    form.elements[0].focus();
  });

  signOut.addEventListener(
    'click',
    () =>
      void perform(
        signOut,
        result,
        async () => {
          let text = `You signed out ${quoted}. Its next request will be refused.`;
          await call('DELETE', `/sessions/${session.id}`).catch((error) => {
            if (error.code !== 'session_not_found') throw error;
            text = `${quoted} was not signed in any more.`;
          });
          if (session.current) {
            onSignedOutHere('You signed this device out.');
            return '';
          }
          log(text);
          changes += 1;
          // It says so in its place until the list is loaded again.
          rows.delete(session.id);
          li.className = 'gone';
          li.replaceChildren(result);
          arrange();
          li.focus({ preventScroll: true });
          return text;
        },
        () =>
          session.current
            ? { refused: 'You are still signed in.', unsure: 'You may still be signed in.' }
            : { refused: `${quoted} is still signed in.`, unsure: `${quoted} may still be signed in.` },
      ),
  );

  return {
    li,
    show(newest, newestName) {
      session = newest;
      name = newestName;
      quoted = isolated(name);
      const here = session.current ? ', this device' : '';
      li.className = session.current ? 'current' : '';
      icon.replaceChildren(
        $(['iOS', 'Android'].includes(session.system) ? 'icon-phone' : 'icon-desk').content.cloneNode(true),
      );
      title.replaceChildren(
        // A name may be of any language, and must not turn the text around it.
        element('bdi', { textContent: name }),
        ...(session.current ? [element('span', { className: 'badge', textContent: 'this device' })] : []),
      );
      rename.setAttribute('aria-label', `Rename ${name}${here}`);
      signOut.setAttribute('aria-label', `Sign out ${name}${here}`);
      facts.replaceChildren(
        ...(session.label === null ? [] : [describe(session), ' · ']),
        session.ip ?? 'unknown address',
        ' · ',
        ...(session.current ? ['active now'] : ['seen ', relativeTime(new Date(session.lastSeenAt))]),
        ' · signed in ',
        relativeTime(new Date(session.createdAt)),
      );
    },
  };
}

/** Takes the place of the name until the user has typed another one. An empty one takes the name away. */
function nameForm(session, onSave, onCancel) {
  const input = element('input', {
    value: session.label ?? '',
    maxLength: 64,
    placeholder: describe(session),
    dir: 'auto',
    ariaLabel: 'Name of the device',
  });
  const save = element('button', { className: 'small', textContent: 'Save' });
  const cancel = element('button', { type: 'button', className: 'quiet small', textContent: 'Cancel' });
  const form = element('form', { className: 'row' }, input, save, cancel);
  cancel.addEventListener('click', onCancel);
  input.addEventListener('keydown', ({ key }) => {
    if (key === 'Escape') onCancel();
  });
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    void onSave(input.value.trim() || null, save);
  });
  return form;
}

/** Tells devices of the same name apart by the first of these that does. This device is marked anyway. */
const MARKS = [
  ({ ip }) => ip ?? 'unknown address',
  ({ createdAt }) => `signed in ${day(new Date(createdAt))}`,
  ({ createdAt }) => `signed in ${exact(new Date(createdAt))}`,
];

function nameOf(session, sessions) {
  const name = session.label ?? describe(session);
  const same = sessions.filter((each) => !each.current && (each.label ?? describe(each)) === name);
  if (session.current || same.length < 2) return name;
  const mark = MARKS.find((each) => new Set(same.map(each)).size === same.length) ?? MARKS.at(-1);
  return `${name} (${mark(session)})`;
}

/** Browser and system in words. */
function describe({ browser, system }) {
  if (system === null) return browser ?? 'Unknown device';
  return `${browser ?? 'Unknown browser'} on ${system}`;
}

/** Within a sentence: a name in a script that is written from right to left must not turn the rest of it. */
function isolated(name) {
  return /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff]/.test(name) ? `\u2068${name}\u2069` : name;
}

// Puts the page together: who is signed in, and what happens when somebody no longer is.

import { fail, onClick, perform, rescueFocus, tell, whenSignedOut } from './actions.js';
import { ApiError, call, sessionTimes } from './api.js';
import { sendBurst } from './burst.js';
import { startDataCard } from './data-card.js';
import { reloadDevices, resetDevices, startDevices } from './devices.js';
import { $, log } from './dom.js';
import { isTheftRunning, noteSignedOut, resetTheftDemo, startTheftDemo } from './theft.js';
import { resetTokenCard, startTokenCard } from './token-card.js';

/** By code, or by the reason that came with it. */
const SIGNED_OUT = {
  token_theft:
    'This session was used by two parties and has been ended for both. Sign in again: that begins a new one, of which nobody has a copy.',
  session_over: 'This session is over: it was signed out from another device, or has expired.',
  expired: 'This session is over: it has expired.',
  logout: 'This session is over: it was signed out.',
  replaced: 'This session is over: this browser has signed in again since.',
  no_credentials: 'You are not signed in here any more. Another tab may have signed out.',
};

let settings;
let me; // who is signed in, as the server has said
let state = 'unknown'; // then 'in' or 'out'

// ---- signed in, signed out ------------------------------------------------------------------------------------------

async function showSignedIn(newest) {
  const wasOut = state === 'out';
  me = newest;
  state = 'in';
  const { name, role } = me.claims;
  $('account-name').textContent = name;
  $('avatar').textContent = name[0];
  $('me-name').textContent = name;
  $('me-user').textContent = `user id ${me.userId} · ${role}`;
  $('me-session').textContent = me.sessionId;
  $('me-claims').textContent = JSON.stringify(me.claims, undefined, 1);
  for (const id of ['account-result', 'request-result', 'burst-result']) tell($(id), '');
  $('burst').replaceChildren();
  resetTokenCard();
  resetTheftDemo();
  resetDevices();
  arrange();
  if (wasOut) rescueFocus($('me-title'));
  await Promise.all([reload(), startDataCard()]);
}

function showSignedOut(text = '', kind = 'warn') {
  const wasIn = state === 'in';
  state = 'out';
  arrange();
  tell($('sign-in-message'), text, kind);
  if (text !== '') log(text, kind === 'warn' ? 'bad' : '');
  if (wasIn) rescueFocus($('sign-in-title'));
}

/** Shows what belongs to the present state. A theft story is told to its end, also when it has signed the owner out. */
function arrange() {
  for (const each of document.querySelectorAll('[data-when]')) each.hidden = each.dataset.when !== state;
  for (const each of document.querySelectorAll('[data-demo]')) each.hidden = !settings.theftDemo;
  const isStory = settings.theftDemo && isTheftRunning();
  $('theft').hidden = !settings.theftDemo || (state !== 'in' && !isStory);
  $('cards').hidden = state !== 'in' && !isStory && $('log').childElementCount === 0;
  $('cards').classList.toggle('few', state !== 'in');
}

function leave(error) {
  const text = SIGNED_OUT[error.reason] ?? SIGNED_OUT[error.code];
  if (state === 'out') {
    if ($('sign-in-message').textContent === '') tell($('sign-in-message'), text, 'warn');
    return;
  }
  noteSignedOut(error);
  showSignedOut(isTheftRunning() ? SIGNED_OUT.token_theft : text);
}

/** Asks for the devices, as any request would; and notices that another tab has signed somebody else in. */
async function reload() {
  const current = await reloadDevices();
  if (current !== undefined && state === 'in' && current !== me.sessionId) {
    await start().catch((error) => fail($('devices-result'), error));
  }
}

// ---- what visitors do -----------------------------------------------------------------------------------------------

whenSignedOut(leave);

$('sign-in').addEventListener('submit', (event) => {
  event.preventDefault();
  const button = $('sign-in').querySelector('[type=submit]');
  void perform(
    button,
    $('sign-in-message'),
    signIn,
    { unsure: 'It is not certain whether you are signed in.' },
    $('username'),
  );
});

async function signIn() {
  await call('POST', '/login', { username: $('username').value.trim(), password: $('password').value });
  const newest = await call('GET', '/me').catch((error) => {
    if (error.code !== 'no_credentials') throw error;
    throw new ApiError(
      'The password was right, but this browser did not keep the cookies. They are marked “Secure”, which some browsers accept over https only (Safari even on localhost). Use https, or start the sample with COOKIE_SECURE=false.',
      { status: error.status },
    );
  });
  $('sign-in').reset();
  log(
    `You signed in as ${newest.claims.name}. The browser holds two cookies that no script can read: an access token and a refresh token.`,
    'good',
  );
  await showSignedIn(newest);
}

for (const button of document.querySelectorAll('.demo')) {
  button.addEventListener('click', () => {
    $('username').value = button.dataset.user;
    $('password').value = button.dataset.password;
    $('username').dispatchEvent(new Event('input'));
    $('sign-in').querySelector('[type=submit]').focus();
  });
}

function signedOutHere(text) {
  resetTheftDemo();
  showSignedOut(text, 'good');
}

onClick(
  'sign-out',
  'account-result',
  async () => {
    await call('POST', '/logout');
    signedOutHere('You signed out. The session is over on the server, and the cookies are gone.');
  },
  { refused: 'You are still signed in.', unsure: 'You may still be signed in.' },
);
onClick('request-now', 'request-result', async () => {
  const begin = performance.now();
  await call('GET', '/me');
  const text = `GET /me answered 200 in ${Math.round(performance.now() - begin)} ms.`;
  log(`${text} The access token said who you are.`);
  return text;
});
onClick('burst-start', 'burst-result', async () =>
  sendBurst(settings.theftDemo && $('burst-expired').checked),
);
startDevices(signedOutHere);

document.addEventListener('visibilitychange', () => {
  if (state === 'in' && !document.hidden && !isTheftRunning()) void reload();
});

// ---- start ----------------------------------------------------------------------------------------------------------

/** Shows who is signed in, as soon as the server has said it. */
async function start() {
  settings ??= await prepare();
  // Without the readable cookie nobody is signed in: no need to ask.
  if (!sessionTimes()) showSignedOut();
  else await showSignedIn(await call('GET', '/me'));
}

async function prepare() {
  const read = await call('GET', '/page/settings.json');
  if (read.refresh === 'endpoint') {
    $('token-hint').textContent =
      'At zero this page just makes its next request. The server answers “try refresh”; the page calls the refresh route once and repeats the request.';
  }
  startTheftDemo(read, {
    onSignedOut: leave,
    onSignIn() {
      $('sign-in').scrollIntoView({ behavior: 'smooth', block: 'center' });
      $('username').focus({ preventScroll: true });
    },
  });
  startTokenCard(read.accessTokenTtl, async () => {
    if (state === 'in' && !isTheftRunning()) await reload();
  });
  return read;
}

const UNKNOWN = 'So this page does not know whether you are signed in.';

async function tryStart() {
  await perform($('start-again'), $('start-result'), start, { refused: UNKNOWN, unsure: UNKNOWN });
  $('start').hidden = state !== 'unknown';
  if (state !== 'unknown' && document.activeElement === $('start-again')) {
    (state === 'in' ? $('me-title') : $('sign-in-title')).focus();
  }
}

$('start-again').addEventListener('click', () => void tryStart());
await tryStart();

// Puts the page together: who is signed in, and what happens when somebody no longer is.

import { ApiError, call, sessionTimes } from './api.js';
import { sendBurst } from './burst.js';
import { loadData, saveData } from './data-card.js';
import { showDevices } from './devices.js';
import { $, log, onClick } from './dom.js';
import { isTheftRunning, noteSignedOut, resetTheftDemo, startTheftDemo } from './theft.js';
import { resetTokenCard, startTokenCard } from './token-card.js';

const SIGNED_OUT = {
  token_theft:
    'This session was used by two parties and has been ended for both. Sign in again: that begins a new one, of which nobody has a copy.',
  session_over: 'This session is over: it was signed out from another device, or has expired.',
};

const settings = await call('GET', '/page/settings.json');
let isSignedIn = false;

// ---- signed in, signed out ------------------------------------------------------------------------------------------

async function showSignedIn(me) {
  isSignedIn = true;
  const { name, role } = me.claims;
  $('account-name').textContent = name;
  $('avatar').textContent = name[0];
  $('me-name').textContent = name;
  $('me-user').textContent = `user id ${me.userId} · ${role}`;
  $('me-session').textContent = me.sessionId;
  $('me-claims').textContent = JSON.stringify(me.claims, undefined, 1);
  resetTokenCard();
  resetTheftDemo();
  arrange();
  await Promise.all([reloadDevices(), loadData()]);
}

function showSignedOut(code) {
  isSignedIn = false;
  arrange();
  say(SIGNED_OUT[code] ?? '', 'warn');
  if (SIGNED_OUT[code]) log(SIGNED_OUT[code], 'bad');
}

/** Shows what belongs to the present state. A theft story is told to its end, also when it has signed the owner out. */
function arrange() {
  for (const each of document.querySelectorAll('[data-when]'))
    each.hidden = (each.dataset.when === 'in') !== isSignedIn;
  for (const each of document.querySelectorAll('[data-demo]')) each.hidden = !settings.theftDemo;
  const isStory = settings.theftDemo && isTheftRunning();
  $('theft').hidden = !settings.theftDemo || (!isSignedIn && !isStory);
  $('cards').hidden = !isSignedIn && !isStory && $('log').childElementCount === 0;
  $('cards').classList.toggle('few', !isSignedIn);
}

function say(text, kind) {
  const message = $('sign-in-message');
  message.textContent = text;
  message.className = `notice ${kind}`;
  message.hidden = text === '';
}

/** Does something that needs a session, and notices when there is none any more. */
async function withSession(work) {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (error.meansSignedOut) leave(error);
    else log(error.message, 'bad');
  }
}

function leave(error) {
  if (!isSignedIn) return;
  noteSignedOut(error);
  showSignedOut(isTheftRunning() ? 'token_theft' : error.code);
}

const reloadDevices = () =>
  showDevices(() => {
    log('You signed this device out.');
    resetTheftDemo();
    showSignedOut();
  });

// ---- what visitors do -----------------------------------------------------------------------------------------------

$('sign-in').addEventListener('submit', async (event) => {
  event.preventDefault();
  const button = event.submitter ?? $('sign-in').querySelector('[type=submit]');
  button.disabled = true;
  try {
    await signIn({ username: $('username').value.trim(), password: $('password').value });
  } catch (error) {
    say(error.message, 'bad');
  } finally {
    button.disabled = false;
  }
});

async function signIn(credentials) {
  await call('POST', '/login', credentials);
  let me;
  try {
    me = await call('GET', '/me');
  } catch (error) {
    if (error.code !== 'no_credentials') throw error;
    say(
      'The password was right, but this browser did not keep the cookies. They are marked “Secure”, which some browsers accept over https only (Safari even on localhost). Use https, or start the sample with COOKIE_SECURE=false.',
      'bad',
    );
    return;
  }
  $('sign-in').reset();
  say('');
  log(
    `You signed in as ${me.claims.name}. The browser holds two cookies that no script can read: an access token and a refresh token.`,
    'good',
  );
  await withSession(() => showSignedIn(me));
}

for (const button of document.querySelectorAll('.demo')) {
  button.addEventListener('click', () => {
    $('username').value = button.dataset.user;
    $('password').value = button.dataset.password;
    $('sign-in').querySelector('[type=submit]').focus();
  });
}

const onSessionClick = (id, work) => onClick(id, () => withSession(work));

onSessionClick('sign-out', async () => {
  await call('POST', '/logout');
  log('You signed out. The session is over on the server, and the cookies are gone.');
  resetTheftDemo();
  showSignedOut();
});
onSessionClick('request-now', async () => {
  const start = performance.now();
  await call('GET', '/me');
  log(
    `GET /me answered 200 in ${Math.round(performance.now() - start)} ms. The access token said who you are.`,
  );
});
onSessionClick('devices-reload', reloadDevices);
onSessionClick('sign-out-others', async () => {
  const { revoked } = await call('DELETE', '/sessions');
  log(`You signed out ${revoked} other ${revoked === 1 ? 'device' : 'devices'}.`);
  await reloadDevices();
});
onSessionClick('burst-start', async () => {
  const over = await sendBurst(settings.theftDemo && $('burst-expired').checked);
  if (over) leave(over);
});
onSessionClick('data-save', saveData);
onSessionClick('data-load', loadData);

document.addEventListener('visibilitychange', () => {
  if (isSignedIn && !document.hidden && !isTheftRunning()) void withSession(reloadDevices);
});

// ---- start ----------------------------------------------------------------------------------------------------------

if (settings.refresh === 'endpoint') {
  $('token-hint').textContent =
    'At zero this page just makes its next request. The server answers “try refresh”; the page calls the refresh route once and repeats the request.';
}
startTheftDemo(settings, {
  onSignedOut: leave,
  onSignIn() {
    $('sign-in').scrollIntoView({ behavior: 'smooth', block: 'center' });
    $('username').focus({ preventScroll: true });
  },
});
startTokenCard(settings.accessTokenTtl, async () => {
  if (isSignedIn && !isTheftRunning()) await withSession(reloadDevices);
});

if (sessionTimes()) {
  await call('GET', '/me').then(
    (me) => withSession(() => showSignedIn(me)),
    (error) => {
      showSignedOut(error.code);
      if (!error.meansSignedOut) say(error.message, 'bad');
    },
  );
} else {
  // Without the readable cookie nobody is signed in: no need to ask.
  showSignedOut();
}

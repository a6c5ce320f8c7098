// The access token's life, as the readable cookie tells it.

import { serverNow, sessionTimes } from './api.js';
import { $, duration, log, relativeTime } from './dom.js';

let known; // what the cookie said last
let knownEnd;
let renewals = 0;

/** How long to wait before a request that did not renew the token is made again. */
const RETRY_MS = 2_000;

/** Starts counting down. `onExpired` makes the request that renews; `ttl` is a whole life in milliseconds. */
export function startTokenCard(ttl, onExpired) {
  let triedAt = 0;
  setInterval(() => {
    const times = sessionTimes();
    if (times) show(times, ttl);
    const isExpired = (times?.accessUntil ?? 0) <= serverNow();
    // A page that nobody looks at need not keep itself alive.
    if (isExpired && !document.hidden && Date.now() - triedAt > RETRY_MS) {
      triedAt = Date.now();
      onExpired();
    }
  }, 200);
}

/** A new session: what was seen of another one does not count. */
export function resetTokenCard() {
  known = undefined;
  renewals = 0;
  $('renewals').textContent = '0';
  $('renewed-at').textContent = 'not yet';
}

function show({ accessUntil, sessionUntil }, ttl) {
  if (known !== undefined && accessUntil > known) celebrate();
  known = accessUntil;
  const left = Math.max(0, accessUntil - serverNow());
  const seconds = Math.ceil(left / 1000);
  $('token-left').textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
  $('token-of').textContent = `left of ${duration(ttl)}`;
  $('token-bar').style.transform = `scaleX(${Math.min(1, left / ttl)})`;
  $('token-bar').classList.toggle('low', left < ttl / 5);
  if (knownEnd !== sessionUntil) $('session-until').replaceChildren(relativeTime(new Date(sessionUntil)));
  knownEnd = sessionUntil;
}

function celebrate() {
  renewals += 1;
  $('renewals').textContent = String(renewals);
  $('renewed-at').replaceChildren(relativeTime(new Date(serverNow())));
  const card = $('token-card');
  card.classList.remove('flash');
  void card.offsetWidth; // lets the animation begin anew
  card.classList.add('flash');
  log('The access token was renewed. You are still signed in, and did not have to do anything.', 'good');
}

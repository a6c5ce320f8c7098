// The user's devices: each is a session that can be signed out from here.

import { call } from './api.js';
import { $, day, element, log } from './dom.js';

export async function showDevices(onSignedOutHere) {
  const sessions = await call('GET', '/sessions');
  sessions.sort((a, b) => b.current - a.current);
  $('devices').replaceChildren(...sessions.map((session) => device(session, onSignedOutHere)));
  $('sign-out-others').disabled = sessions.length < 2;
  return sessions.length;
}

function device(session, onSignedOutHere) {
  const { name, isPhone } = describe(session.userAgent);
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
    await showDevices(onSignedOutHere);
  });
  return element(
    'li',
    {},
    $(isPhone ? 'icon-phone' : 'icon-desk').content.cloneNode(true),
    element(
      'div',
      {},
      element(
        'p',
        { className: 'device-name', textContent: name },
        ...(session.current ? [element('span', { className: 'badge', textContent: 'this device' })] : []),
      ),
      element('p', {
        className: 'hint',
        textContent: `${(session.ip ?? 'unknown address').replace('::ffff:', '')} · since ${day(new Date(session.createdAt))}`,
      }),
    ),
    signOut,
  );
}

/** A `User-Agent` in words. Order matters: nearly every browser also claims to be others. */
export function describe(userAgent) {
  const find = (names) => names.find(([pattern]) => pattern.test(userAgent ?? ''))?.[1];
  const browser = find([
    [/Edg/, 'Edge'],
    [/OPR\//, 'Opera'],
    [/Firefox|FxiOS/, 'Firefox'],
    [/SamsungBrowser/, 'Samsung Internet'],
    [/Chrome|CriOS/, 'Chrome'],
    [/Safari/, 'Safari'],
    [/curl/, 'curl'],
    [/^node|undici/, 'Node.js'],
  ]);
  const system = find([
    [/iPhone/, 'iPhone'],
    [/iPad/, 'iPad'],
    [/Android/, 'Android'],
    [/Windows/, 'Windows'],
    [/Mac OS X/, 'macOS'],
    [/CrOS/, 'ChromeOS'],
    [/Linux/, 'Linux'],
  ]);
  const name = [browser ?? 'Unknown browser', ...(system ? [system] : [])].join(' on ');
  return { name, isPhone: /iPhone|Android.*Mobile/.test(userAgent ?? '') };
}

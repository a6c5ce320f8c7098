// The few things that this page does with the DOM. Text is always set as text: nothing that users wrote becomes markup.

import { serverNow } from './api.js';

export const $ = (id) => document.getElementById(id);

export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

export function time(date = new Date()) {
  return date.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: '2-digit' });
}

/** With the time of day only where that is near enough to matter. */
export function day(date) {
  const isNear = Math.abs(date - Date.now()) < 36 * 3_600_000;
  return date.toLocaleString([], {
    day: 'numeric',
    month: 'short',
    ...(isNear && { hour: '2-digit', minute: '2-digit' }),
  });
}

const UNITS = [
  [365 * 86_400, 'year'],
  [30 * 86_400, 'month'],
  [86_400, 'day'],
  [3_600, 'hour'],
  [60, 'minute'],
];

/** How far away a time is, in words: "3 minutes ago", "in 30 days". */
export function relative(then, now) {
  const seconds = (then - now) / 1_000;
  const [size, unit] = UNITS.find(([each]) => Math.abs(seconds) >= each) ?? [];
  if (!unit) return seconds > 0 ? 'in less than a minute' : 'just now';
  return new Intl.RelativeTimeFormat('en').format(Math.trunc(seconds / size), unit);
}

/** Date and time to the second. */
export const exact = (date) => date.toLocaleString([], { dateStyle: 'medium', timeStyle: 'medium' });

/** A time in words that stay right while the page is open; pointing at them shows the exact time. */
export function relativeTime(date) {
  const made = element('time', { className: 'relative', dateTime: date.toISOString(), title: exact(date) });
  made.textContent = relative(date, serverNow());
  return made;
}

setInterval(() => {
  for (const each of document.querySelectorAll('time.relative')) {
    const text = relative(Date.parse(each.dateTime), serverNow());
    if (each.textContent !== text) each.textContent = text;
  }
}, 1_000);

/** A length of time in words. */
export function duration(ms) {
  const units = [
    [86_400_000, 'day'],
    [3_600_000, 'hour'],
    [60_000, 'minute'],
    [1_000, 'second'],
  ];
  const [size, name] = units.find(([each]) => ms >= each && ms % each === 0) ?? units.at(-1);
  return `${ms / size} ${name}${ms === size ? '' : 's'}`;
}

const MAX_ENTRIES = 60;

/** Tells in plain words what happened; `kind` is `good`, `bad` or nothing. */
export function log(text, kind = '') {
  const list = $('log');
  const now = new Date();
  list.prepend(
    element(
      'li',
      { className: kind },
      element('time', { textContent: time(now), dateTime: now.toISOString(), title: exact(now) }),
      element('span', { textContent: text }),
    ),
  );
  while (list.children.length > MAX_ENTRIES) list.lastChild.remove();
}

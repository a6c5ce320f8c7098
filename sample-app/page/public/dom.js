// The few things that this page does with the DOM. Text is always set as text: nothing that users wrote becomes markup.

export const $ = (id) => document.getElementById(id);

export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

/** A button's work: the button rests until it is done. */
export function onClick(id, work) {
  const button = $(id);
  button.addEventListener('click', async () => {
    button.disabled = true;
    try {
      await work();
    } finally {
      button.disabled = false;
    }
  });
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

/** How long ago a time was, in words: "3 minutes ago". */
export function ago(then, now) {
  const seconds = Math.max(0, now - then) / 1_000;
  const [size, unit] = [
    [86_400, 'day'],
    [3_600, 'hour'],
    [60, 'minute'],
  ].find(([each]) => seconds >= each) ?? [0];
  if (!unit) return 'just now';
  return new Intl.RelativeTimeFormat('en').format(-Math.floor(seconds / size), unit);
}

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
  list.prepend(
    element(
      'li',
      { className: kind },
      element('time', { textContent: time() }),
      element('span', { textContent: text }),
    ),
  );
  while (list.children.length > MAX_ENTRIES) list.lastChild.remove();
}

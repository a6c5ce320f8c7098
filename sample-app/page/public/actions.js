// What visitors do, and what came of it. The result stands beside the button, and says no more than the server has.

import { ApiError } from './api.js';
import { $, element, log } from './dom.js';

let onSignedOut = () => {};

/** Says what happens when the answer to any request is that nobody is signed in any more. */
export function whenSignedOut(work) {
  onSignedOut = work;
}

/** Shows `text` in a live region, which screen readers then read out; `kind` is `good`, `bad` or nothing. */
export function tell(place, text, kind = '') {
  // The same text again would be read out again.
  if (place.textContent !== text) place.textContent = text;
  place.classList.remove('good', 'bad', 'warn');
  if (kind) place.classList.add(kind);
}

/**
 * What is true after a failure.
 *
 * @param refused what is so because the server has refused
 * @param unsure what may be so because nobody knows whether it was done
 */
export function explain(error, { refused = '', unsure = '' } = {}) {
  return [error.message, error.isRefusal ? refused : unsure, offer(error)].filter(Boolean).join(' ');
}

function offer({ isRefusal, status, retryAfter }) {
  if (retryAfter > 0) return `Try again in ${inWords(retryAfter)}.`;
  // What the server refuses, it will refuse again.
  return isRefusal && status !== 429 ? '' : 'Try again.';
}

/**
 * Does one thing for one button. While it is being done, the button does nothing more; it keeps the focus, which a
 * disabled one would lose.
 *
 * @param work returns what to say, as a text or as `{ text, kind }`, or nothing if it has said all itself
 * @param truth for {@link explain}, or a function that returns it
 * @param input where something else to try can be typed while the button rests
 */
export async function perform(button, place, work, truth, input) {
  if (button.getAttribute('aria-disabled') === 'true') return;
  button.setAttribute('aria-disabled', 'true');
  tell(place, '');
  try {
    const said = await work();
    tell(place, said?.text ?? said ?? '', said?.kind ?? 'good');
  } catch (error) {
    fail(place, error, truth);
    // It would be refused again.
    if (error.status === 429 && error.retryAfter > 0) await rest(place, error.retryAfter, input);
  } finally {
    button.removeAttribute('aria-disabled');
  }
}

/** Says what a failure means, or leaves where it means that the session is over. */
export function fail(place, error, truth) {
  if (!(error instanceof ApiError)) throw error;
  if (error.meansSignedOut) {
    tell(place, '');
    onSignedOut(error);
    return;
  }
  const text = explain(error, typeof truth === 'function' ? truth() : truth);
  if (place.textContent !== text) log(text, 'bad');
  tell(place, text, 'bad');
}

/** A button of the page; see {@link perform}. */
export function onClick(id, place, work, truth) {
  $(id).addEventListener('click', () => void perform($(id), $(place), work, truth));
}

/** Counts down beside the result, and then says that the time is over. The numbers are not read out one by one. */
async function rest(place, seconds, input) {
  const left = element('p', { className: 'hint', ariaHidden: 'true' });
  place.after(left);
  const until = Date.now() + seconds * 1_000;
  let timer;
  await new Promise((resolve) => {
    const tick = () => {
      const more = Math.max(0, Math.ceil((until - Date.now()) / 1_000));
      left.textContent = `${Math.floor(more / 60)}:${String(more % 60).padStart(2, '0')} left`;
      if (more === 0) resolve();
    };
    timer = setInterval(tick, 250);
    input?.addEventListener('input', resolve, { once: true });
    tick();
  });
  clearInterval(timer);
  left.remove();
  tell(place, 'You can try again now.');
}

function inWords(seconds) {
  if (seconds < 100) return `${seconds} ${seconds === 1 ? 'second' : 'seconds'}`;
  const minutes = Math.ceil(seconds / 60);
  return minutes < 100 ? `${minutes} minutes` : `${Math.ceil(minutes / 60)} hours`;
}

/** Moves the focus if what had it is not on the page any more: nobody is to start again at the top. */
export function rescueFocus(target) {
  const focused = document.activeElement;
  if (!focused || focused === document.body || focused.disabled || !focused.checkVisibility()) target.focus();
}

// The theft demonstration: two stories, told step by step. Each step really happens; what is said about it depends on what
// the server answered, so that a story that takes another turn (a slow click, another tab) is still told right.

import { explain, tell } from './actions.js';
import { ApiError, call, serverNow, sessionTimes } from './api.js';
import { $, duration, element, log } from './dom.js';

/** Clocks and networks are not exact: a little more time than that has to pass. */
const MARGIN = 300;

const TOO_YOUNG =
  'The access token that came with this refresh token has not run out yet, so the server left it alone and gave another access token only. Wait a moment and try again.';
const NOT_CERTAIN =
  'Not certain yet: for all the server knows, this could be one busy browser. When both have renewed twice, it is certain.';

let settings;
let actions; // what the rest of the page does for the story: `onSignedOut(error)`, `onSignIn()`
let run; // the story being told: { story, steps, index, outcomes, thiefId, expiresAt, renewedAt, isCaught }
let timer;

export function startTheftDemo(pageSettings, pageActions) {
  settings = pageSettings;
  actions = pageActions;
  for (const radio of document.querySelectorAll('input[name=story]'))
    radio.addEventListener('change', resetTheftDemo);
  $('theft-restart').addEventListener('click', () => {
    resetTheftDemo();
    focusCurrent();
  });
  resetTheftDemo();
}

/** Whether a theft is under way. The page then makes no requests by itself, so that each step is the visitor's own. */
export function isTheftRunning() {
  return run !== undefined && run.index > 0;
}

export function resetTheftDemo() {
  const story = document.querySelector('input[name=story]:checked').value;
  run = { story, steps: STORIES[story], index: 0, outcomes: [], expiresAt: 0, renewedAt: 0, isCaught: false };
  render();
}

/** Something else on the page found out that the session is over. */
export function noteSignedOut(error) {
  if (!isTheftRunning() || run.isCaught) return;
  finish(caughtYou(error));
}

// ---- the steps ------------------------------------------------------------------------------------------------------

const copy = {
  who: 'thief',
  title: 'Your cookies are copied',
  button: 'Copy my cookies',
  async work() {
    // In endpoint mode the browser shows its refresh cookie on paths below the refresh route only.
    const path = settings.refresh === 'endpoint' ? '/auth/refresh/theft-copy' : '/demo/theft/copy';
    run.thiefId = (await call('POST', path)).thiefId;
    run.expiresAt = sessionTimes()?.accessUntil ?? 0; // of both copies
    return told(
      'The thief now holds your access token and your refresh token. On the server nothing has changed, and nobody can tell.',
    );
  },
};

const look = {
  who: 'thief',
  title: 'The thief looks around',
  button: 'Open my account as the thief',
  async work() {
    const report = await act('use');
    if (report.status !== 200) return refusedThief(report);
    if (report.refreshToken === 'renewed') {
      noteRenewal();
      return told(
        'The stolen access token had already run out, so the server exchanged the stolen refresh token, too. It was used for the first time: for all the server knows, this is you.',
        report.status,
      );
    }
    return told(
      `It works: to the server the thief is ${report.userId}. A stolen access token is good until it runs out, after ${duration(settings.accessTokenTtl)} at the most. That is why it lives so short. Your devices show nothing new: it is your own session.`,
      report.status,
    );
  },
};

const thiefRenews = {
  who: 'thief',
  title: 'The thief renews the stolen tokens',
  button: 'Renew as the thief',
  waits: untilExpired,
  goOn: () => act('use'),
  async work() {
    const report = await act('refresh');
    if (report.status >= 400) return refusedThief(report);
    if (report.refreshToken === 'kept') return { ...told(TOO_YOUNG, report.status), again: true };
    noteRenewal();
    return told(
      run.story === 'owner'
        ? NOT_CERTAIN
        : 'The server exchanged the stolen refresh token: nobody had used it before, so for all it knows, this is you. The thief now has fresh tokens of your session, and yours are out of date. You have not noticed.',
      report.status,
    );
  },
};

const youRenew = {
  who: 'you',
  title: 'You carry on',
  button: 'Carry on',
  waits: untilExpired,
  goOn: () => call('GET', '/me'),
  async work() {
    try {
      await call('GET', '/me');
    } catch (error) {
      if (!error.meansSignedOut) throw error;
      return caughtYou(error);
    }
    noteRenewal();
    return told(
      run.story === 'owner'
        ? 'Your access token had run out; your next request exchanged your refresh token and was answered as usual. The thief’s copy of that refresh token is now used up, but the thief does not know.'
        : NOT_CERTAIN,
      200,
    );
  },
};

const thiefAgain = {
  who: 'thief',
  title: 'The thief tries again',
  button: 'Open my account as the thief',
  async work() {
    const report = await act('use');
    return report.status === 200
      ? told(
          settings.revocation === 'none'
            ? 'With REVOCATION=none an access token lives until it runs out, even of a session that is over. Then the thief is out, too. The other modes end it at once.'
            : 'This process has not heard of it yet; within the revocation interval it will.',
          report.status,
        )
      : told(
          'Refused. The thief’s tokens, as fresh as they were, belong to a session that is over.',
          report.status,
        );
  },
};

const youAgain = {
  who: 'you',
  title: 'Your next request',
  button: 'Make a request',
  async work() {
    try {
      await call('GET', '/me');
      return told(
        settings.revocation === 'none'
          ? 'With REVOCATION=none your access token still works until it runs out. Then you have to sign in again.'
          : 'This process has not heard of it yet; within the revocation interval it will.',
        200,
      );
    } catch (error) {
      if (!error.meansSignedOut) throw error;
      actions.onSignedOut(error);
      return told(
        'You are signed out as well. The server cannot know which of the two was you, so it asks both to prove it, and only you have the password.',
        error.status,
      );
    }
  },
};

const signIn = {
  who: 'you',
  title: 'You sign in again',
  button: 'Go to sign-in',
  about:
    'A sign-in begins a new chain of tokens, of which the thief has no copy. A real application would also write you an e-mail: the module tells it which session of which user it was.',
  async work() {
    actions.onSignIn();
    return undefined;
  },
};

/**
 * The one who has renewed goes on working (`before.goOn`), which tells the server that the new tokens have arrived; then the
 * other one comes with the old tokens. `catches` marks the step at which the theft comes out. Should something have come in between so that it does not (a request
 * from another tab, say), both parties renew again, until it does: that is when it has to.
 */
const STORIES = {
  thief: [
    copy,
    look,
    thiefRenews,
    { ...youRenew, catches: true, before: thiefRenews, waits: untilSettled },
    thiefAgain,
    signIn,
  ],
  owner: [
    copy,
    look,
    youRenew,
    {
      ...thiefRenews,
      catches: true,
      before: youRenew,
      waits: untilSettled,
      title: 'The thief renews, too late',
      button: 'Renew as the thief, with the old refresh token',
    },
    youAgain,
    signIn,
  ],
};

// ---- what became of it ----------------------------------------------------------------------------------------------

function noteRenewal() {
  run.renewedAt = serverNow();
  run.expiresAt = run.renewedAt + settings.accessTokenTtl;
}

function untilExpired() {
  return {
    until: run.expiresAt,
    why: 'until the stolen access token has run out. A refresh token is exchanged only after that.',
  };
}

/** At the second try of a step that catches, both renew again. */
function untilSettled() {
  if (run.outcomes[run.index] !== undefined) return untilExpired();
  return {
    until: run.renewedAt + settings.reuseWindow,
    why: 'for the reuse window. For so long, the old refresh token stays good beside the new one: a late request, or a browser that was killed, may still come with it.',
  };
}

async function act(step) {
  return call('POST', '/demo/theft/act', { thiefId: run.thiefId, step });
}

function told(text, status) {
  return { text, status };
}

const CHAIN = 'One chain of tokens, two holders: the server ended the session at once, for both.';

/** What a refusal means for the thief. */
function refusedThief({ status, code }) {
  switch (code) {
    case 'token_theft':
      return {
        ...told(
          `Caught. The thief presented a refresh token that you had exchanged already, and you have been using its successor since. The server had the thief look again, in case the request was only late, and the thief had nothing newer. ${CHAIN}`,
          status,
        ),
        isCatch: true,
      };
    case 'session_over':
    case 'no_credentials':
      return { ...told('The thief is locked out: the session is over.', status), isCatch: true };
    case 'try_refresh':
      return told('The stolen access token has run out; the thief has to renew it first.', status);
    default:
      return {
        ...told(`The server answered ${status}, which says nothing about the session.`, status),
        again: true,
      };
  }
}

/** What it means for the owner that nobody is signed in any more. */
function caughtYou({ status, code }) {
  return {
    ...told(
      code === 'token_theft'
        ? `Caught. Your browser presented its refresh token in good faith, but somebody had exchanged that one already and moved on. ${CHAIN} Otherwise the thief could have stayed for as long as they liked.`
        : 'The session is over: the theft came out, and the server ended it for both of you.',
      status,
    ),
    isCatch: true,
    isOwner: true,
  };
}

/** The theft has come out, at this step or unexpectedly between two: goes on behind the step that was to show it. */
function finish(outcome) {
  run.isCaught = true;
  run.outcomes[run.index] = outcome;
  log(`The theft came out. ${outcome.text}`, 'bad');
  run.index = run.steps.findIndex(({ catches }) => catches) + 1;
  render();
  // Where the owner has been signed out, the rest of the page is about to make room for the sign-in.
  requestAnimationFrame(() => $('theft-steps').querySelector('.catch').scrollIntoView({ block: 'center' }));
}

/** Does what a step's button says, and goes on to the next step. */
async function perform(step) {
  // The buttons are new ones: who works with the keyboard goes on where they were.
  if (await tryStep(step)) focusCurrent();
}

function focusCurrent() {
  const current = $('theft-steps').querySelector('.current');
  (current?.querySelector('button:enabled') ?? current)?.focus({ preventScroll: true });
}

/** @returns whether the story went on here */
async function tryStep(step) {
  const story = run;
  try {
    const isRepeated = step.catches && run.outcomes[run.index] !== undefined;
    let outcome = isRepeated ? await step.before.work() : undefined;
    if (step.catches && !outcome?.isCatch) await step.before.goOn();
    if (!outcome?.isCatch) outcome = await step.work();
    if (story !== run || outcome === undefined) return false;
    tell($('theft-live'), outcome.text);
    if (outcome.isCatch && !run.isCaught) {
      finish(outcome);
      if (outcome.isOwner) actions.onSignedOut({ code: 'token_theft' });
      return true;
    }
    run.outcomes[run.index] = outcome;
    log(`${step.who === 'thief' ? 'Thief' : 'You'}: ${outcome.text}`);
    if (!outcome.again && !(step.catches && !run.isCaught)) run.index += 1;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (story !== run) return false;
    if (error.meansSignedOut) {
      actions.onSignedOut(error);
      noteSignedOut(error);
      return true;
    }
    const text = explain(error, {
      refused: 'This step was not done.',
      unsure: 'This step may not have been done.',
    });
    run.outcomes[run.index] = told(text, error.status);
    tell($('theft-live'), text);
    log(text, 'bad');
  }
  render();
  return true;
}

// ---- showing it -----------------------------------------------------------------------------------------------------

function render() {
  clearInterval(timer);
  $('theft-steps').replaceChildren(...run.steps.map(item));
  $('theft-stories').disabled = run.index > 0;
  $('theft-restart').hidden = run.index === 0 || run.isCaught;
}

function item(step, index) {
  const outcome = run.outcomes[index];
  const isCurrent = index === run.index;
  const isSkipped = index < run.index && !outcome;
  const state = isCurrent ? 'current' : index < run.index ? 'done' : 'coming';
  const li = element(
    'li',
    {
      className: [
        state,
        step.who,
        ...(outcome?.isCatch ? ['catch'] : []),
        ...(isSkipped ? ['skipped'] : []),
      ].join(' '),
    },
    element(
      'p',
      { className: 'step-head' },
      element('span', { className: `who ${step.who}`, textContent: step.who === 'thief' ? 'Thief' : 'You' }),
      element('b', { textContent: step.title }),
      ...(outcome?.status
        ? [
            element('span', {
              className: `status ${outcome.status < 400 ? 'good' : 'bad'}`,
              textContent: outcome.status,
            }),
          ]
        : []),
    ),
  );
  const said = outcome && element('p', { className: 'outcome', textContent: outcome.text });
  if (said) li.append(said);
  if (isSkipped) li.append(element('p', { className: 'outcome', textContent: 'Not needed any more.' }));
  if (isCurrent) {
    li.setAttribute('aria-current', 'step');
    li.tabIndex = -1;
    if (step.about) li.append(element('p', { className: 'outcome', textContent: step.about }));
    li.append(...controls(step, said));
  }
  return li;
}

/** The step's button, and the countdown until it makes sense to press it. */
function controls(step, said) {
  const button = element('button', {
    type: 'button',
    className: `primary ${step.who}`,
    textContent: said ? 'Once more' : step.button,
  });
  button.addEventListener('click', () => {
    button.disabled = true;
    said?.remove(); // it is about the try before
    tell($('theft-live'), '');
    void perform(step).finally(() => (button.disabled = false));
  });
  if (!step.waits) return [button];

  const fill = element('div', { className: 'bar-fill' });
  const text = element('span');
  const wait = element(
    'div',
    { className: 'wait' },
    text,
    element('div', { className: 'bar', ariaHidden: 'true' }, fill),
  );
  const { until, why } = step.waits();
  const begin = Math.min(serverNow(), until);
  const tick = () => {
    const left = until + MARGIN - serverNow();
    if (left > 0) {
      text.textContent = `Wait ${Math.ceil(left / 1000)} s, ${why}`;
      fill.style.transform = `scaleX(${Math.min(1, left / (until + MARGIN - begin))})`;
    }
    wait.hidden = left <= 0;
    button.disabled = left > 0;
    if (left <= 0) clearInterval(timer);
  };
  timer = setInterval(tick, 100);
  tick();
  return [wait, button];
}

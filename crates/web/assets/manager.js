// What pages of the instance manager do by themselves where scripts run: what moves is looked at again, and forms are
// checked while they are filled in. Without this file the pages go on working.
'use strict';

const LOOK_EVERY = 3000;
const CHECK_AFTER = 500;

/** Puts what the page says now in the place of what it said; what somebody is using stays. */
function follow() {
  const parts = () => [...document.querySelectorAll('[data-live]')];
  const stop = document.createElement('button');
  stop.type = 'button';
  stop.className = 'secondary small';
  stop.setAttribute('aria-pressed', 'false');
  stop.textContent = 'Pause updates';
  document.querySelector('[data-live]:not(.lead)').before(stop);
  let held = false;
  stop.addEventListener('click', () => {
    held = !held;
    stop.setAttribute('aria-pressed', String(held));
  });

  async function look() {
    if (held || document.hidden) return;
    const answer = await fetch(location.href, { headers: { accept: 'text/html' }, redirect: 'error' });
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
    const fresh = [...page.querySelectorAll('[data-live]')];
    const shown = parts();
    if (fresh.length !== shown.length) return;
    if (getSelection().toString()) return;
    shown.forEach((part, place) => {
      const stays = part.contains(document.activeElement) || part.isEqualNode(fresh[place]);
      if (!stays) part.replaceWith(document.adoptNode(fresh[place]));
    });
  }
  // A server that does not answer is asked again; nothing on the page is lost.
  setInterval(() => look().catch(() => {}), LOOK_EVERY);
}

/** Tells below the form what would be refused, a moment after something was changed. */
function check(form) {
  const problems = document.createElement('ul');
  problems.className = 'problems';
  problems.setAttribute('role', 'status');
  form.querySelector('button:last-of-type').before(problems);
  let waiting;
  let newest = 0;

  async function ask() {
    const mine = ++newest;
    const entered = new URLSearchParams(new FormData(form));
    entered.set('check', '1');
    const answer = await fetch(form.action, { method: 'POST', body: entered, redirect: 'error' });
    if (!answer.ok || mine !== newest) return;
    const items = (await answer.json()).problems.map((text) => {
      const item = document.createElement('li');
      item.textContent = text;
      return item;
    });
    problems.replaceChildren(...items);
  }
  form.addEventListener('input', () => {
    clearTimeout(waiting);
    // Without an answer the form is checked when it is sent.
    waiting = setTimeout(() => ask().catch(() => {}), CHECK_AFTER);
  });
}

if (document.querySelector('[data-live]')) follow();
document.querySelectorAll('form[data-check]').forEach(check);

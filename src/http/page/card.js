// The card that stands where there is no video: what happens, what the student can do, and who the student is. And the
// header of a student's room: its name, its teacher, and the state of the lecture.

import { $, el, nameOf, setIcon } from './dom.js';
import { say, sayOf } from './i18n.js';
import { isOwnId } from './identity.js';

/** The actions of `view`, and the sentences on their buttons. */
const LABELS = { retry: 'retry', takeBack: 'takeBack', back: 'close', rooms: 'allRooms', teach: 'teachInRoom' };

export class Card {
  #on;

  /** `on` has a function for each action of `view` (`retry`, `takeBack`, ...) and for each form (`asked`, `coded`). */
  constructor(on) {
    this.#on = on;
    $('ask').addEventListener('submit', on.asked);
    $('code-form').addEventListener('submit', on.coded);
  }

  /** Shows what `view` returned; `me` fills the form that asks for a name, unless the view `before` asked already. */
  show(seen, me, before) {
    $('room').dataset.screen = seen.screen;
    $('card').hidden = seen.screen === 'live' || seen.screen === 'conference';
    setIcon($('card-art'), seen.screen === 'error' ? 'i-warn' : seen.screen === 'sound' ? 'i-sound' : 'i-board');
    for (const part of ['title', 'text', 'more']) $(`card-${part}`).textContent = seen[part] ?? '';
    $('card-actions').replaceChildren(...(seen.actions ?? []).map((action) => this.#button(action)));
    $('banner').textContent = seen.banner ?? '';
    $('banner').hidden = !seen.banner;
    this.#showForm(seen, me, Boolean(before?.ask));
    this.#showCode(seen, before);
  }

  /** Says what is wrong with a field of the form. */
  complain(field, why) {
    $('ask-error').textContent = say(why);
    if (field === 'ask-id') $('ask-more').open = true;
    $(field).focus();
    $(field).select();
  }

  /** Says what is wrong with the code. */
  complainAboutCode(why) {
    $('code-error').textContent = say(why);
    $('code').focus();
  }

  #showCode(seen, before) {
    $('code-form').hidden = !seen.code;
    if (!seen.code) return;
    if (seen.code.trim()) $('code-error').textContent = seen.code;
    if (before?.code === seen.code) return;
    $('code-error').textContent = seen.code.trim();
    $('code').value = '';
    $('code').focus();
  }

  #showForm(seen, me, wasAsked) {
    $('ask').hidden = !seen.ask;
    if (!seen.ask || wasAsked) return;
    const isTaken = seen.screen === 'error';
    $('ask-id').value = isTaken || isOwnId(me.userId) ? '' : me.userId;
    $('ask-name').value = me.nickname;
    $('ask-more').open = isTaken || $('ask-id').value !== '';
    $('ask-error').textContent = seen.ask.trim();
    const field = $(isTaken || seen.ask.trim() ? 'ask-id' : 'ask-name');
    field.focus();
    field.select();
  }

  #button(action) {
    const button = el('button', action === 'retry' || action === 'takeBack' ? 'primary' : '', say(LABELS[action]));
    button.type = 'button';
    button.id = `do-${action}`;
    button.addEventListener('click', this.#on[action]);
    return button;
  }
}

/** The badges of the screens. */
const STATES = { live: 'live', sound: 'live', waiting: 'waiting', ended: 'ended' };

/**
 * `seen` is what `view` returned; `id` and `name` are those of the room, and `me` is the student. The header of a
 * meeting is drawn by its own part.
 */
export function showHeader({ screen, banner }, { id, name, people, me, isFlowing, wasIn }) {
  const { teacher } = people;
  $('me').replaceChildren(...sayOf('meIs', nameOf(people.me ?? me)));
  if (screen === 'conference') return;
  const isBroken = screen === 'live' && banner && !isFlowing;
  const state = isBroken ? 'waiting' : (STATES[screen] ?? '');
  const here = wasIn && screen !== 'error';
  const title = name || say('room', { id });
  write('room-title', title);
  document.title = `${title} – classroom`;
  if (teacher && here) $('room-teacher').replaceChildren(...sayOf('taughtBy', nameOf(teacher)));
  else write('room-teacher', name ? say('room', { id }) : '');
  write('room-state', isBroken ? say('connectingBadge') : state ? say(state) : '');
  $('room-state').className = `badge ${state}`;
  // Where nobody teaches, nobody is watching.
  write('room-watching', here ? say(teacher ? 'watching' : 'present', { n: people.students }) : '');
}

function write(id, value) {
  if ($(id).textContent !== value) $(id).textContent = value;
}

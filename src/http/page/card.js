// The card that stands where there is no video: what happens, what the student can do, and who the student is.

import { $, el, setIcon } from './dom.js';
import { say } from './i18n.js';
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

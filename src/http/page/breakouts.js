// Breakout rooms: where this person is and how it comes back, and what the owner of the meeting or the teacher does.

import { $, addStyle, bdi, clean, el, elementsOf, nameOf } from './dom.js';
import { addWords, hasWords, label, onLanguage, say, translate } from './i18n.js';
import {
  MOST_CARRIED, MOST_ROOMS, MOST_STUDENTS, RECALL_S, breakoutsOf, groupsOf, leftOf, roomsFor, splitOrder, whereKey,
} from './breakout_rules.js';

const WORDS = { en: './breakouts_english.js', zh: './breakouts_chinese.js' };
const MOST_CHARS = 1_000;

/**
 * Makes the strip in the element `home`, and the dialog. `conference` is the room of a meeting, or has what is used of
 * it: `room`, `isOwner`, `tell(text)`, and in a lecture `main`, `movable(user)` and `more(at)`.
 */
export async function startStrip(conference, home) {
  const [elements] = await Promise.all([
    elementsOf('./breakouts.html'), addWords(WORDS), addStyle('./breakouts.css'),
  ]);
  home.prepend(elements.querySelector('#breakout-strip'));
  document.body.append(...elements.children);
  translate();
  return new Breakouts(conference);
}

class Breakouts {
  #conference;
  #state = breakoutsOf({}, 0);
  /** What the owner has chosen for each member: a number, or nothing for a place at random. */
  #choices = new Map();
  #drawn = '';
  /** The number of the room whose name is typed; 0 for none. */
  #renamed = 0;

  constructor(conference) {
    this.#conference = conference;
    $('breakout-back').addEventListener('click', () => this.#visit(0));
    $('breakout-own').addEventListener('click', () => this.#visit(this.#state.own ?? 0));
    $('breakout-manage').addEventListener('click', () => this.open());
    $('breakout-count').addEventListener('input', () => this.#choose());
    $('breakout-by-hand').addEventListener('change', () => this.#choose());
    $('breakout-form').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#split();
    });
    $('breakout-say').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#announce();
    });
    $('breakout-recall').addEventListener('click', () => this.#recall(RECALL_S));
    $('breakout-recall-now').addEventListener('click', () => this.#recall(0));
    const others = conference.room.people.moreFor;
    conference.room.people.moreFor = (user) => [...this.#badgesOf(user), ...others(user)];
    setInterval(() => this.#clock(), 1_000);
    onLanguage(() => this.draw());
  }

  /** The message `breakouts`. */
  told(message) {
    const before = this.#state;
    this.#state = breakoutsOf(message, Date.now());
    const { rooms, at } = this.#state;
    if (at !== before.at) this.#conference.tell(at > 0 ? this.#say('movedToBreakout', at) : this.#say('backInMeeting'));
    // A moderator sees everybody, with their places.
    this.#people.near = this.#moderates ? null : this.#state.here;
    if (rooms === 0) this.#said('');
    if ((rooms === 0) !== (before.rooms === 0)) this.#choices.clear();
    this.draw();
  }

  /** The message `announcement`. */
  announced({ userId, nickname, text }) {
    const name = nameOf({ userId: clean(userId, 64), nickname: clean(nickname, 40) });
    const sentence = say('breakoutSaid', { name, text: clean(text, MOST_CHARS) });
    this.#said(sentence);
    this.#conference.tell(sentence);
  }

  /** The server has refused something. */
  failed(code) {
    if (!$('breakouts-dialog').open) return;
    $('breakout-problem').textContent = say(hasWords(code) ? code : 'unknown');
  }

  /** Opens the dialog of the owner. */
  open() {
    $('breakout-problem').textContent = '';
    const { least, most } = this.#limits;
    $('breakout-count').max = most;
    $('breakout-count').min = least;
    if (Number($('breakout-count').value) < least) $('breakout-count').value = least;
    this.#drawn = '';
    this.draw();
    $('breakouts-dialog').showModal();
  }

  /** The message `breakouts`, checked. */
  get state() {
    return this.#state;
  }

  draw() {
    const { rooms, at, own, isRecalled } = this.#state;
    const { isOwner } = this.#conference;
    const moderates = this.#moderates;
    $('breakout-strip').hidden = rooms === 0;
    $('breakout-strip').classList.toggle('is-ending', isRecalled);
    $('breakout-back').hidden = at === 0;
    $('breakout-back').textContent = this.#say(isRecalled ? 'breakoutGoNow' : 'breakoutBack');
    $('breakout-own').hidden = moderates || !own || at === own || isRecalled;
    $('breakout-own').textContent = this.#say('breakoutGo', own ?? 0);
    // A moderator visits any room, and the owner gives the orders.
    $('breakout-manage').hidden = !moderates;
    const isOver = !isOwner && (!moderates || rooms === 0);
    if ($('breakouts-dialog').open && isOver) $('breakouts-dialog').close();
    for (const id of ['breakout-say', 'breakout-recalls']) $(id).hidden = !isOwner;
    $('breakout-form').hidden = rooms > 0;
    $('breakout-running').hidden = rooms === 0;
    $('breakout-recall').textContent = say('breakoutRecall', { n: RECALL_S });
    this.#choose();
    this.#places();
    this.#clock();
  }

  /** The sentences with the time that is left. */
  #clock() {
    const { rooms, at, own, isRecalled } = this.#state;
    if (rooms === 0) return;
    const left = leftOf(this.#state, Date.now());
    const ends = left && this.#say(isRecalled ? 'breakoutRecalled' : 'breakoutEnds', 0, { left });
    const where = this.#say(whereKey(this.#state, this.#moderates), at || own || 0, { rooms });
    const more = this.#conference.more?.(at) ?? '';
    write('breakout-where', [where, more, ends].filter(Boolean).join(' '));
    write('breakout-left', ends);
  }

  /** The members whom the owner may send to a breakout room. */
  get #movable() {
    const isMovable = this.#conference.movable ?? (({ moderates }) => !moderates);
    return this.#people.all.filter(isMovable);
  }

  get #people() {
    return this.#conference.room.people;
  }

  get #moderates() {
    return this.#conference.isOwner || this.#people.moderates;
  }

  /** The fewest and the most breakout rooms. Those of a lecture take only so many students each. */
  get #limits() {
    const students = this.#conference.movable ? this.#movable.length : 0;
    return roomsFor(this.#people.all.length, students);
  }

  /** A sentence about the breakout room `n`, by its number or by its name, and about the meeting or the lecture. */
  #say(key, n = 0, values = {}) {
    const name = this.#state.names.get(n);
    const main = say(this.#conference.main ?? 'mainMeeting');
    const all = { n, name, main, Main: main[0].toUpperCase() + main.slice(1), ...values };
    return say(name && hasWords(`${key}Named`) ? `${key}Named` : key, all);
  }

  /** What a place is called. */
  #nameOf(n) {
    return n === 0 ? this.#say('breakoutMeeting') : this.#state.names.get(n) ?? say('breakoutRoom', { n });
  }

  /** Where a member is, for those who moderate. */
  #badgesOf({ userId }) {
    const at = this.#state.places.get(userId);
    return at > 0 && this.#moderates ? [el('span', 'badge', this.#nameOf(at))] : [];
  }

  /** The choices before the rooms open. */
  #choose() {
    $('breakout-choices').hidden = !$('breakout-by-hand').checked;
    const rooms = Number($('breakout-count').value) || 0;
    const { length: n } = this.#people.all.filter(({ moderates, isTeacher }) => !moderates && !isTeacher);
    const unmoved = n - this.#movable.length;
    write('breakout-unmoved', unmoved > 0 ? say('breakoutUnmoved', { n: unmoved }) : '');
    $('breakout-unmoved').hidden = unmoved === 0;
    const key = JSON.stringify([rooms, this.#movable.map(nameOf), say('breakoutsTitle')]);
    if (this.#state.rooms > 0 || $('breakout-choices').hidden || $('breakout-choices').dataset.key === key) return;
    $('breakout-choices').dataset.key = key;
    $('breakout-choices').replaceChildren(...this.#movable.map((user) => {
      const places = [new Option(say('breakoutAtRandom'), ''), new Option(this.#say('breakoutStays'), '0')];
      const select = this.#placesOf(user, rooms, places, this.#choices.get(user.userId) ?? '');
      select.addEventListener('change', () => {
        if (select.value === '') this.#choices.delete(user.userId);
        else this.#choices.set(user.userId, Number(select.value));
      });
      return el('li', '', el('span', 'name', bdi(nameOf(user))), select);
    }));
  }

  /** Who is where, with the orders about that. */
  #places() {
    if (this.#state.rooms === 0 || !this.#moderates) return;
    const { rooms, at, places, names } = this.#state;
    const { all } = this.#people;
    const { isOwner } = this.#conference;
    const seen = [isOwner, rooms, at, [...places], [...names], this.#renamed, all.map(nameOf), say('breakoutsTitle')];
    const drawn = JSON.stringify(seen);
    if (drawn === this.#drawn || !$('breakouts-dialog').open) return;
    // Typed text must not be lost.
    if (document.activeElement?.matches('#breakout-rooms input')) return;
    this.#drawn = drawn;
    // A list that is drawn anew loses the focus.
    const focused = document.activeElement?.dataset?.member;
    $('breakout-rooms').replaceChildren(...groupsOf(this.#state, all).map((users, n) => this.#group(n, users)));
    if (focused) $('breakout-rooms').querySelector(`[data-member="${CSS.escape(focused)}"]`)?.focus();
  }

  #group(n, users) {
    const isRenamed = n > 0 && n === this.#renamed;
    const title = el('h3', '', isRenamed ? this.#nameField(n) : el('span', '', bdi(this.#nameOf(n))));
    if (n > 0 && !isRenamed && this.#conference.isOwner) {
      title.append(smallButton(say('breakoutRename'), say('breakoutRenameRoom', { n }), () => this.#rename(n)));
    }
    if (n !== this.#state.at) {
      const words = n === 0 ? this.#say('breakoutBack') : say('breakoutJoin');
      title.append(smallButton(words, n > 0 ? this.#say('breakoutJoinRoom', n) : words, () => this.#visit(n)));
    }
    const list = el('ul', 'users', ...users.map((user) => this.#person(user, n)));
    list.setAttribute('role', 'list');
    return el('li', '', title, users.length > 0 ? list : el('p', 'soft', say('breakoutEmpty')));
  }

  /** The field for the name of a breakout room. */
  #nameField(n) {
    const field = el('input');
    Object.assign(field, { maxLength: 80, value: this.#state.names.get(n) ?? '', autocomplete: 'off' });
    field.placeholder = say('breakoutRoom', { n });
    label(field, say('breakoutNameOf', { n }));
    const done = (isWanted) => {
      if (this.#renamed !== n) return;
      this.#renamed = 0;
      const name = field.value.trim();
      if (isWanted && name !== (this.#state.names.get(n) ?? '')) {
        this.#order({ order: 'nameBreakout', breakout: n, ...(name ? { name } : {}) });
      }
      field.blur();
      this.draw();
    };
    field.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter' && event.key !== 'Escape') return;
      event.preventDefault();
      event.stopPropagation();
      done(event.key === 'Enter');
    });
    field.addEventListener('blur', () => done(true));
    return field;
  }

  #rename(n) {
    this.#renamed = n;
    this.draw();
    $('breakout-rooms').querySelector('input')?.select();
  }

  #person(user, n) {
    const item = el('li', '', el('span', 'name', bdi(nameOf(user))));
    if (user.userId === this.#conference.room.userId) item.append(el('span', 'badge', say('you')));
    if (user.moderates || !this.#conference.isOwner) return item;
    const places = [new Option(this.#nameOf(0), '0')];
    const select = this.#placesOf(user, this.#state.rooms, places, n);
    select.addEventListener('change', () => {
      this.#order({ order: 'assign', targetUid: user.userId, breakout: Number(select.value) });
    });
    item.append(select);
    return item;
  }

  /** The field that chooses a place for a user: `places`, and each breakout room. */
  #placesOf(user, rooms, places, chosen) {
    const select = el('select');
    const all = Array.from({ length: Math.min(rooms, MOST_ROOMS) }, (_, n) => n + 1);
    select.replaceChildren(...places, ...all.map((n) => new Option(this.#nameOf(n), String(n))));
    select.value = String(chosen);
    select.dataset.member = user.userId;
    label(select, say('breakoutPlaceOf', { name: nameOf(user) }));
    return select;
  }

  // Actions of the user.

  #visit(breakout) {
    this.#conference.room.signalling.send({ type: 'visit', breakout });
    if ($('breakouts-dialog').open) $('breakouts-dialog').close();
  }

  #order(given) {
    $('breakout-problem').textContent = '';
    return this.#conference.room.signalling.send({ type: 'order', ...given });
  }

  #split() {
    const { least, most } = this.#limits;
    const order = splitOrder({
      rooms: Number($('breakout-count').value),
      minutes: Number($('breakout-minutes').value),
      byHand: $('breakout-by-hand').checked,
      choices: this.#choices,
    }, { least, most });
    if (order) return this.#order(order);
    const key = this.#conference.movable && least > 2 ? 'breakoutTooFew' : 'breakoutBadForm';
    $('breakout-problem').textContent = say(key, { least, n: most, most: MOST_STUDENTS, carried: MOST_CARRIED });
  }

  #announce() {
    const text = $('breakout-text').value.trim();
    if (!text || !this.#order({ order: 'announce', text })) return;
    $('breakout-text').value = '';
  }

  #recall(withinS) {
    this.#order({ order: 'recall', withinS });
    $('breakouts-dialog').close();
  }

  #said(sentence) {
    write('breakout-said', sentence);
    $('breakout-said').hidden = !sentence;
  }
}

/** A small button whose label says more than its words. */
function smallButton(words, name, onClick) {
  const button = el('button', 'small', words);
  button.type = 'button';
  label(button, name);
  button.addEventListener('click', onClick);
  return button;
}

function write(id, text) {
  if ($(id).textContent !== text) $(id).textContent = text;
}

// Breakout rooms: where this person is and how it comes back, and what the owner of the meeting does.

import { $, addStyle, bdi, clean, el, elementsOf, nameOf } from './dom.js';
import { addWords, hasWords, label, onLanguage, say, translate } from './i18n.js';
import {
  FEWEST_ROOMS, MOST_ROOMS, RECALL_S, breakoutsOf, groupsOf, leftOf, splitOrder, whereKey,
} from './breakout_rules.js';

const WORDS = { en: './breakouts_english.js', zh: './breakouts_chinese.js' };
const MOST_CHARS = 1_000;

/** Makes the part; `conference` is the room of a meeting. */
export async function startBreakouts(conference) {
  const [elements] = await Promise.all([
    elementsOf('./breakouts.html'), addWords(WORDS), addStyle('./breakouts.css'),
  ]);
  $('conference').prepend(elements.querySelector('#breakout-strip'));
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
      this.#say();
    });
    $('breakout-recall').addEventListener('click', () => this.#recall(RECALL_S));
    $('breakout-recall-now').addEventListener('click', () => this.#recall(0));
    setInterval(() => this.#clock(), 1_000);
    onLanguage(() => this.draw());
  }

  /** The message `breakouts`. */
  told(message) {
    const before = this.#state;
    this.#state = breakoutsOf(message, Date.now());
    const { rooms, at } = this.#state;
    if (at !== before.at) this.#conference.tell(say(at > 0 ? 'movedToBreakout' : 'backInMeeting', { n: at }));
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
    const most = Math.min(MOST_ROOMS, Math.max(FEWEST_ROOMS, this.#conference.room.people.all.length));
    $('breakout-count').max = most;
    this.#drawn = '';
    this.draw();
    $('breakouts-dialog').showModal();
  }

  draw() {
    const { rooms, at, own, isRecalled } = this.#state;
    const { isOwner } = this.#conference;
    const moderates = isOwner || this.#conference.room.people.moderates;
    $('breakout-strip').hidden = rooms === 0;
    $('breakout-strip').classList.toggle('is-ending', isRecalled);
    $('breakout-back').hidden = at === 0;
    $('breakout-back').textContent = say(isRecalled ? 'breakoutGoNow' : 'breakoutBack');
    $('breakout-own').hidden = moderates || !own || at === own || isRecalled;
    $('breakout-own').textContent = say('breakoutGo', { n: own ?? 0 });
    $('breakout-manage').hidden = !isOwner;
    if ($('breakouts-dialog').open && !isOwner) $('breakouts-dialog').close();
    $('breakout-form').hidden = rooms > 0;
    $('breakout-running').hidden = rooms === 0;
    $('breakout-recall').textContent = say('breakoutRecall', { n: RECALL_S });
    this.#choose();
    this.#people();
    this.#clock();
  }

  /** The sentences with the time that is left. */
  #clock() {
    const { rooms, at, own, isRecalled } = this.#state;
    if (rooms === 0) return;
    const moderates = this.#conference.isOwner || this.#conference.room.people.moderates;
    const left = leftOf(this.#state, Date.now());
    const ends = left && say(isRecalled ? 'breakoutRecalled' : 'breakoutEnds', { left });
    const where = say(whereKey(this.#state, moderates), { n: at, own, rooms });
    write('breakout-where', [where, ends].filter(Boolean).join(' '));
    write('breakout-left', ends);
  }

  /** The members whom the owner may send to a breakout room. */
  get #movable() {
    return this.#conference.room.people.all.filter(({ moderates }) => !moderates);
  }

  /** The choices before the rooms open. */
  #choose() {
    $('breakout-choices').hidden = !$('breakout-by-hand').checked;
    const rooms = Number($('breakout-count').value) || 0;
    const key = JSON.stringify([rooms, this.#movable.map(nameOf), say('breakoutsTitle')]);
    if (this.#state.rooms > 0 || $('breakout-choices').hidden || $('breakout-choices').dataset.key === key) return;
    $('breakout-choices').dataset.key = key;
    $('breakout-choices').replaceChildren(...this.#movable.map((user) => {
      const places = [new Option(say('breakoutAtRandom'), ''), new Option(say('breakoutStays'), '0')];
      const select = this.#placesOf(user, rooms, places, this.#choices.get(user.userId) ?? '');
      select.addEventListener('change', () => {
        if (select.value === '') this.#choices.delete(user.userId);
        else this.#choices.set(user.userId, Number(select.value));
      });
      return el('li', '', el('span', 'name', bdi(nameOf(user))), select);
    }));
  }

  /** Who is where, with the orders about that. */
  #people() {
    if (this.#state.rooms === 0 || !this.#conference.isOwner) return;
    const { rooms, at, places } = this.#state;
    const { all } = this.#conference.room.people;
    const drawn = JSON.stringify([rooms, at, [...places], all.map(nameOf), say('breakoutsTitle')]);
    if (drawn === this.#drawn || !$('breakouts-dialog').open) return;
    this.#drawn = drawn;
    // A list that is drawn anew loses the focus.
    const focused = document.activeElement?.dataset?.member;
    $('breakout-rooms').replaceChildren(...groupsOf(this.#state, all).map((users, n) => this.#group(n, users)));
    if (focused) $('breakout-rooms').querySelector(`[data-member="${CSS.escape(focused)}"]`)?.focus();
  }

  #group(n, users) {
    const title = el('h3', '', el('span', '', n === 0 ? say('breakoutMeeting') : say('breakoutRoom', { n })));
    if (n !== this.#state.at) {
      const visit = el('button', 'small', say(n === 0 ? 'breakoutBack' : 'breakoutJoin'));
      visit.type = 'button';
      if (n > 0) label(visit, say('breakoutJoinRoom', { n }));
      visit.addEventListener('click', () => this.#visit(n));
      title.append(visit);
    }
    const list = el('ul', 'users', ...users.map((user) => this.#person(user, n)));
    list.setAttribute('role', 'list');
    return el('li', '', title, users.length > 0 ? list : el('p', 'soft', say('breakoutEmpty')));
  }

  #person(user, n) {
    const item = el('li', '', el('span', 'name', bdi(nameOf(user))));
    if (user.userId === this.#conference.room.userId) item.append(el('span', 'badge', say('you')));
    if (user.moderates) return item;
    const places = [new Option(say('breakoutMeeting'), '0')];
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
    select.replaceChildren(...places, ...all.map((n) => new Option(say('breakoutRoom', { n }), String(n))));
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
    const members = this.#conference.room.people.all.length;
    const order = splitOrder({
      rooms: Number($('breakout-count').value),
      minutes: Number($('breakout-minutes').value),
      byHand: $('breakout-by-hand').checked,
      choices: this.#choices,
    }, members);
    if (order) return this.#order(order);
    const n = Math.min(MOST_ROOMS, Math.max(FEWEST_ROOMS, members));
    $('breakout-problem').textContent = say('breakoutBadForm', { n });
  }

  #say() {
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

function write(id, text) {
  if ($(id).textContent !== text) $(id).textContent = text;
}

// The people in the room and their raised hands.

import { $, bdi, clean, el, icon, list, nameOf, onFrame } from './dom.js';
import { onLanguage, say } from './i18n.js';
import { isOwnId } from './identity.js';

/** The most people in the list; nobody reads a list of thousands. */
const MOST_LISTED = 200;
/** The most people to remember: more than a room takes. */
const MOST_KNOWN = 10_000;

export class People {
  #users = new Map();
  /** The number of people without a name in the list: the server lists only some people of a large room. */
  #unnamed = 0;
  #hands = [];
  #place = 0;
  #me = '';
  #near = null;
  #draw = onFrame(() => this.#show());
  #changed;
  #actionsFor;
  /** Elements for more about a member: `moreFor(user)` makes them. */
  moreFor = () => [];

  /**
   * `changed` is called when somebody joined or left; `actionsFor(user, position)` makes the actions of a moderator for
   * a member, or, with a `position` from 1, for a raised hand.
   */
  constructor(changed, actionsFor) {
    this.#changed = changed;
    this.#actionsFor = actionsFor;
    onLanguage(() => this.#draw());
  }

  iAm(userId) {
    this.#me = userId;
    this.#draw();
  }

  /** Replaces the list of people. `count` is the number of all people; 0 from an older server. */
  set(users, count) {
    this.#users.clear();
    this.join(users);
    this.count(count);
  }

  /** The number of all people, which joins and leaves don't tell: whoever leaves may not have been named. */
  count(count) {
    this.#unnamed = Math.max(0, (Number(count) || 0) - this.#users.size);
    this.#news();
  }

  join(users) {
    for (const user of list(users, MOST_KNOWN)) {
      const known = {
        userId: clean(user?.userId, 64),
        nickname: clean(user?.nickname, 40),
        isTeacher: user?.pub === 'pub',
        moderates: user?.moderates === true,
        client: user?.client,
        epoch: Number(user?.epoch) || 0,
      };
      if (known.userId && this.#users.size < MOST_KNOWN) this.#users.set(known.userId, known);
    }
    this.#news();
  }

  leave(userIds) {
    for (const userId of list(userIds, MOST_KNOWN)) {
      if (!this.#users.delete(userId) && this.#unnamed > 0) this.#unnamed -= 1;
    }
    this.#news();
  }

  /** `place` is that of the own hand, if the list is too long to hold the hand. */
  hands(hands, place = 0) {
    this.#hands = hands;
    this.#place = place;
    this.#news();
  }

  /** The position of the student's own hand, from 1; 0 when it is down. */
  get handPosition() {
    return this.#hands.findIndex((hand) => hand.userId === this.#me) + 1 || this.#place;
  }

  /** The raised hands, in their order. */
  get handsUp() {
    return this.#hands;
  }

  /** This browser's user, as the server knows it. */
  get me() {
    return this.#users.get(this.#me) ?? null;
  }

  /** The member with this id, if the server has named it. */
  user(userId) {
    return this.#users.get(userId) ?? null;
  }

  /** Whether this browser's user may give orders in the room. */
  get moderates() {
    return this.me?.moderates === true;
  }

  /** Draws the list again. */
  draw() {
    this.#draw();
  }

  /** All people whose names are known. */
  get all() {
    return [...this.#users.values()];
  }

  /** The ids of those who are where this user is: nobody else is listed. `null` lists everybody. */
  set near(near) {
    this.#near = near;
    this.#draw();
  }

  /** The people who are where this user is, as far as their names are known. */
  get here() {
    return this.#near ? this.all.filter(({ userId }) => this.#near.has(userId)) : this.all;
  }

  get teacher() {
    return [...this.#users.values()].find((user) => user.isTeacher) ?? null;
  }

  /** The number of all people. */
  get #all() {
    return this.#users.size + this.#unnamed;
  }

  get students() {
    return this.#all - (this.teacher ? 1 : 0);
  }

  #news() {
    this.#changed();
    this.#draw();
  }

  #show() {
    const up = new Set(this.#hands.map((hand) => hand.userId));
    const rank = (user) => (user.isTeacher ? 0 : user.userId === this.#me ? 1 : 2);
    const named = this.here;
    // Sorting thousands of names takes longer than a frame.
    const known = named.length > 2_000 ? named.filter((user, n) => n < 2_000 || rank(user) < 2) : named;
    const key = (user) => nameOf(user).toLowerCase();
    known.sort((a, b) => rank(a) - rank(b) || (key(a) < key(b) ? -1 : 1));
    const shown = known.slice(0, MOST_LISTED);
    $('users').replaceChildren(...shown.map((user) => this.#item(user, up.has(user.userId))));
    const [n, listed] = [this.#all, shown.length];
    const more = this.#near ? 'elsewhere' : 'notAllListed';
    $('users-more').textContent = n > listed ? say(more, { n, listed, others: n - listed }) : '';
    $('hands').replaceChildren(...this.#hands.map((hand, n) => this.#item(hand, true, n + 1)));
    $('hands-part').hidden = this.#hands.length === 0;
    $('people-count').textContent = this.#near ? listed : n;
  }

  #item(user, isUp, position = 0) {
    const name = el('span', 'name', bdi(nameOf(user)));
    const showsId = user.nickname && user.nickname !== user.userId && !isOwnId(user.userId);
    if (showsId) name.append(bdi(user.userId, 'soft id'));
    const item = el('li', '', initial(user), name);
    if (user.isTeacher) item.append(el('span', 'badge teacher', say('teacher')));
    if (user.userId === this.#me) item.append(el('span', 'badge', say('you')));
    if (position) item.append(el('span', 'place', position));
    else if (isUp) item.append(icon('i-hand'));
    item.append(...this.#actionsFor(user, position), ...(position ? [] : this.moreFor(user)));
    return item;
  }
}

function initial(user) {
  const face = el('span', 'face', Array.from(nameOf(user))[0] ?? '');
  face.setAttribute('aria-hidden', 'true');
  return face;
}

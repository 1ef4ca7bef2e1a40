// The pictures of a meeting or a call: all of one size in rows, or one large and the others small.

import { onFrame, store } from './dom.js';
import { onLanguage } from './i18n.js';
import { call, rows, stage } from './arrange.js';
import { KeptButtons } from './kept_buttons.js';
import { Pin } from './pin.js';
import { Tile } from './tile.js';

/** The space between two pictures, and around them, in pixels. */
const GAP_PX = 8;

export class Grid {
  /** More buttons about a participant: `actionsFor(person)` returns `{ key, make }` as `KeptButtons` wants them. */
  actionsFor = () => ({ key: '', make: () => [] });
  /** The user who is large for everybody, once that one's picture is there; `null` for nobody. */
  spotlight = null;
  #area;
  #on;
  #tiles = new Map();
  #people = [];
  #pin = new Pin(() => this.#draw());
  #buttons = new KeptButtons();
  /** Who shares a screen, the newest last. */
  #sharing = [];
  #spoke = null;
  #isStage = store.get('meetingLayout') === 'stage';
  #arrange = onFrame(() => this.#place());

  /**
   * `area` is the element for the pictures. `on` has `changed(grid)` for another large picture or other sounds, and
   * `placed()` for other sizes.
   */
  constructor(area, on) {
    this.#area = area;
    this.#on = on;
    new ResizeObserver(() => this.#arrange()).observe(area);
    onLanguage(() => this.#draw());
  }

  /** Shows these people, as `Tile` wants them, in their order. */
  show(people) {
    const gone = new Set(this.#tiles.keys());
    this.#people = people;
    for (const { userId, isSpeaking, isMe } of people) {
      if (isSpeaking && !isMe) this.#spoke = userId;
      if (gone.delete(userId)) continue;
      const tile = new Tile(() => this.pin(userId), 'inMeeting');
      this.#tiles.set(userId, tile);
      this.#area.append(tile.element);
    }
    for (const userId of gone) {
      this.#tiles.get(userId).remove();
      this.#tiles.delete(userId);
      this.#pin.forget(userId);
    }
    const sharing = people.filter(({ isMe, tracks }) => !isMe && tracks.includes('screen')).map(({ userId }) => userId);
    const before = this.#sharing.filter((userId) => sharing.includes(userId));
    this.#sharing = [...before, ...sharing.filter((userId) => !before.includes(userId))];
    this.#draw();
  }

  /** Makes the picture of a participant large for this person, or no longer so. */
  pin(userId) {
    this.#pin.toggle(userId, this.#people.find((one) => one.userId === userId));
  }

  /** Whether one picture is large although nobody has asked for that, by pin or by sharing a screen. */
  get isStage() {
    return this.#isStage;
  }

  set isStage(isStage) {
    this.#isStage = isStage;
    store.set('meetingLayout', isStage ? 'stage' : 'rows');
    this.#draw();
  }

  /** The user whose picture is large; `null` if all have one size. */
  get large() {
    const others = this.#people.filter(({ isMe }) => !isMe).map(({ userId }) => userId);
    const spotlight = others.includes(this.spotlight) ? this.spotlight : null;
    const wanted = this.#pin.now ?? spotlight ?? this.#sharing.at(-1) ?? null;
    if (wanted !== null || !(this.#isStage || this.isCall)) return wanted;
    return others.includes(this.#spoke) ? this.#spoke : (others[0] ?? null);
  }

  /** Whether this is a call of two, in which one's own picture stands in the corner of the other one. */
  get isCall() {
    return this.#area.classList.contains('is-call');
  }

  /** The large video; `null` without one. */
  get video() {
    return this.#tiles.get(this.large)?.video ?? null;
  }

  /** Whether a frame of a participant is shown, large or small. */
  hasPicture(userId) {
    return this.#tiles.get(userId)?.hasPicture ?? false;
  }

  /** The elements that play sound. */
  get sounds() {
    return [...this.#tiles.values()].filter((tile) => tile.hasSound).map((tile) => tile.audio);
  }

  #draw() {
    const { large } = this;
    for (const person of this.#people) {
      const tile = this.#tiles.get(person.userId);
      const isPinned = this.#pin.now === person.userId;
      tile.show(person, { place: person.userId === large ? null : 0, isPinned, isSpotlight: false });
      const { key, make } = this.actionsFor(person);
      tile.actions(this.#buttons.of(person.userId, key, make));
    }
    this.#buttons.keep(this.#tiles.keys());
    this.#arrange();
    this.#on.changed(this);
  }

  #place() {
    const { clientWidth, clientHeight } = this.#area;
    const gap = this.isCall ? 0 : GAP_PX;
    const space = { left: gap, top: gap, width: clientWidth - 2 * gap, height: clientHeight - 2 * gap };
    if (space.width <= 0 || space.height <= 0) return;
    const { large } = this;
    const small = this.#people.filter(({ userId }) => userId !== large);
    const put = large === null
      ? { small: rows(small.length, space, GAP_PX) }
      : this.isCall ? call(space, GAP_PX) : stage(small.length, space, GAP_PX);
    if (put.large) this.#move(large, put.large);
    small.forEach(({ userId }, n) => put.small[n] && this.#move(userId, put.small[n]));
    this.#on.placed();
  }

  /** The width of the picture of a participant, in CSS pixels; 0 if it is not shown. */
  widthOf(userId) {
    return this.#tiles.get(userId)?.element.clientWidth ?? 0;
  }

  #move(userId, box) {
    const { element } = this.#tiles.get(userId);
    for (const [edge, px] of Object.entries(box)) element.style.setProperty(edge, `${Math.floor(px)}px`);
    element.classList.toggle('is-tiny', box.height < 110);
  }
}

// The stage in the panel of those who moderate: the invited students, the speakers, and the orders about both.

import { $, addStyle, bdi, clean, el, icon, nameOf } from './dom.js';
import { addWords, hasWords, label, onLanguage, say } from './i18n.js';
import { stageOf } from './stage.js';

await Promise.all([
  addWords({ en: './orders_english.js', zh: './orders_chinese.js' }),
  addStyle('./orders.css'),
]);

/** The host answers an order within this time, or has carried it out. */
const ANSWER_MS = 3_000;
/** The time for which a problem is shown. */
const PROBLEM_MS = 10_000;

export class StageOrders {
  /** More elements for the head of the list, such as the button for a phone as camera. */
  more = [];
  #on;
  #stage = stageOf({});
  #names = new Map();
  /** When this page has heard of an invitation, by user id. */
  #since = new Map();
  /** The newest order, and when it was sent. */
  #sent = { order: '', at: -Infinity };
  #problem = { text: '', until: 0 };
  #drawn = '';
  #isOn = false;
  #title = el('h2');
  #count = el('span', 'soft');
  #list = el('ul', 'users');
  #buttons = el('p', 'buttons');
  #alert = el('p', 'field-error');
  #part = el('section', 'stage-part');

  /** `on` has `moderate(order)` for the host, `user(userId)` for a member of the room, and `changed()`. */
  constructor(on) {
    this.#on = on;
    this.#title.id = 'stage-title';
    this.#part.id = 'stage-part';
    this.#part.setAttribute('aria-labelledby', this.#title.id);
    this.#list.setAttribute('role', 'list');
    this.#alert.setAttribute('role', 'alert');
    this.#part.append(this.#title, this.#alert, this.#list, this.#buttons);
    $('order-part').before(this.#part);
    setInterval(() => this.#second(), 1_000);
    onLanguage(() => {
      this.#drawn = '';
      this.draw();
    });
  }

  /** Whether this browser's user moderates. */
  set isOn(isOn) {
    this.#isOn = isOn;
    this.draw();
  }

  /** The message `stage`. */
  told(message) {
    const stage = stageOf(message);
    for (const userId of stage.invited) if (!this.#since.has(userId)) this.#since.set(userId, performance.now());
    this.show(stage);
    this.#on.changed();
  }

  /** Shows this stage: as in the message, or with what this page receives of each speaker. */
  show(stage) {
    this.#stage = stage;
    this.draw();
  }

  get stage() {
    return this.#stage;
  }

  /** Whether the user is invited or speaks. */
  has(userId) {
    return this.#stage.invited.includes(userId) || this.#stage.speakers.some((one) => one.userId === userId);
  }

  get isFull() {
    return this.#used >= this.#stage.most;
  }

  /**
   * Sends an order about the stage: `stage`, `offStage` or `spotlight` for a user, `clearStage`, `spotlightOff`,
   * `openFloor` or `closeFloor`.
   */
  order(order, userId) {
    this.#sent = { order, at: performance.now() };
    this.#problem.until = 0;
    if (userId) this.#names.set(userId, nameOf(this.#on.user(userId) ?? { userId }));
    this.#on.moderate({ order, ...(userId ? { userId } : {}) });
    this.draw();
  }

  /**
   * The message `stageEnded`: somebody does not come, or is off the stage. Shows and returns the sentence about that;
   * an empty one where an order or the list says enough.
   */
  ended({ userId, nickname, reason }) {
    const isSpeaker = this.#stage.speakers.some((one) => one.userId === userId);
    if (reason === 'ended' || (isSpeaker && reason === 'steppedDown')) return '';
    const key = hasWords(`stageEnd${reason}`) ? `stageEnd${reason}` : 'stageEndunknown';
    const user = { userId: clean(userId, 64), nickname: clean(nickname, 40) };
    const text = say(key, { name: nameOf(user) });
    this.#problem = { text, until: performance.now() + PROBLEM_MS };
    this.draw();
    return text;
  }

  /** The host has refused something. Returns whether that was an order about the stage. */
  refused({ code, message }) {
    const { at } = this.#sent;
    if (performance.now() - at > ANSWER_MS || !['notAllowed', 'unknownTarget'].includes(code)) return false;
    const { most } = this.#stage;
    const isFull = this.#sent.order === 'stage' && code === 'notAllowed' && this.isFull;
    const key = most === 0 ? 'noStage' : isFull ? 'stageFull' : code === 'unknownTarget' ? 'stageGone' : 'stageRefused';
    this.#sent.at = -Infinity;
    this.#problem = { text: say(key, { n: most, why: clean(message, 200) }), until: performance.now() + PROBLEM_MS };
    this.draw();
    return true;
  }

  /** The button that brings a user to the stage or takes it off; `null` without a stage. */
  buttonFor(user) {
    if (this.#stage.most === 0) return null;
    const { userId } = user;
    if (this.has(userId)) {
      const isLive = !this.#stage.invited.includes(userId);
      return textButton(say(isLive ? 'offStage' : 'withdraw'), user, () => this.order('offStage', userId));
    }
    const button = textButton(say('toStage'), user, () => this.order('stage', userId));
    button.disabled = this.isFull;
    if (this.isFull) button.title = say('stageFull', { n: this.#stage.most });
    return button;
  }

  /** The buttons on the picture of a speaker. */
  pictureButtons({ userId, nickname }) {
    const name = nameOf({ userId, nickname });
    const spotlight = this.#large(userId, name);
    const off = iconButton('i-close', `${say('offStage')}: ${name}`, () => this.order('offStage', userId));
    for (const button of [spotlight, off]) button.classList.add('dark');
    return [spotlight, off];
  }

  draw() {
    const { speakers, invited, most, isOpen, spotlight } = this.#stage;
    this.#part.hidden = !this.#isOn || most === 0;
    if (this.#part.hidden) return;
    const drawn = JSON.stringify([
      speakers.map(({ userId, nickname }) => [userId, nickname]), invited, most, isOpen, spotlight,
      invited.map((userId) => this.#nameOf(userId)),
    ]);
    if (drawn !== this.#drawn) {
      this.#drawn = drawn;
      this.#title.replaceChildren(say('stageTitle'), ' ', this.#count);
      this.#count.textContent = say('stageUse', { n: this.#used, most });
      this.#list.replaceChildren(
        ...speakers.map((speaker) => this.#speaker(speaker)),
        ...invited.map((userId) => this.#invited(userId)),
      );
      this.#buttons.replaceChildren(...this.#allButtons());
    }
    this.#states();
  }

  get #used() {
    return this.#stage.speakers.length + this.#stage.invited.length;
  }

  #nameOf(userId) {
    const user = this.#on.user(userId);
    return user ? nameOf(user) : this.#names.get(userId) ?? userId;
  }

  #speaker(speaker) {
    const { userId } = speaker;
    const name = nameOf(speaker);
    const item = this.#item(userId, name);
    const off = textButton(say('offStage'), speaker, () => this.order('offStage', userId));
    item.append(this.#large(userId, name), off);
    return item;
  }

  /** The button that shows a speaker large to everybody, or the teacher again. */
  #large(userId, name) {
    const isLarge = this.#stage.spotlight === userId;
    const words = say(isLarge ? 'notLargeAll' : 'largeAll', { name });
    return iconButton(isLarge ? 'i-small' : 'i-full', words, () =>
      this.order(isLarge ? 'spotlightOff' : 'spotlight', isLarge ? undefined : userId));
  }

  #invited(userId) {
    const name = this.#nameOf(userId);
    const item = this.#item(userId, name);
    item.append(textButton(say('withdraw'), { userId, nickname: name }, () => this.order('offStage', userId)));
    return item;
  }

  #item(userId, name) {
    const face = el('span', 'face', Array.from(name)[0] ?? '');
    face.setAttribute('aria-hidden', 'true');
    const item = el('li', '', face, el('span', 'name', bdi(name), el('span', 'soft state')));
    item.dataset.user = userId;
    return item;
  }

  #allButtons() {
    const { spotlight, isOpen } = this.#stage;
    const order = isOpen ? 'closeFloor' : 'openFloor';
    const floor = button(say(order), () => this.order(order));
    floor.title = say(isOpen ? 'floorIsOpen' : 'floorExplained');
    const buttons = [floor];
    const large = say(this.#on.isTeacher ? 'meLarge' : 'teacherLarge');
    if (spotlight) buttons.push(button(large, () => this.order('spotlightOff')));
    if (this.#used > 0) buttons.push(button(say('clearStage'), () => this.order('clearStage')));
    return [...buttons, ...this.more];
  }

  /** The words for the states, which change each second. */
  #states() {
    const speakers = new Map(this.#stage.speakers.map((speaker) => [speaker.userId, speaker]));
    const now = performance.now();
    for (const item of this.#list.children) {
      const speaker = speakers.get(item.dataset.user);
      const n = Math.round((now - (this.#since.get(item.dataset.user) ?? now)) / 1_000);
      write(item.querySelector('.state'), speaker ? stateOf(speaker) : say('stageWaits', { n }));
      item.classList.toggle('is-speaking', speaker?.isSpeaking === true);
    }
    write(this.#alert, now < this.#problem.until ? this.#problem.text : '');
  }

  #second() {
    // Not at once: the list for all, without invitations, comes before that for those who moderate.
    for (const userId of this.#since.keys()) if (!this.#stage.invited.includes(userId)) this.#since.delete(userId);
    if (!this.#part.hidden) this.#states();
  }
}

/** The state of a speaker in words. */
function stateOf({ tracks, silent, isConnected }) {
  const has = (name) => tracks.includes(name) && !silent.includes(name);
  if (isConnected === false) return say('stageConnects');
  const hasPicture = has('screen') || has('camera');
  if (!hasPicture && !has('audio')) return say('stageSilent');
  if (!has('audio')) return say('stageMuted');
  return say(hasPicture ? 'stageLive' : 'stageSound');
}

function button(text, onClick) {
  const made = el('button', '', text);
  made.type = 'button';
  made.addEventListener('click', onClick);
  return made;
}

/** A button about a user, whose name is in the button's accessible name. */
function textButton(text, user, onClick) {
  const made = button(text, onClick);
  made.className = 'small';
  label(made, `${text}: ${nameOf(user)}`);
  return made;
}

function iconButton(name, words, onClick) {
  const made = button('', onClick);
  made.className = 'quiet round';
  made.append(icon(name));
  label(made, words);
  return made;
}

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

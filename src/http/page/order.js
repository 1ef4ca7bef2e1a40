// The part of a member that moderates: the lobby, and orders about members and chat.

import { $, bdi, clean, el, icon, list, nameOf } from './dom.js';
import { onLanguage, say } from './i18n.js';
import { StageOrders } from './stage_orders.js';

/** The most people of a lobby to show (`MAX_LOBBY_LIST` of the protocol). */
const MOST_WAITING = 100;
/** The choices of slow mode, in seconds; 0 is off. */
const PAUSES_S = [0, 5, 10, 30, 60];

export class Order {
  #isOn = false;
  /** `{ locked, lobby, muteAll, slowMs }`, as the server and the publisher say. */
  #state = { locked: false, lobby: false, muteAll: false, slowMs: 0 };
  #waiting = [];
  #count = 0;
  /** The member whose actions are open. */
  #open = null;
  #on;

  /**
   * `on` has `order(o)` for the server, `moderate(o)` for the publisher, `user(userId)` for a member of the room, and
   * `changed()`; `isTeacher` if the user teaches.
   */
  constructor(on) {
    this.#on = on;
    this.stage = new StageOrders(on);
    $('lock').addEventListener('click', () => on.order({ order: 'lock', locked: !this.#state.locked }));
    $('lobby').addEventListener('click', () => on.order({ order: 'lobby', lobby: !this.#state.lobby }));
    $('admit-all').addEventListener('click', () => on.order({ order: 'admit' }));
    $('mute-all').addEventListener('click', () => {
      on.moderate({ order: this.#state.muteAll ? 'unmuteAll' : 'muteAll' });
    });
    $('clear-chat').addEventListener('click', () => on.moderate({ order: 'clear' }));
    $('slow').addEventListener('change', () => on.moderate({ order: 'slow', ms: Number($('slow').value) * 1_000 }));
    onLanguage(() => this.#show());
  }

  /** Whether this browser's user moderates. */
  set isOn(isOn) {
    if (this.#isOn === isOn) return;
    this.#isOn = isOn;
    this.stage.isOn = isOn;
    this.#show();
  }

  /** The server carried an order out. */
  carriedOut({ order, locked, lobby }) {
    if (order === 'lock') this.#state.locked = locked === true;
    if (order === 'lobby') this.#state.lobby = lobby === true;
    this.#show();
  }

  /** The clients that wait for admission. */
  waiting({ users, count }) {
    this.#waiting = list(users, MOST_WAITING).map((user) => ({
      userId: clean(user?.userId, 64),
      nickname: clean(user?.nickname, 40),
    }));
    this.#count = Number(count) || this.#waiting.length;
    this.#show();
  }

  /** The message `stage`. */
  staged(message) {
    this.stage.told(message);
  }

  /** The message `stageEnded`. Returns the sentence about it, or an empty one. */
  stageEnded(message) {
    return this.stage.ended(message);
  }

  /** The publisher has refused something. Returns whether an order was refused that this part has given. */
  refused(error) {
    return this.stage.refused(error);
  }

  /** The rules of the chat. */
  allows({ muteAll, slowMs }) {
    this.#state.muteAll = muteAll === true;
    this.#state.slowMs = Number(slowMs) || 0;
    this.#show();
  }

  /**
   * The button that opens the actions about a member, and the actions if they are open. The hand at this position, from
   * 1, has one action.
   */
  actionsFor(user, position) {
    if (!this.#isOn || user.isTeacher || user.moderates) return [];
    const stage = this.stage.buttonFor(user);
    if (position) return [...(stage ? [stage] : []), this.#lower(user)];
    const isOpen = this.#open === user.userId;
    const more = button('…', () => {
      this.#open = isOpen ? null : user.userId;
      this.#on.changed();
    });
    more.className = 'quiet round';
    more.title = say('actionsFor', { name: nameOf(user) });
    more.setAttribute('aria-label', more.title);
    more.setAttribute('aria-expanded', String(isOpen));
    if (!isOpen) return [more];
    const { userId } = user;
    const act = (send, order) => () => {
      this.#open = null;
      send({ order, [send === this.#on.order ? 'targetUid' : 'userId']: userId });
      this.#on.changed();
    };
    const { order, moderate } = this.#on;
    const actions = [
      ...(stage ? [stage] : []),
      button(say('muteOne'), act(moderate, 'mute')),
      button(say('unmuteOne'), act(moderate, 'unmute')),
      button(say('lowerOne'), act(moderate, 'lower')),
      button(say('kick'), act(order, 'kick')),
      button(say('ban'), act(order, 'ban')),
    ];
    return [more, el('p', 'buttons', ...actions)];
  }

  /** The button that lowers a hand. */
  #lower(user) {
    const lower = button('', () => this.#on.moderate({ order: 'lower', userId: user.userId }));
    lower.className = 'quiet round';
    lower.title = `${say('lowerOne')}: ${nameOf(user)}`;
    lower.setAttribute('aria-label', lower.title);
    lower.append(icon('i-close'));
    return lower;
  }

  #show() {
    $('order-part').hidden = !this.#isOn;
    if (!this.#isOn) return;
    const { locked, lobby, muteAll, slowMs } = this.#state;
    toggle('lock', locked, say(locked ? 'unlock' : 'lock'));
    toggle('lobby', lobby, say(lobby ? 'lobbyOff' : 'lobbyOn'));
    toggle('mute-all', muteAll, say(muteAll ? 'unmuteAll' : 'muteAll'));
    const pauses = [...new Set([...PAUSES_S, slowMs / 1_000])].sort((a, b) => a - b);
    $('slow').replaceChildren(...pauses.map((s) => new Option(say(s ? 'slowEvery' : 'slowOff', { n: s }), s)));
    $('slow').value = String(slowMs / 1_000);
    $('lobby-part').hidden = this.#count === 0;
    $('lobby-count').textContent = say('waitToEnter', { n: this.#count });
    $('lobby-list').replaceChildren(...this.#waiting.map((user) => this.#entry(user)));
  }

  #entry({ userId, nickname }) {
    const name = el('span', 'name', bdi(nameOf({ userId, nickname })));
    const admit = button(say('admit'), () => this.#on.order({ order: 'admit', targetUid: userId }));
    const deny = button(say('deny'), () => this.#on.order({ order: 'deny', targetUid: userId }));
    admit.className = 'primary';
    return el('li', '', name, admit, deny);
  }
}

function button(text, onClick) {
  const made = el('button', '', text);
  made.type = 'button';
  made.addEventListener('click', onClick);
  return made;
}

function toggle(id, isOn, text) {
  $(id).setAttribute('aria-pressed', String(isOn));
  $(id).textContent = text;
}

// To whom the next message or file goes: to everybody, or to one member alone. Whoever was chosen stays chosen when
// they leave, because a private message must never go to everybody instead.

import { $, announce, bdi, el, icon, nameOf } from './dom.js';
import { label, onLanguage, say } from './i18n.js';

/** The most members in the list. */
const MOST = 500;

export class Recipients {
  /** The only receiver, `{ userId, nickname }`; `null` for everybody. */
  chosen = null;
  #room;
  #drawn = '';

  /** `room` is the student's room. */
  constructor(room) {
    this.#room = room;
    const { chat, people } = room;
    $('chat-to').addEventListener('change', () => this.#choose($('chat-to').value));
    chat.address = (message) => this.#address(message);
    chat.signsFor = (line) => this.#signsFor(line);
    const others = people.moreFor;
    people.moreFor = (user) => [...others(user), ...this.#actionsFor(user)];
    $('chat-to-line').hidden = false;
    onLanguage(() => {
      this.#drawn = '';
      this.draw();
    });
  }

  draw() {
    const { people, userId: me } = this.#room;
    const others = people.here.filter(({ userId }) => userId !== me).slice(0, MOST);
    const isHere = !this.chosen || others.some(({ userId }) => userId === this.chosen.userId);
    const options = [['', say('toEverybody')], ...others.map((user) => [user.userId, nameOf(user)])];
    if (!isHere) options.push([this.chosen.userId, say('toNobody', { name: nameOf(this.chosen) })]);
    const drawn = JSON.stringify([options, this.chosen]);
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    $('chat-to').replaceChildren(...options.map(([value, text]) => new Option(text, value)));
    $('chat-to').value = this.chosen?.userId ?? '';
    $('chat-form').classList.toggle('is-private', Boolean(this.chosen));
    this.#room.chat.invites = this.chosen ? 'writePrivately' : 'writeSomething';
  }

  #choose(userId) {
    const user = this.#room.people.user(userId);
    this.chosen = user && { userId, nickname: user.nickname };
    this.draw();
  }

  /** Adds the receiver to a message; `null` if the receiver has left. */
  #address(message) {
    if (!this.chosen) return message;
    if (this.#room.people.user(this.chosen.userId)) return { ...message, to: this.chosen.userId };
    this.#room.chat.complain(say('toNobodyLeft', { name: nameOf(this.chosen) }));
    return null;
  }

  /** What stands beside the name of who has written. */
  #signsFor({ userId, to }) {
    if (!to) return [];
    const isMine = userId === this.#room.userId;
    const user = this.#room.people.user(to) ?? { userId: to };
    const words = isMine ? [`${say('privatelyTo')} `, bdi(nameOf(user))] : [say('privatelyToYou')];
    return [el('span', 'badge private', ...words)];
  }

  #actionsFor(user) {
    if (user.userId === this.#room.userId) return [];
    const write = el('button', 'quiet round', icon('i-chat'));
    write.type = 'button';
    label(write, say('writeToUser', { name: nameOf(user) }));
    write.addEventListener('click', () => {
      this.#choose(user.userId);
      $('tab-chat').click();
      $('chat-text').focus();
      announce(say('writeToUser', { name: nameOf(user) }));
    });
    return [write];
  }
}

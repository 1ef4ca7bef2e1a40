// The chat of a breakout room of a lecture, which takes the place of the lecture's. What the lecture says meanwhile is
// kept until its chat is shown again; the rest of its channel, such as the tiers of the videos, goes on at once.

import { list } from './dom.js';
import { SignallingChannel } from './talk_channel.js';

/** The most messages of the lecture to keep. */
const MOST_KEPT = 500;
/** Messages that follow each other, and those of which only the last one counts. */
const LINES = ['msg', 'cleared'];
const LAST = ['hands', 'handPlace', 'allows'];
/** What nobody needs later, or here. */
const LOST = ['reaction', 'error'];

export class LectureChat {
  #chat;
  #people;
  #talk;
  #joined;
  /** What `Chat.leave` has returned; `null` while the chat is that of the lecture. */
  #left = null;
  #channel = null;
  #welcome = null;
  #lines = [];
  #last = new Map();
  /** The hands that were up in the lecture. */
  #hands = [];

  /** `send(message)` is for signalling; `joined(channel)` is called for another channel of the lecture. */
  constructor({ chat, people }, { send, joined }) {
    this.#chat = chat;
    this.#people = people;
    this.#talk = new SignallingChannel(send);
    this.#joined = joined;
  }

  /** Shows the chat of a breakout room. */
  leave() {
    if (this.#left) return this.#chat.clear(Infinity, -1);
    this.#hands = this.#people.handsUp;
    this.#left = this.#chat.leave(this.#talk);
    this.#chat.lender = (next) => this.#listen(next);
    this.#listen(this.#left.channel);
  }

  /** A message of the breakout room's chat. */
  heard(message) {
    if (this.#left) this.#talk.heard(message);
  }

  /** Shows the chat of the lecture again. */
  back() {
    if (!this.#left) return;
    const [left, channel] = [this.#left, this.#channel];
    this.#left = null;
    this.#chat.lender = null;
    this.#chat.back(left, channel);
    const hands = { type: 'hands', hands: this.#hands };
    const kept = [this.#welcome ?? hands, ...this.#lines, ...this.#last.values()];
    for (const message of kept) channel?.onmessage?.({ data: JSON.stringify(message) });
    this.#forget();
  }

  #forget() {
    [this.#welcome, this.#lines, this.#channel] = [null, [], null];
    this.#last.clear();
  }

  /** The lecture has another channel, or none. */
  #listen(channel) {
    this.#channel = channel;
    if (!channel) return;
    channel.onmessage = ({ data }) => channel === this.#channel && this.#keep(data);
    channel.onclose = () => channel === this.#channel && this.#listen(null);
    this.#joined(channel);
  }

  #keep(data) {
    let message;
    try {
      message = JSON.parse(data) ?? {};
    } catch {
      return;
    }
    const { type } = message;
    if (typeof type !== 'string') return;
    if (type === 'welcome') {
      this.#lines = [];
      this.#last.clear();
      this.#welcome = { ...message, history: list(message.history, MOST_KEPT) };
    } else if (LINES.includes(type)) {
      this.#lines.push(message);
      if (this.#lines.length > MOST_KEPT) this.#lines.shift();
    } else if (LAST.includes(type)) this.#last.set(type, message);
    else if (!LOST.includes(type)) this.#talk.heard(message);
    // After the lecture's welcome, the page waits for the stage, or takes it for empty.
    if (type === 'stage') this.#last.set(type, message);
  }
}

// What `Chat` takes for the data channel of a lecture: in a meeting the messages travel by signalling, and in a call
// over the data channel of the two.

import { clean } from './dom.js';

const MOST_CHARS = 1_000;

/** The channel of a meeting: `heard(message)` is to be called with the messages of the server. */
export class SignallingChannel {
  onmessage = null;
  onclose = null;
  #send;

  /** `send(message)` sends a message of signalling and returns whether it did. */
  constructor(send) {
    this.#send = send;
  }

  get readyState() {
    return 'open';
  }

  send(text) {
    this.#send({ type: 'channel', message: JSON.parse(text) });
  }

  heard(message) {
    this.onmessage?.({ data: JSON.stringify(message) });
  }
}

/**
 * The channel of a call: both send what students send, and each stamps what it gets with the name of the other one, so
 * that nobody can write for somebody else. One's own messages come back at once.
 */
export class CallChannel {
  onmessage = null;
  onclose = null;
  #pair;
  #me;
  #other;
  #isOpen = false;
  #last = 0;

  /** `me` and `other` are users, `{ userId, nickname }`. `pair` has `isOpen()` and `say(text)`, which may fail. */
  constructor(me, other, pair) {
    this.#me = me;
    this.#other = other;
    this.#pair = pair;
  }

  get readyState() {
    return this.#pair.isOpen() ? 'open' : 'connecting';
  }

  /** Looks whether the chat may begin. */
  look() {
    if (this.#isOpen || !this.#pair.isOpen()) return;
    this.#isOpen = true;
    this.#pass({ type: 'welcome', history: [], hands: [] });
  }

  send(text) {
    if (this.#pair.say(text)) this.#tell(JSON.parse(text), this.#me);
  }

  /** Text of the other one. */
  heard(text) {
    try {
      this.#tell(JSON.parse(text) ?? {}, this.#other);
    } catch {
      // Not JSON, so not a message for this page.
    }
  }

  #tell({ type, text, reaction }, { userId, nickname }) {
    // The page knows lines by numbers that increase.
    this.#last = Math.max(this.#last + 1, Date.now());
    const from = { userId, nickname, pub: 'no' };
    const words = clean(text, MOST_CHARS).trim();
    if (type === 'msg' && words) this.#pass({ type, id: this.#last, ...from, text: words, at: Date.now() });
    if (type === 'reaction') this.#pass({ type, ...from, reaction });
  }

  #pass(message) {
    this.onmessage?.({ data: JSON.stringify(message) });
  }
}

// The WebSocket: joins, sends, receives, and comes back by itself.

const FIRST_PAUSE_MS = 300;
const LONGEST_PAUSE_MS = 5_000;
const OPEN_WITHIN_MS = 6_000;

/** Coming back with the same request is pointless after these (`ErrorCode::is_final`). */
const FINAL = new Set([
  'badRequest', 'malformedMessage', 'messageTooLarge', 'binaryFrame', 'notAllowed', 'userIdTaken', 'publisherExists',
  'roomFull', 'replaced',
]);

export class Signalling {
  #query;
  #on;
  #socket = null;
  #timer = 0;
  #pause = FIRST_PAUSE_MS;
  #stopped = false;

  /**
   * `query` is what the server wants to know (`roomId`, `userId`, ...). `on` has `message(m)`, `lost(error)` for a
   * connection that will be tried again, and `refused(error)` for one that will not.
   */
  constructor(query, on) {
    this.#query = query;
    this.#on = on;
    addEventListener('online', this.#hurry);
    addEventListener('pagehide', this.#goodbye);
  }

  /** Connects, or connects again. */
  open() {
    clearTimeout(this.#timer);
    this.#socket?.close();
    this.#stopped = false;
    const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
    const query = new URLSearchParams({ ...this.#query, pub: 'no', client: 'browser' });
    const socket = new WebSocket(`${scheme}://${location.host}/ws?${query}`);
    this.#socket = socket;
    let error = null;
    socket.onmessage = ({ data }) => {
      if (socket !== this.#socket) return;
      const message = parse(data);
      if (!message) return;
      if (message.type === 'joined') {
        clearTimeout(patience);
        this.#pause = FIRST_PAUSE_MS;
      }
      // What another user says does not end our own connection.
      if (message.type === 'error' && !message.userId) error = message;
      this.#on.message(message);
    };
    const ended = () => {
      clearTimeout(patience);
      if (socket !== this.#socket || this.#stopped) return;
      this.#socket = null;
      const retry = Number(error?.retryAfterMs);
      if (error && FINAL.has(error.code) && !(retry >= 0)) {
        this.#stopped = true;
        this.#on.refused(error);
        return;
      }
      const pause = retry >= 0 ? Math.min(retry, 60_000) : this.#pause * (0.75 + Math.random() / 2);
      this.#pause = Math.min(this.#pause * 1.7, LONGEST_PAUSE_MS);
      this.#timer = setTimeout(() => this.open(), pause);
      this.#on.lost(error);
    };
    socket.onclose = ended;
    // A socket that never came about does not always say so.
    const patience = setTimeout(() => {
      socket.close();
      ended();
    }, OPEN_WITHIN_MS);
  }

  /** Sends, and says whether there was a connection to send on. */
  send(message) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  /** Says goodbye: the place is free at once. */
  leave() {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#goodbye();
    removeEventListener('online', this.#hurry);
    removeEventListener('pagehide', this.#goodbye);
  }

  #goodbye = () => {
    this.send({ type: 'leave' });
    this.#socket?.close(1000);
  };

  #hurry = () => {
    if (!this.#stopped && !this.#socket) this.open();
  };
}

function parse(text) {
  try {
    const message = JSON.parse(text);
    return typeof message?.type === 'string' ? message : null;
  } catch {
    return null;
  }
}

// The WebSocket: joins, sends, receives, notices a dead line, and comes back by itself.

/** How long a WebSocket may take to open, and again until the server lets us in: a whole class may be before us. */
const OPEN_WITHIN_MS = 4_000;
/** How often the server is asked whether it is there, and how soon it has to answer: at once, or a while later. */
const PING_AFTER_MS = 3_000;
const PONG_WITHIN_MS = 2_500;
const ANSWER_WITHIN_MS = 1_500;
/** What was heard so lately needs no question. */
const FRESH_MS = 1_000;
/** A timer that is so late tells of this computer, not of the line. */
const LATE_MS = 500;
/** How long a question by HTTP may take. At the most four wait at a time: browsers open six connections. */
const PROBE_WITHIN_MS = 3_000;
/** How long an attempt by WebSocket may take while the line is dead: some first ones, and later ones. */
const DIAL_WITHIN_MS = 2_400;
const LATER_DIAL_WITHIN_MS = 4_800;
const FIRST_DIALS = 10;
/** Pauses between attempts; nobody looks at a page that is hidden. */
const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 900;
const HIDDEN_PAUSE_MS = 5_000;
/** A server that let nobody in, for now, needs no haste. */
const REFUSED_PAUSE_MS = 5_000;
const LONGEST_RETRY_MS = 60_000;
/** A refusal comes as fast as an answer would, the end of patience does not. */
const REFUSED_WITHIN_MS = 300;

/** Gecko lets a page wait up to ten seconds before a WebSocket that follows failed ones; others only after very many. */
const IS_GECKO = CSS.supports('-moz-appearance', 'none');

/** Coming back with the same request is pointless after these (`ErrorCode::is_final`). */
const FINAL = new Set([
  'badRequest', 'malformedMessage', 'messageTooLarge', 'binaryFrame', 'notAllowed', 'userIdTaken', 'publisherExists',
  'roomFull', 'replaced',
]);

export class Signalling {
  /** When the server was last heard, by `performance.now()`, and how long it was waited for. */
  heardAt = -Infinity;
  waited = 0;
  #query;
  #on;
  #socket = null;
  #error = null;
  #isIn = false;
  /** Whether nothing answered since the server was lost. */
  #isSilent = false;
  /** When the server was asked whether it is there; 0 when it has answered. */
  #askedAt = 0;
  #patience = 0;
  #timer = 0;
  #beat = 0;
  #probes = new Set();
  #dialled = null;
  #dials = 0;
  #pause = FIRST_PAUSE_MS;
  #stopped = false;

  /**
   * `query` is what the server wants to know (`roomId`, `userId`, ...). `on` has `message(m)`, `lost(error, cause)` for
   * a connection that will be tried again, and `refused(error)` for one that will not. A cause is `closed` (the server
   * ended it), `refused` (the computer answers, no server runs on it) or `silent` (nothing answers).
   */
  constructor(query, on) {
    this.#query = query;
    this.#on = on;
    for (const event of ['online', 'offline', 'visibilitychange']) addEventListener(event, this.check);
    addEventListener('pagehide', this.#goodbye);
    this.#beat = setInterval(() => this.#ping(PING_AFTER_MS, PONG_WITHIN_MS), 1_000);
  }

  /** Connects, or connects again. */
  open() {
    this.#drop();
    this.#stopped = false;
    this.#error = null;
    this.#adopt(this.#dial());
  }

  #dial() {
    const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
    const query = new URLSearchParams({ ...this.#query, pub: 'no', client: 'browser' });
    return new WebSocket(`${scheme}://${location.host}/ws?${query}`);
  }

  /** From now on this is the connection, open or not yet. */
  #adopt(socket) {
    this.#socket = socket;
    const since = performance.now();
    let opened = socket.readyState === WebSocket.OPEN;
    socket.onopen = () => {
      opened = true;
      this.#expect(OPEN_WITHIN_MS);
    };
    socket.onmessage = ({ data }) => socket === this.#socket && this.#heard(data);
    socket.onclose = () => {
      if (socket !== this.#socket) return;
      const isRefusal = performance.now() - since < REFUSED_WITHIN_MS;
      this.#ended(opened ? 'closed' : isRefusal ? 'refused' : 'silent');
    };
    this.#expect(OPEN_WITHIN_MS);
  }

  /** Sends, and says whether there was a connection to send on. */
  send(message) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  /** Whether what is sent now will arrive, as far as can be known. */
  get isSure() {
    return this.#socket?.readyState === WebSocket.OPEN && performance.now() - this.heardAt < FRESH_MS;
  }

  /** The line may be dead, or just back: the server answers soon, or the connection is made anew. */
  check = (event) => {
    if (this.#stopped) return;
    if (this.#socket) return this.#ping(0, ANSWER_WITHIN_MS);
    // An attempt repeats its SYN each second; only an event is a reason for another one.
    if (this.#dialled && !event) return;
    this.#drop();
    this.#pause = FIRST_PAUSE_MS;
    this.#look();
  };

  /** Says goodbye: the place is free at once. */
  leave() {
    this.#stopped = true;
    this.#goodbye();
    this.#drop();
    clearInterval(this.#beat);
    for (const event of ['online', 'offline', 'visibilitychange']) removeEventListener(event, this.check);
    removeEventListener('pagehide', this.#goodbye);
  }

  #goodbye = () => {
    this.send({ type: 'leave' });
    this.#socket?.close(1000);
  };

  #heard(data) {
    const message = parse(data);
    if (!message) return;
    this.heardAt = performance.now();
    this.waited = this.#askedAt ? this.heardAt - this.#askedAt : 0;
    this.#askedAt = 0;
    clearTimeout(this.#patience);
    if (message.type === 'joined') {
      this.#isIn = true;
      this.#isSilent = false;
      this.#pause = FIRST_PAUSE_MS;
      this.#dials = 0;
    }
    // What another user says does not end our own connection, and what ends it is the last word.
    this.#error = message.type === 'error' && !message.userId ? message : null;
    this.#on.message(message);
  }

  /** Asks whether the server is there, unless it was heard within `after` or was asked already. */
  #ping(after, within) {
    const now = performance.now();
    if (!this.#isIn || this.#askedAt || now - this.heardAt < after || !this.send({ type: 'ping' })) return;
    this.#askedAt = now;
    this.#expect(within);
  }

  /** Gives the connection up if nothing is heard of it in this time. */
  #expect(within) {
    clearTimeout(this.#patience);
    const due = performance.now() + within;
    this.#patience = setTimeout(() => {
      // A page that hung has not read yet what waits for it.
      if (performance.now() - due > LATE_MS) return this.#expect(within);
      this.#ended('silent');
    }, within);
  }

  #drop() {
    clearTimeout(this.#patience);
    clearTimeout(this.#timer);
    for (const probe of this.#probes) probe.abort();
    this.#probes.clear();
    this.#dialled?.close();
    this.#dialled = null;
    const socket = this.#socket;
    this.#socket = null;
    this.#isIn = false;
    this.#askedAt = 0;
    socket?.close();
  }

  #ended(cause) {
    this.#drop();
    if (this.#stopped) return;
    const error = this.#error;
    this.#error = null;
    const retry = Number(error?.retryAfterMs);
    if (error && FINAL.has(error.code) && !(retry >= 0)) {
      this.#stopped = true;
      this.#on.refused(error);
      return;
    }
    this.#isSilent ||= cause === 'silent';
    // A server that closed the connection is there, or will be in a moment; of another it is asked first whether it is.
    if (cause !== 'closed') this.#later(() => this.#look());
    else if (retry >= 0) this.#later(() => this.open(), Math.min(retry, LONGEST_RETRY_MS));
    else this.#later(() => this.open(), this.#drawn(error ? REFUSED_PAUSE_MS : LONGEST_PAUSE_MS));
    this.#on.lost(error, cause);
  }

  /** The next pause: each is longer than the one before, and a class does not come back in step. */
  #drawn(longest) {
    const pause = this.#pause * (0.75 + Math.random() / 2);
    this.#pause = Math.min(this.#pause * 1.5, document.hidden ? HIDDEN_PAUSE_MS : longest);
    return pause;
  }

  #later(work, pause = this.#drawn(LONGEST_PAUSE_MS)) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(work, pause);
  }

  /** Looks again and again whether the server answers. The first packet to come through on a line that is back must be new. */
  #look() {
    if (IS_GECKO) this.#ask();
    else this.#tryToConnect();
  }

  /**
   * By WebSocket. Chromium keeps the TCP connections of HTTP requests that were given up, six of them, and a new request
   * waits for one of these: its next SYN may come half a minute later. A WebSocket that is closed takes its connection along.
   */
  #tryToConnect() {
    const last = this.#dialled;
    if (last) {
      this.#dialled = null;
      last.close();
      this.#isSilent = true;
      this.#on.lost(null, 'silent');
    }
    const socket = this.#dial();
    const since = performance.now();
    this.#dialled = socket;
    this.#dials += 1;
    this.#later(() => this.#look(), this.#dials > FIRST_DIALS ? LATER_DIAL_WITHIN_MS : DIAL_WITHIN_MS);
    socket.onopen = () => {
      if (socket !== this.#dialled) return;
      this.#dialled = null;
      this.#drop();
      this.#adopt(socket);
    };
    socket.onclose = () => {
      if (socket !== this.#dialled) return;
      this.#dialled = null;
      // The system gives up an address that was silent for long, which looks like a refusal.
      this.#isSilent ||= performance.now() - since >= REFUSED_WITHIN_MS;
      this.#on.lost(null, this.#isSilent ? 'silent' : 'refused');
      this.#later(() => this.#look());
    };
  }

  /** By HTTP. A question is patient, for slow lines, and the next one does not wait for its end. */
  #ask() {
    const probe = new AbortController();
    const since = performance.now();
    const patience = setTimeout(() => probe.abort(), PROBE_WITHIN_MS);
    this.#probes.add(probe);
    this.#later(() => this.#look());
    const answered = () => this.#probes.has(probe) && this.open();
    const failed = () => {
      if (!this.#probes.delete(probe)) return;
      // The system gives up an address that was silent for long, which looks like a refusal.
      this.#isSilent ||= performance.now() - since >= REFUSED_WITHIN_MS;
      this.#on.lost(null, this.#isSilent ? 'silent' : 'refused');
    };
    const question = fetch('/api/ping', { cache: 'no-store', signal: probe.signal });
    question.then(answered, failed).finally(() => clearTimeout(patience));
  }
}

function parse(text) {
  try {
    const message = JSON.parse(text);
    return typeof message?.type === 'string' ? message : null;
  } catch {
    return null;
  }
}

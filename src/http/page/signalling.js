// The WebSocket of signalling: joins, sends, receives, detects a dead path, and reconnects.

/** How long a WebSocket may take to open, and again until the server answers the join: a whole class may be ahead. */
const OPEN_WITHIN_MS = 4_000;
/** How often to ping the server, and how soon a `pong` is due: after a check, or usually. */
const PING_AFTER_MS = 3_000;
const PONG_WITHIN_MS = 2_500;
const ANSWER_WITHIN_MS = 1_500;
/** A message this recent makes a ping unnecessary. */
const FRESH_MS = 1_000;
/** A timer this late shows that this computer stood still, so nothing follows about the path. */
const LATE_MS = 500;
/** How long a probe by HTTP may take. At most four are pending: browsers open six connections. */
const PROBE_WITHIN_MS = 3_000;
/** How long an attempt by WebSocket may take while the path is dead: the first attempts, and later ones. */
const DIAL_WITHIN_MS = 2_400;
const LATER_DIAL_WITHIN_MS = 4_800;
const FIRST_DIALS = 10;
/** Pauses between attempts; nobody looks at a hidden page. */
const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 900;
const HIDDEN_PAUSE_MS = 5_000;
/** The pause after a temporary refusal. */
const REFUSED_PAUSE_MS = 5_000;
const LONGEST_RETRY_MS = 60_000;
/** A refused TCP connection fails this fast; a timeout takes longer. */
const REFUSED_WITHIN_MS = 300;

/** Gecko delays a WebSocket by up to ten seconds after failed ones; other browsers only after very many. */
const IS_GECKO = CSS.supports('-moz-appearance', 'none');

/** After these errors, repeating the request is pointless (`ErrorCode::is_final`). */
const FINAL = new Set([
  'badRequest', 'malformedMessage', 'messageTooLarge', 'binaryFrame', 'notAllowed', 'userIdTaken', 'publisherExists',
  'roomFull', 'replaced', 'codeRequired', 'wrongCode', 'tokenRequired', 'badToken', 'teachingKeyRequired',
  'roomLocked', 'removed', 'mediaNotServed', 'wrongKind',
]);

export class Signalling {
  /** When the server was last heard, by `performance.now()`, and how long its last answer took. */
  heardAt = -Infinity;
  waited = 0;
  /** Whether this user comes back when the page is loaded again: then leaving the page is no goodbye. */
  comesBack = false;
  #query;
  #credentials;
  #on;
  #socket = null;
  #error = null;
  #isIn = false;
  /** Whether nothing has answered since the connection was lost. */
  #isSilent = false;
  /** When the pending ping was sent; 0 if none is pending. */
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
   * `query` is the join request (`roomId`, `userId`, ...), `credentials` the secrets of this client, which may change
   * until the next connection. `on` has
   * `message(m)`, `lost(error, cause)` for a connection that will be retried, and `refused(error)` for one that will
   * not. The cause is `closed` (the server closed it), `refused` (the computer answers, but no server runs there) or
   * `silent` (nothing answers).
   */
  constructor(query, credentials, on) {
    this.#query = query;
    this.#credentials = credentials;
    this.#on = on;
    for (const event of ['online', 'offline', 'visibilitychange']) addEventListener(event, this.check);
    // After the goodbye of a teacher, students would see the end of the lecture during each reload.
    this.comesBack = query.pub === 'pub';
    addEventListener('pagehide', this.#hidden);
    this.#beat = setInterval(() => this.#ping(PING_AFTER_MS, PONG_WITHIN_MS), 1_000);
  }

  /** Connects or reconnects. */
  open() {
    this.#drop();
    this.#stopped = false;
    this.#error = null;
    this.#adopt(this.#dial());
  }

  #dial() {
    const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
    const query = new URLSearchParams({ pub: 'no', ...this.#query, client: 'browser', auth: '1' });
    const socket = new WebSocket(`${scheme}://${location.host}/ws?${query}`);
    socket.addEventListener('open', () => socket.send(JSON.stringify({ type: 'auth', ...this.#credentials })));
    return socket;
  }

  /** Uses this socket as the connection, open or not yet. */
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

  /** The secret by which the server knows this client. */
  get session() {
    return this.#credentials.session;
  }

  /** Sends a message; false if there is no open connection. */
  send(message) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  /** Whether a message sent now will arrive, as far as one can know. */
  get isSure() {
    return this.#socket?.readyState === WebSocket.OPEN && performance.now() - this.heardAt < FRESH_MS;
  }

  /** Checks the path, which may be dead or just back: the server answers soon, or a new connection is made. */
  check = (event) => {
    if (this.#stopped) return;
    if (this.#socket) return this.#ping(0, ANSWER_WITHIN_MS);
    // The kernel repeats the SYN of an attempt each second, so only an event justifies another attempt.
    if (this.#dialled && !event) return;
    this.#drop();
    this.#pause = FIRST_PAUSE_MS;
    this.#look();
  };

  /** Says goodbye: the user id is free at once. `isOver` ends the lecture of a teacher. */
  leave(isOver = false) {
    this.#stopped = true;
    this.#goodbye(isOver);
    this.#drop();
    clearInterval(this.#beat);
    for (const event of ['online', 'offline', 'visibilitychange']) removeEventListener(event, this.check);
    removeEventListener('pagehide', this.#hidden);
  }

  #hidden = () => this.comesBack || this.#goodbye();

  #goodbye = (isOver) => {
    this.send({ type: 'leave', ...(isOver === true ? { over: true } : {}) });
    this.#socket?.close(1000);
  };

  #heard(data) {
    const message = parse(data);
    if (!message) return;
    this.heardAt = performance.now();
    this.waited = this.#askedAt ? this.heardAt - this.#askedAt : 0;
    this.#askedAt = 0;
    clearTimeout(this.#patience);
    if (message.type === 'joined' || message.type === 'waiting') {
      this.#isIn = true;
      this.#isSilent = false;
      this.#pause = FIRST_PAUSE_MS;
      this.#dials = 0;
    }
    // An error from another user does not end our connection. The last error before the end is the reason for it.
    this.#error = message.type === 'error' && !message.userId ? message : null;
    this.#on.message(message);
  }

  /** Pings the server, unless it was heard within `after` or a ping is pending. */
  #ping(after, within) {
    const now = performance.now();
    if (!this.#isIn || this.#askedAt || now - this.heardAt < after || !this.send({ type: 'ping' })) return;
    this.#askedAt = now;
    this.#expect(within);
  }

  /** Gives the connection up if nothing arrives in this time. */
  #expect(within) {
    clearTimeout(this.#patience);
    const due = performance.now() + within;
    this.#patience = setTimeout(() => {
      // A page that hung has not read the waiting messages yet.
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
    // A server that closed the connection exists, or will again in a moment. In the other cases, probe first.
    if (cause !== 'closed') this.#later(() => this.#look());
    else if (retry >= 0) this.#later(() => this.open(), Math.min(retry, LONGEST_RETRY_MS));
    else this.#later(() => this.open(), this.#drawn(error ? REFUSED_PAUSE_MS : LONGEST_PAUSE_MS));
    this.#on.lost(error, cause);
  }

  /** The next pause. Pauses grow, and are random so that a class does not reconnect in step. */
  #drawn(longest) {
    const pause = this.#pause * (0.75 + Math.random() / 2);
    this.#pause = Math.min(this.#pause * 1.5, document.hidden ? HIDDEN_PAUSE_MS : longest);
    return pause;
  }

  #later(work, pause = this.#drawn(LONGEST_PAUSE_MS)) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(work, pause);
  }

  /** Probes the server again and again. The first packet on a path that works again must belong to a new attempt. */
  #look() {
    if (IS_GECKO) this.#ask();
    else this.#tryToConnect();
  }

  /**
   * Probes by WebSocket. Chromium keeps the TCP connections of up to six aborted HTTP requests, and a new request waits
   * for one of them, whose next SYN may come half a minute later. Closing a WebSocket closes its TCP connection.
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
      // The system gives up an address after a long silence, which looks like a refusal.
      this.#isSilent ||= performance.now() - since >= REFUSED_WITHIN_MS;
      this.#on.lost(null, this.#isSilent ? 'silent' : 'refused');
      this.#later(() => this.#look());
    };
  }

  /** Probes by HTTP. A probe has a long timeout, for slow paths, and the next probe does not wait for it. */
  #ask() {
    const probe = new AbortController();
    const since = performance.now();
    const patience = setTimeout(() => probe.abort(), PROBE_WITHIN_MS);
    this.#probes.add(probe);
    this.#later(() => this.#look());
    const answered = () => this.#probes.has(probe) && this.open();
    const failed = () => {
      if (!this.#probes.delete(probe)) return;
      // The system gives up an address after a long silence, which looks like a refusal.
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

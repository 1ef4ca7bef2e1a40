// The media of a teacher: one connection that sends to the server's SFU, and a new connection where that one fails.

import { LessonState } from './lesson.js';
import { Publisher } from './publisher.js';
import { Uplink } from './uplink.js';

/** A connection counts as interrupted when nothing has come back over it for this time. */
const STALLED_MS = 2_500;
/** The interval and the number of checks for an answer, after signalling works again and before a new connection. */
const LOOK_MS = 250;
const LOOKS = 6;
/** The time to the next offer after a temporary refusal by the server. */
const REFUSED_MS = 2_000;

export class Broadcast {
  uplink = new Uplink();
  #room;
  #lesson = new LessonState(() => this.#connect());
  #publisher = null;
  #isUnsent = false;
  #received = { bytes: 0, at: 0 };

  /**
   * `room` has `signalling`, `iceServers`, `chat`, `tracks()` with `{ audio, screen, camera }`, `content`, and the
   * callbacks `changed()` and `refused(error)`.
   */
  constructor(room) {
    this.#room = room;
  }

  /** Whether media can flow. */
  get isConnected() {
    return Boolean(this.#publisher?.isConnected);
  }

  /** Whether the server still answers on the connection. */
  get isFlowing() {
    return this.isConnected && performance.now() - this.#received.at < STALLED_MS;
  }

  /** Since when the connection is being established, by `Date.now()`; 0 if it is not. */
  get since() {
    return this.#lesson.since;
  }

  /** Sends as this user, and connects again whenever that is needed. */
  start(user) {
    this.#lesson.publisherIs(user);
  }

  /** Sends nothing any more. */
  stop() {
    this.#lesson.publisher = null;
    this.#lesson.rest();
    this.#drop();
    this.#room.chat.attach(null);
  }

  async answer(sdp) {
    const publisher = this.#publisher;
    if (!publisher) return;
    try {
      await publisher.answer(sdp);
    } catch {
      if (publisher === this.#publisher) this.#lesson.failed();
    }
  }

  /** Adds a candidate of the SFU. */
  candidate(candidate) {
    this.#publisher?.candidate(candidate);
  }

  /** The server has refused an offer. Where trying again is pointless, the lecture is refused. */
  error(error) {
    const after = Number(error.retryAfterMs);
    if (after >= 0) return this.#lesson.failed(after);
    this.#lesson.rest();
    this.#room.refused(error);
  }

  /** The server has ended the media. */
  hangup() {
    this.#lesson.failed(REFUSED_MS);
  }

  /** Sends the room's present track in this role. */
  replace(role) {
    return this.#publisher?.replace(role, this.#room.tracks()[role]);
  }

  /** The content of the screen has changed. */
  contentChanged() {
    if (this.#publisher) this.#publisher.content = this.#room.content;
  }

  /** A message of the server over the data channel. */
  message(message) {
    if (message.type === 'encodings' && Array.isArray(message.needed)) {
      if (this.#publisher) this.#publisher.needed = message.needed.slice(0, 16);
    }
    if (message.type === 'ingest') this.uplink.told(message, performance.now());
  }

  /** Sends an offer that had to wait; says whether there was one. */
  offerNow() {
    if (!this.#isUnsent || !this.#lesson.publisher) return false;
    this.#lesson.now();
    return true;
  }

  /** Called when signalling works again: a server that was restarted knows nothing of the connection. */
  async mend() {
    const publisher = this.#publisher;
    if (!this.#lesson.publisher) return;
    if (this.#isUnsent || !publisher?.isConnected) return this.#lesson.now();
    const { bytes } = this.#received;
    for (let look = 0; look < LOOKS; look += 1) {
      await new Promise((done) => setTimeout(done, LOOK_MS));
      await this.#measure();
      if (publisher !== this.#publisher || this.#received.bytes > bytes) return;
    }
    this.#lesson.now();
  }

  /** To be called once a second. */
  async second() {
    await this.#measure();
    const isSilent = this.#received.bytes > 0 && performance.now() - this.#received.at > STALLED_MS;
    if (isSilent && this.#lesson.publisher) this.#room.signalling.check();
  }

  async #connect() {
    const { signalling, chat, iceServers } = this.#room;
    const me = this.#lesson.publisher;
    // On a dead path the offer would wait in the socket for seconds. Once the path works, a fresh offer is sent.
    this.#isUnsent = !signalling.isSure;
    if (this.#isUnsent) return signalling.check();
    this.#drop();
    const publisher = this.#newPublisher(me);
    this.#publisher = publisher;
    chat.attach(publisher.channel);
    try {
      const offer = await publisher.offer(iceServers);
      if (publisher !== this.#publisher || me !== this.#lesson.publisher) return;
      this.#isUnsent = !signalling.send({ type: 'offer', targetUid: me.userId, ...offer });
      if (this.#isUnsent) this.#lesson.failed();
      else publisher.offered();
    } catch {
      this.#lesson.failed();
    }
  }

  #newPublisher(me) {
    const isCurrent = () => publisher === this.#publisher;
    const publisher = new Publisher(this.#room.tracks(), this.#room.content, {
      candidate: (candidate) => {
        if (isCurrent()) this.#room.signalling.send({ type: 'candidate', targetUid: me.userId, candidate });
      },
      connected: () => {
        if (!isCurrent()) return;
        this.#isUnsent = false;
        this.#lesson.connected();
        this.#received = { bytes: 0, at: performance.now() };
        this.#room.changed();
      },
      disturbed: () => {
        this.#room.signalling.check();
        this.#room.changed();
      },
      gone: () => {
        if (!isCurrent()) return;
        this.#lesson.failed();
        this.#room.changed();
      },
    });
    return publisher;
  }

  #drop() {
    this.#publisher?.close();
    this.#publisher = null;
    this.uplink.reset();
  }

  async #measure() {
    const publisher = this.#publisher;
    if (!publisher) return;
    const { report, roles } = await publisher.stats().catch(() => ({ report: [], roles: new Map() }));
    if (publisher !== this.#publisher || report.length === 0) return;
    const now = performance.now();
    this.uplink.update(report, roles, now);
    const bytes = this.uplink.numbers.received;
    if (bytes > this.#received.bytes) this.#received = { bytes, at: now };
  }
}

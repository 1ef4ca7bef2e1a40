// The peer connection to one user: the offer, the answer and the candidates travel over signalling, and a connection
// that fails is followed by a new one.

import { LessonState } from './lesson.js';

/** When signalling works again: how often to look whether media has resumed, before a new connection is offered. */
const LOOK_MS = 250;

const NOTHING = { made() {}, tracks() {}, connected() {}, gone() {}, dropped() {}, changed() {} };

export class Negotiation {
  /** The user to connect to, and when to try again. */
  lesson = new LessonState(() => this.#offer());
  /** The present connection, or `null`. */
  connection = null;
  #room;
  #make;
  #on;
  #spare = null;
  /** Whether an offer waits for a path that works. */
  #isUnsent = false;

  /**
   * `room` has `signalling` and `iceServers`. `make(on)` makes a `Connection` with these callbacks. `on` may have:
   * `made(connection)` before its offer, `tracks(tracks)` after its answer, `connected()`, `gone()` once it has failed,
   * `dropped()` before it is closed, and `changed()` for a view whenever its state is another one.
   */
  constructor(room, make, on) {
    this.#room = room;
    this.#make = make;
    this.#on = { ...NOTHING, ...on };
  }

  /** Whether media can flow. */
  get isConnected() {
    return Boolean(this.connection?.isConnected);
  }

  /** Makes a connection in advance. */
  prepare() {
    this.#spare ??= this.#new();
  }

  /** Connects to nobody any more. */
  end() {
    this.lesson.publisher = null;
    this.rest();
  }

  /** Makes no new connection until the lesson says so. */
  rest() {
    this.lesson.rest();
    this.drop();
  }

  /** Closes the connection. */
  drop() {
    const { connection } = this;
    if (!connection) return;
    this.#on.dropped();
    this.connection = null;
    connection.close();
  }

  /** An answer, a candidate or a hangup of the user. A hangup before the connection works is about an earlier one. */
  async signalled({ type, sdp, candidate }) {
    const { connection } = this;
    if (type === 'candidate') connection?.candidate(candidate);
    if (type === 'hangup' && connection?.wasConnected) this.lesson.failed();
    if (type !== 'answer') return;
    try {
      await connection?.answer(String(sdp));
    } catch {
      if (connection === this.connection) this.lesson.failed();
    }
  }

  /** Signalling works: sends an offer that had to wait. Returns whether there was one. */
  offerNow() {
    if (!this.#isUnsent || !this.lesson.publisher) return false;
    this.lesson.now();
    return true;
  }

  /**
   * Signalling works again after a dead path. Offers a connection if none ever worked: the answer may have been lost.
   * Otherwise, if `isStalled`, waits `looks` times for `hasResumed()`, and then offers one.
   */
  async mend(isStalled, hasResumed = async () => false, looks = 0) {
    const { lesson, connection } = this;
    if (!lesson.publisher) return;
    if (this.#isUnsent || !connection?.wasConnected) return lesson.now();
    if (!isStalled) return;
    for (let look = 0; look < looks; look += 1) {
      await new Promise((done) => setTimeout(done, LOOK_MS));
      const resumed = await hasResumed();
      if (connection !== this.connection || !lesson.publisher || resumed) return;
    }
    lesson.now();
  }

  async #offer() {
    const { lesson } = this;
    const { signalling, iceServers } = this.#room;
    // On a dead path the offer would wait in the socket for seconds. Once the path works, a fresh offer is sent.
    this.#isUnsent = !signalling.isSure;
    if (this.#isUnsent) return signalling.check();
    this.drop();
    const connection = this.#spare ?? this.#new();
    this.#spare = null;
    this.connection = connection;
    this.#on.made(connection);
    try {
      const offer = await connection.offer(iceServers);
      if (connection !== this.connection || !lesson.publisher) return;
      this.#isUnsent = !signalling.send({ type: 'offer', targetUid: lesson.publisher.userId, ...offer });
      if (this.#isUnsent) lesson.failed();
      else connection.offered();
    } catch {
      if (connection === this.connection) lesson.failed();
    }
  }

  #new() {
    const { lesson } = this;
    const whileCurrent = (work) => (news) => {
      if (connection !== this.connection) return;
      work(news);
      this.#on.changed();
    };
    const connection = this.#make({
      candidate: (candidate) => {
        const targetUid = lesson.publisher?.userId;
        if (connection !== this.connection || !targetUid) return;
        this.#room.signalling.send({ type: 'candidate', targetUid, candidate });
      },
      tracks: whileCurrent((tracks) => this.#on.tracks(tracks)),
      connected: whileCurrent(() => {
        this.#isUnsent = false;
        lesson.connected();
        this.#on.connected();
      }),
      disturbed: whileCurrent(() => this.#room.signalling.check()),
      gone: whileCurrent(() => {
        this.#on.gone();
        lesson.failed();
      }),
    });
    return connection;
  }
}

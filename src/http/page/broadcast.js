// The media of a teacher: one connection that sends to the server's SFU, and a new connection where that one fails.

import { Negotiation } from './negotiation.js';
import { Publisher } from './publisher.js';
import { Uplink } from './uplink.js';

/** A connection counts as interrupted when nothing has come back over it for this time. */
const STALLED_MS = 2_500;
/** How often to look for an answer, after signalling works again and before a new connection. */
const LOOKS = 6;
/** The time to the next offer after a temporary refusal by the server. */
const REFUSED_MS = 2_000;

export class Broadcast {
  uplink = new Uplink();
  #room;
  #negotiation;
  #received = { bytes: 0, at: 0 };

  /**
   * `room` has `signalling`, `iceServers`, `chat`, `tracks()` with `{ audio, screen, camera }`, `content`, and the
   * callbacks `changed()` and `refused(error)`.
   */
  constructor(room) {
    this.#room = room;
    this.#negotiation = new Negotiation(room, (on) => new Publisher(room.tracks(), room.content, on), {
      made: (publisher) => room.chat.attach(publisher.channel),
      connected: () => (this.#received = { bytes: 0, at: performance.now() }),
      dropped: () => this.uplink.reset(),
      changed: () => room.changed(),
    });
  }

  /** Whether media can flow. */
  get isConnected() {
    return this.#negotiation.isConnected;
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
    this.#negotiation.end();
    this.#room.chat.attach(null);
  }

  /** An answer, a candidate or a hangup of the SFU. */
  signalled(message) {
    if (message.type === 'hangup') this.failed();
    else this.#negotiation.signalled(message);
  }

  /** The server has refused an offer. Where trying again is pointless, the lecture is refused. */
  error(error) {
    const after = Number(error.retryAfterMs);
    if (after >= 0) return this.#lesson.failed(after);
    this.#lesson.rest();
    this.#room.refused(error);
  }

  /** The server has ended the media, or could not pass on an offer. */
  failed() {
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
    return this.#negotiation.offerNow();
  }

  /** Called when signalling works again: a server that was restarted knows nothing of the connection. */
  mend() {
    const { bytes } = this.#received;
    const hasResumed = async () => {
      await this.#measure();
      return this.#received.bytes > bytes;
    };
    return this.#negotiation.mend(true, hasResumed, this.isConnected ? LOOKS : 0);
  }

  /** To be called once a second. */
  async second() {
    await this.#measure();
    const isSilent = this.#received.bytes > 0 && performance.now() - this.#received.at > STALLED_MS;
    if (isSilent && this.#lesson.publisher) this.#room.signalling.check();
  }

  get #lesson() {
    return this.#negotiation.lesson;
  }

  get #publisher() {
    return this.#negotiation.connection;
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

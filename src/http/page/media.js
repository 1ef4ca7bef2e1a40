// The media of a lecture: one peer connection to the teacher's SFU, and whether media flows over it.

import { isDevice } from './identity.js';
import { Negotiation } from './negotiation.js';
import { Peer } from './peer.js';

/** Media counts as interrupted when no byte has arrived for this time. */
const STALLED_MS = 2_500;
/** After this silence of the media, signalling is asked whether the path is dead. */
const SILENT_MS = 1_500;
/** The SFU gives up a student that it has not heard for this time (`DISCONNECTED_AFTER` and `FAILED_AFTER`). */
const FORGOTTEN_MS = 10_000;
/** When a path works again: how many times to look for new media before connecting anew. */
const LOOKS = 3;

/** A camera watches nothing; a connection needs some track. */
const KINDS_OF_DEVICE = ['audio'];

const NOTHING_STOPPED = { screen: false, camera: false };

export class Media {
  /** The tracks by role: `{ audio, screen, camera }`, each may be missing; `null` before the first answer. */
  tracks = null;
  /** What the SFU sends us, by its last `tier` message. */
  sent = null;
  /** The videos that have no source any more. */
  stopped = NOTHING_STOPPED;
  isFlowing = false;
  hasVideo = false;
  #negotiation;
  /** The bytes received so far, and when the last of them came. */
  #received = { bytes: 0, videoBytes: 0, at: 0, videoAt: 0 };
  #room;

  /**
   * `room` has `stats`, `layout`, `chat`, `people`, `signalling` and `iceServers`, and the callbacks `connected()`,
   * `changed()` and `endStage()`.
   */
  constructor(room) {
    this.#room = room;
    this.#negotiation = new Negotiation(room, (on) => new Peer(on, isDevice() ? KINDS_OF_DEVICE : undefined), {
      made: (peer) => room.chat.attach(peer.channel),
      tracks: (tracks) => {
        this.tracks = tracks;
        room.layout.show(tracks);
      },
      connected: () => {
        this.#received = { bytes: 0, videoBytes: 0, at: performance.now(), videoAt: performance.now() };
        room.connected();
      },
      gone: () => (this.isFlowing = false),
      dropped: () => {
        room.layout.freeze();
        this.sent = null;
        this.isFlowing = false;
      },
      changed: () => room.changed(),
    });
  }

  /** The state of the lesson. */
  get lesson() {
    return this.#negotiation.lesson;
  }

  get isConnected() {
    return this.#negotiation.isConnected;
  }

  /** When the last byte of media came, by `performance.now()`. */
  get receivedAt() {
    return this.#received.at;
  }

  /** The data channel of the connection. */
  get channel() {
    return this.#negotiation.connection?.channel ?? null;
  }

  /** Makes an offer in advance. */
  prepare() {
    this.#negotiation.prepare();
  }

  /** An answer, a candidate or a hangup of the publisher, or what only an engine says. */
  async signalled(message) {
    const negotiation = this.#negotiation;
    if (!['offer', 'talk'].includes(message.type)) negotiation.signalled(message);
    else (await import('./engine.js')).told(negotiation, this.#room, message);
  }

  /** Sends an offer that had to wait; says whether there was one. */
  offerNow() {
    return this.#negotiation.offerNow();
  }

  /**
   * Called when a dead path works again. Media that was interrupted resumes at once or not soon: the SFU drops a
   * silent student, or takes the path for a narrow one.
   */
  mend() {
    // Audio may resume before video.
    const { bytes, videoBytes, at, videoAt } = this.#received;
    const silence = performance.now() - (this.hasVideo ? videoAt : at);
    const hasResumed = async () => {
      await this.#measure();
      return this.hasVideo ? this.#received.videoBytes > videoBytes : this.#received.bytes > bytes;
    };
    return this.#negotiation.mend(silence >= STALLED_MS, hasResumed, silence < FORGOTTEN_MS ? LOOKS : 0);
  }

  /** A frame was shown for the first time. */
  videoCame() {
    this.hasVideo = true;
    this.isFlowing = true;
  }

  /** To be called once a second: whether media still arrives. */
  async second() {
    await this.#measure();
    const isSilent = this.#received.bytes > 0 && performance.now() - this.#received.at > SILENT_MS;
    if (isSilent && this.lesson.publisher) this.#room.signalling.check();
  }

  /** Ends the media of this lecture. */
  end() {
    this.#negotiation.rest();
    this.#room.layout.clear();
    this.#room.chat.attach(null);
    this.#room.people.hands([]);
    this.#room.endStage();
    this.hasVideo = false;
    this.tracks = null;
    this.stopped = NOTHING_STOPPED;
  }

  async #measure() {
    const peer = this.#negotiation.connection;
    if (!peer?.wasConnected) return peer && this.#room.stats.read(peer).catch(() => {});
    const { bytes, videoBytes } = await this.#room.stats.read(peer).catch(() => this.#received);
    if (peer !== this.#negotiation.connection) return;
    const now = performance.now();
    const videoAt = videoBytes > this.#received.videoBytes ? now : this.#received.videoAt;
    if (bytes > this.#received.bytes) this.#received = { bytes, videoBytes, at: now, videoAt };
    this.isFlowing = (now - this.#received.at < STALLED_MS && bytes > 0) || !this.#isExpected();
  }

  /** Whether media is expected: not where every source has stopped, and not in a breakout room. */
  #isExpected() {
    return !this.#room.layout.isAway && Object.keys(this.tracks ?? {}).some((role) => !this.stopped[role]);
  }
}

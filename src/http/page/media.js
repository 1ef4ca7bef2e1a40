// The media of a lecture: one peer connection to the teacher's SFU, whether media flows over it, and a new connection
// where it does not.

import { isDevice } from './identity.js';
import { Peer } from './peer.js';

/** Media counts as interrupted when no byte has arrived for this time. */
const STALLED_MS = 2_500;
/** After this silence of the media, signalling is asked whether the path is dead. */
const SILENT_MS = 1_500;
/** The SFU gives up a student that it has not heard for this time (`DISCONNECTED_AFTER` and `FAILED_AFTER`). */
const FORGOTTEN_MS = 10_000;
/** When a path works again: how often, and how many times, to look for new media before connecting anew. */
const LOOK_MS = 250;
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
  #peer = null;
  #spare = null;
  /** Whether an offer waits for a path that works. */
  #isUnsent = false;
  /** The bytes received so far, and when the last of them came. */
  #received = { bytes: 0, videoBytes: 0, at: 0, videoAt: 0 };
  #room;

  /**
   * `room` has `lesson`, `stats`, `layout`, `chat`, `people`, `signalling` and `iceServers`, and the callbacks
   * `connected()`, `changed()` and `endStage()`.
   */
  constructor(room) {
    this.#room = room;
  }

  get isConnected() {
    return Boolean(this.#peer?.isConnected);
  }

  /** When the last byte of media came, by `performance.now()`. */
  get receivedAt() {
    return this.#received.at;
  }

  /** The data channel of the connection. */
  get channel() {
    return this.#peer?.channel ?? null;
  }

  /** Makes an offer in advance. */
  prepare() {
    this.#spare ??= this.#newPeer();
  }

  /** Offers a new connection to the publisher. */
  async connect() {
    const { lesson, signalling, chat, iceServers } = this.#room;
    const { publisher } = lesson;
    // On a dead path the offer would wait in the socket for seconds. Once the path works, a fresh offer is sent.
    this.#isUnsent = !signalling.isSure;
    if (this.#isUnsent) return signalling.check();
    this.#dropPeer();
    const peer = this.#spare ?? this.#newPeer();
    this.#spare = null;
    this.#peer = peer;
    chat.attach(peer.channel);
    try {
      const sdp = await peer.offer(iceServers);
      if (peer !== this.#peer || publisher !== lesson.publisher) return;
      this.#isUnsent = !signalling.send({ type: 'offer', targetUid: publisher.userId, sdp });
      if (this.#isUnsent) lesson.failed();
      else peer.offered();
    } catch {
      lesson.failed();
    }
  }

  async answer(sdp) {
    const peer = this.#peer;
    if (!peer || peer.isAnswered) return;
    peer.isAnswered = true;
    try {
      await peer.answer(sdp);
    } catch {
      if (peer === this.#peer) this.#room.lesson.failed();
    }
  }

  /** Adds a candidate of the SFU. */
  candidate(candidate) {
    this.#peer?.candidate(candidate);
  }

  /** Sends an offer that had to wait; says whether there was one. */
  offerNow() {
    const { lesson } = this.#room;
    if (!this.#isUnsent || !lesson.publisher) return false;
    lesson.now();
    return true;
  }

  /**
   * Called when a dead path works again. Media that was interrupted resumes at once or not soon: the SFU drops a
   * silent student, or takes the path for a narrow one.
   */
  async mend() {
    const { lesson } = this.#room;
    const peer = this.#peer;
    if (!lesson.publisher) return;
    // The offer was not sent, or its answer was lost with the WebSocket.
    if (this.#isUnsent || (peer && !peer.wasConnected)) return lesson.now();
    // Audio may resume before video.
    const { bytes, videoBytes, at, videoAt } = this.#received;
    const silence = performance.now() - (this.hasVideo ? videoAt : at);
    if (!peer || silence < STALLED_MS) return;
    for (let look = 0; look < LOOKS && silence < FORGOTTEN_MS; look += 1) {
      await new Promise((done) => setTimeout(done, LOOK_MS));
      await this.#measure();
      const resumed = this.hasVideo ? this.#received.videoBytes > videoBytes : this.#received.bytes > bytes;
      if (peer !== this.#peer || !lesson.publisher || resumed) return;
    }
    lesson.now();
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
    if (isSilent && this.#room.lesson.publisher) this.#room.signalling.check();
  }

  /** Ends the media of this lecture. */
  end() {
    this.#dropPeer();
    this.#room.lesson.rest();
    this.#room.layout.clear();
    this.#room.chat.attach(null);
    this.#room.people.hands([]);
    this.#room.endStage();
    this.hasVideo = false;
    this.tracks = null;
    this.stopped = NOTHING_STOPPED;
  }

  #newPeer() {
    const { lesson } = this.#room;
    const peer = new Peer({
      candidate: (candidate) => {
        const targetUid = lesson.publisher?.userId;
        if (peer === this.#peer && targetUid) this.#room.signalling.send({ type: 'candidate', targetUid, candidate });
      },
      tracks: (tracks) => {
        if (peer !== this.#peer) return;
        this.tracks = tracks;
        this.#room.layout.show(tracks);
        this.#room.changed();
      },
      connected: () => {
        if (peer !== this.#peer) return;
        peer.wasConnected = true;
        this.#isUnsent = false;
        lesson.connected();
        this.#received = { bytes: 0, videoBytes: 0, at: performance.now(), videoAt: performance.now() };
        this.#room.connected();
      },
      disturbed: () => {
        this.#room.signalling.check();
        this.#room.changed();
      },
      gone: () => {
        if (peer !== this.#peer) return;
        this.isFlowing = false;
        lesson.failed();
        this.#room.changed();
      },
    }, isDevice() ? KINDS_OF_DEVICE : undefined);
    return peer;
  }

  #dropPeer() {
    if (!this.#peer) return;
    this.#room.layout.freeze();
    this.#peer.close();
    this.#peer = null;
    this.sent = null;
    this.isFlowing = false;
  }

  async #measure() {
    const peer = this.#peer;
    if (!peer?.wasConnected) return;
    const { bytes, videoBytes } = await this.#room.stats.read(peer).catch(() => this.#received);
    if (peer !== this.#peer) return;
    const now = performance.now();
    const videoAt = videoBytes > this.#received.videoBytes ? now : this.#received.videoAt;
    if (bytes > this.#received.bytes) this.#received = { bytes, videoBytes, at: now, videoAt };
    this.isFlowing = (now - this.#received.at < STALLED_MS && bytes > 0) || !this.#isExpected();
  }

  /** Whether media is expected: not where every source has stopped. */
  #isExpected() {
    return Object.keys(this.tracks ?? {}).some((role) => !this.stopped[role]);
  }
}

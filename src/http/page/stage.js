// The stage: the speakers that the `stage` message lists, and a connection that receives the media of each.

import { clean, list } from './dom.js';
import { Negotiation } from './negotiation.js';
import { Peer } from './peer.js';

/** The most speakers (`MAX_SPEAKERS`), and the most users in other lists of the message. */
const MOST_SPEAKERS = 4;
const MOST_INVITED = 4;
const TRACKS = ['audio', 'screen', 'camera'];
/** Without a `stage` message for this time after `welcome`, nobody speaks: a newcomer gets none then. */
const NOBODY_AFTER_MS = 2_000;
/** The media of a speaker counts as interrupted when no byte has arrived for this time. */
const STALLED_MS = 2_500;
/** The mean power of a second with speech: -40 dBFS. A quiet room is below. */
const SPEECH = 1e-4;

export class Stage {
  /** The user who is large for everybody; `null` for the teacher. */
  spotlight = null;
  /** The most speakers; 0 without a stage. */
  most = 0;
  /** Whether the floor is open: a raised hand brings its student to the stage. */
  isOpen = false;
  /** The ids of those who were invited and do not speak yet, as far as this user may know. */
  invited = [];
  #room;
  #listed = [];
  #receivers = new Map();
  #timer = 0;

  /**
   * `room` has `signalling`, `iceServers`, `userId` and the callback `changed()` for anything that a view shows. The
   * user itself may be a speaker: nobody receives its own media.
   */
  constructor(room) {
    this.#room = room;
  }

  /**
   * The speakers in their order: `{ userId, nickname, id, tracks, silent, isLost, isMe, media, isConnected, isSpeaking
   * }`. `tracks` and `silent` are names of tracks; nothing arrives from one that `isLost`; `media` has the received
   * tracks `{ audio, screen, camera }`.
   */
  get speakers() {
    return this.#listed.map((speaker) => {
      const receiver = this.#receivers.get(speaker.userId);
      const { tracks: media = {}, isConnected = false, isSpeaking = false } = receiver ?? {};
      return { ...speaker, isMe: speaker.userId === this.#room.userId, media, isConnected, isSpeaking };
    });
  }

  /** The speaker with this id, or none. */
  speaker(userId) {
    return this.speakers.find((speaker) => speaker.userId === userId);
  }

  /** The message `stage`. It replaces the one before. */
  told(message) {
    clearTimeout(this.#timer);
    const { speakers, ...others } = stageOf(message);
    this.#listed = speakers;
    Object.assign(this, others);
    this.#receive();
    this.#room.changed();
  }

  /** The message `welcome`: a new connection to the holder of the media, which may know of no stage any more. */
  welcomed() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.clear(), NOBODY_AFTER_MS);
  }

  /** Nobody speaks any more. */
  clear() {
    this.told({ most: this.most });
  }

  /** An answer, a candidate or a hangup of signalling. Returns whether it concerns a speaker. */
  signalled(message) {
    const receiver = this.#receivers.get(message.userId);
    if (!receiver) return false;
    receiver.signalled(message);
    return true;
  }

  /**
   * An error of signalling. The server's own errors name nobody, so they concern those who are being connected. Returns
   * whether it concerns a speaker.
   */
  failed(error) {
    const after = Number(error.retryAfterMs);
    const concerned = [...this.#receivers].filter(([userId, receiver]) =>
      error.userId ? error.userId === userId : receiver.isConnecting);
    for (const [, receiver] of concerned) {
      if (error.userId && !(after >= 0)) receiver.rest();
      else receiver.failed(after >= 0 ? after : 0);
    }
    return concerned.length > 0;
  }

  /** The server has answered, so offers that waited for a path that works can be sent. */
  offerNow() {
    for (const receiver of this.#receivers.values()) receiver.offerNow();
  }

  /** Signalling works again after a dead path. */
  mend() {
    for (const receiver of this.#receivers.values()) receiver.mend();
  }

  /** To be called once a second: who is speaking. */
  async second() {
    const before = this.#speaking();
    await Promise.all([...this.#receivers.values()].map((receiver) => receiver.measure()));
    if (this.#speaking() !== before) this.#room.changed();
  }

  #speaking() {
    return [...this.#receivers].filter(([, { isSpeaking }]) => isSpeaking).map(([userId]) => userId).join(' ');
  }

  /** Opens and closes connections: one for each listed speaker, except for this user. */
  #receive() {
    const wanted = new Map(this.#listed.map((speaker) => [speaker.userId, speaker]));
    wanted.delete(this.#room.userId);
    for (const [userId, receiver] of this.#receivers) {
      if (wanted.get(userId)?.id === receiver.id) continue;
      this.#receivers.delete(userId);
      receiver.end();
    }
    for (const [userId, { id }] of wanted) {
      if (this.#receivers.has(userId)) continue;
      const receiver = new Receiver(this.#room, userId, id);
      this.#receivers.set(userId, receiver);
      receiver.start();
    }
  }
}

/** The connection that receives one speaker. It is made again while the speaker is listed. */
export class Receiver {
  /** The received tracks: `{ audio, screen, camera }`, each may be missing. */
  tracks = {};
  isSpeaking = false;
  #userId;
  #sound = { energy: 0, seconds: 0 };
  #received = { bytes: 0, at: 0 };
  #negotiation;

  constructor(room, userId, id) {
    this.#userId = userId;
    this.id = id;
    this.#negotiation = new Negotiation(room, (on) => new Peer(on), {
      tracks: (tracks) => {
        this.tracks = Object.fromEntries(TRACKS.filter((role) => tracks[role]).map((role) => [role, tracks[role]]));
      },
      connected: () => (this.#received = { bytes: 0, at: performance.now() }),
      dropped: () => {
        this.isSpeaking = false;
        this.#sound = { energy: 0, seconds: 0 };
      },
      changed: () => room.changed(),
    });
  }

  get isConnected() {
    return this.#negotiation.isConnected;
  }

  /** The data channel to the holder of the media; `null` without a connection. */
  get channel() {
    return this.#negotiation.connection?.channel ?? null;
  }

  /** The number of frames that were decoded. */
  async decodedFrames() {
    const report = await (this.#negotiation.connection?.stats() ?? Promise.resolve(new Map())).catch(() => new Map());
    return [...report.values()].reduce((sum, { framesDecoded = 0 }) => sum + framesDecoded, 0);
  }

  /** Whether a connection is being made. */
  get isConnecting() {
    return this.#negotiation.lesson.since > 0;
  }

  start() {
    this.#negotiation.lesson.publisherIs({ userId: this.#userId, epoch: this.id });
  }

  end() {
    this.#negotiation.end();
  }

  /** Does not connect any more: the holder of the media refuses it for good. */
  rest() {
    this.#negotiation.rest();
  }

  failed(afterMs = 0) {
    this.#negotiation.lesson.failed(afterMs);
  }

  offerNow() {
    this.#negotiation.offerNow();
  }

  mend() {
    const isStalled = performance.now() - this.#received.at > STALLED_MS;
    this.#negotiation.mend(isStalled || this.isConnecting || !this.isConnected);
  }

  /** An answer, a candidate or a hangup. */
  signalled(message) {
    if (message.type === 'hangup') this.failed();
    else this.#negotiation.signalled(message);
  }

  /** Reads the statistics of the last second. */
  async measure() {
    const peer = this.#negotiation.connection;
    if (!peer?.isConnected) return;
    const report = await peer.stats().catch(() => new Map());
    if (peer !== this.#negotiation.connection) return;
    const inbound = [...report.values()].filter(({ type }) => type === 'inbound-rtp');
    const bytes = inbound.reduce((sum, { bytesReceived = 0 }) => sum + bytesReceived, 0);
    if (bytes > this.#received.bytes) this.#received = { bytes, at: performance.now() };
    const { totalAudioEnergy: energy = 0, totalSamplesDuration: seconds = 0 } =
      inbound.find(({ kind }) => kind === 'audio') ?? {};
    const last = this.#sound;
    this.#sound = { energy, seconds };
    this.isSpeaking = seconds > last.seconds && (energy - last.energy) / (seconds - last.seconds) > SPEECH;
  }
}

/** The message `stage`, checked: `{ speakers, invited, most, isOpen, spotlight }`. */
export function stageOf(message) {
  const all = list(message.speakers, MOST_SPEAKERS).map(speakerOf);
  const speakers = all.filter(({ userId }, n) => userId && all.findIndex((one) => one.userId === userId) === n);
  const spotlight = clean(message.spotlight, 64);
  return {
    speakers,
    invited: list(message.invited, MOST_INVITED).map((userId) => clean(userId, 64)),
    most: Number(message.most) || 0,
    isOpen: message.isOpen === true,
    spotlight: speakers.some(({ userId }) => userId === spotlight) ? spotlight : null,
  };
}

function speakerOf(speaker) {
  const names = (value) => list(value, TRACKS.length).filter((name) => TRACKS.includes(name));
  return {
    userId: clean(speaker?.userId, 64),
    nickname: clean(speaker?.nickname, 40),
    id: Number(speaker?.id) || 0,
    tracks: names(speaker?.tracks),
    silent: names(speaker?.silent),
    isLost: speaker?.lost === true,
  };
}

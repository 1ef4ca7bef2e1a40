// The connections of a call or a meeting: one `Pair` for each two entries of participants, and the source of each
// participant's media, which may be the server.

import { Overload } from './overload.js';
import { Pair } from './pair.js';

/** The most participants of a list (`MAX_PARTICIPANTS`). */
const MOST = 25;
const NO_MEDIA = { audio: null, screen: null, camera: null };
const NOTHING = { changed() {}, channel() {}, message() {}, file: () => false, needs: () => false, overloaded() {} };
/** Over the data channel: the sender needs no media over this pair any more. */
const MOVED = JSON.stringify({ type: 'moved' });

export class Mesh {
  /** The pairs by user id. */
  peers = new Map();
  #room;
  #on;
  #me = null;
  /** Of each pair, by user id, `isDue`, `isSaid` and `isHeard`: which side needs no media over the pair any more. */
  #moves = new Map();
  /** Those who send nothing while the media is on the server. */
  #silent = new Set();
  /** What receives from the server, by user id: `{ media, state, close() }`. */
  #sources = new Map();
  #overload = new Overload();
  #isReported = false;

  /**
   * `room` has `userId`, `signalling`, `iceServers` and `tracks()`, the tracks to send: `{ audio, screen, camera }`,
   * each may be `null`. `on` may have `changed()` for a view, `channel(userId, channel)` for a data channel that is
   * open, `message(userId, data)` of a data channel, `file(userId, channel)`, which returns whether a channel brings a
   * file that is wanted, `needs(userId)`, which returns whether files need the pair, and `overloaded()`, called once.
   */
  constructor(room, on) {
    this.#room = room;
    this.#on = { ...NOTHING, ...on };
  }

  /** The message `participants`. It replaces the one before; without this user among them, all connections end. */
  participants(message) {
    const listed = participantsOf(message);
    const me = listed.find(({ userId }) => userId === this.#room.userId);
    const others = me ? listed.filter((participant) => participant !== me) : [];
    const isOther = this.#me?.entry !== me?.entry;
    this.#me = me ?? null;
    for (const [userId, pair] of this.peers) {
      const stays = !isOther && others.some((other) => other.userId === userId && other.entry === pair.other.entry);
      if (!stays) this.#drop(userId);
    }
    for (const userId of this.#sources.keys()) {
      if (!others.some((other) => other.userId === userId)) this.unset(userId);
    }
    // With the media on the server, pairs end, and no new one begins.
    const isMesh = message.media !== 'server';
    for (const other of others) {
      if (isMesh && !this.peers.has(other.userId)) this.#pair(me, other);
    }
    this.#silent = new Set(isMesh ? [] : others.filter(isSilent).map(({ userId }) => userId));
    for (const userId of this.#silent) this.#release(userId);
    if (isMesh) {
      this.#moves.clear();
      for (const pair of this.peers.values()) pair.hold(false);
    }
    this.#share();
    this.#on.changed();
  }

  /** An offer, an answer or a candidate. Returns whether it belongs to a pair: not if the sender has another entry. */
  signalled(message) {
    const pair = this.peers.get(message.userId);
    if (!pair || message.entry !== pair.other.entry) return false;
    pair.signalled(message);
    return true;
  }

  /** The room has another track in this role, or none. */
  replace(role) {
    for (const pair of this.peers.values()) pair.replace(role);
  }

  /** The media of a participant: `{ media: { audio, screen, camera }, state }`; from the server once that works. */
  source(userId) {
    const server = this.#sources.get(userId);
    const pair = this.peers.get(userId);
    const isFromServer = server?.state === 'connected' || this.#moves.get(userId)?.isSaid || !pair;
    if (server && isFromServer) return { media: server.media, state: server.state };
    if (pair) return { media: pair.media, state: pair.state };
    // Nothing will come, so nothing is missing.
    return { media: NO_MEDIA, state: this.#silent.has(userId) ? 'connected' : 'connecting' };
  }

  /** `source` receives this participant's media from the server, or will: `{ media, state, close() }`. */
  set(userId, source) {
    this.unset(userId);
    this.#sources.set(userId, source);
  }

  /** The media of this participant arrives from the server now. */
  arrived(userId) {
    this.#release(userId);
    this.#share();
    this.#on.changed();
  }

  /** This participant's media comes from the server no more. */
  unset(userId) {
    this.#sources.get(userId)?.close();
    this.#sources.delete(userId);
  }

  /** Sends text or bytes to a participant. Returns whether the data channel was open. */
  say(userId, data) {
    return this.peers.get(userId)?.say(data) ?? false;
  }

  /** Signalling works again after a dead path. */
  mend() {
    for (const pair of this.peers.values()) pair.mend();
  }

  /** To be called once a second: reads the statistics of all pairs. */
  async second() {
    const speaking = () => [...this.peers].filter(([, { measure }]) => measure.isSpeaking).map(([id]) => id).join(' ');
    const before = speaking();
    const pairs = [...this.peers.values()];
    await Promise.all(pairs.map((pair) => pair.second()));
    if (speaking() !== before) this.#on.changed();
    for (const userId of this.peers.keys()) this.#settle(userId);
    const isOverloaded = this.#overload.update(pairs.filter(({ isConnected }) => isConnected));
    if (!isOverloaded || this.#isReported) return;
    this.#isReported = true;
    this.#on.overloaded();
  }

  /** Closes everything. */
  end() {
    this.participants({});
    this.#overload.clear();
    this.#isReported = false;
  }

  #pair(me, other) {
    const { userId } = other;
    const pair = new Pair(me, other, this.#room, {
      changed: () => {
        this.#settle(userId);
        this.#on.changed();
      },
      opened: (channel) => {
        this.#on.channel(userId, channel);
        if (this.#moves.get(userId)?.isDue) this.#release(userId);
        this.#on.changed();
      },
      message: (data) => {
        if (data === MOVED) this.#moved(userId, 'isHeard');
        else this.#on.message(userId, data);
      },
      file: (channel) => this.#on.file(userId, channel),
    });
    this.peers.set(userId, pair);
  }

  /** This side needs no media over the pair any more. */
  #release(userId) {
    const pair = this.peers.get(userId);
    if (!pair || this.#moves.get(userId)?.isSaid) return;
    this.#moves.set(userId, { ...this.#moves.get(userId), isDue: true });
    if (pair.say(MOVED)) this.#moved(userId, 'isSaid');
    // A pair that does not work has nothing that could be interrupted.
    else if (!pair.isConnected && !this.#on.needs(userId)) this.#drop(userId);
  }

  #moved(userId, what) {
    this.#moves.set(userId, { ...this.#moves.get(userId), [what]: true });
    if (what === 'isHeard') this.peers.get(userId)?.hold(true);
    this.#settle(userId);
  }

  /** Ends a pair over which nobody needs media, once no file needs the pair. */
  #settle(userId) {
    const [pair, move] = [this.peers.get(userId), this.#moves.get(userId)];
    if (!pair || !move?.isSaid || this.#on.needs(userId)) return;
    // Without a connection, the other side has closed the pair, and its last word was lost with it.
    if (pair.isConnected && !move.isHeard) return;
    this.#drop(userId);
    this.#share();
    this.#on.changed();
  }

  #drop(userId) {
    this.peers.get(userId)?.close();
    this.peers.delete(userId);
    this.#moves.delete(userId);
  }

  #share() {
    for (const pair of this.peers.values()) pair.share(this.peers.size);
  }
}

/** Whether this participant sends nothing, and the server has nothing of it. */
const isSilent = ({ sends, published }) => !(Array.isArray(sends) && sends.length > 0) && published !== true;

/** The participants in a message of the server, `{ userId, entry, ... }`, once each. */
function participantsOf({ participants }) {
  const all = Array.isArray(participants) ? participants.slice(0, MOST) : [];
  const valid = all.filter((one) => typeof one?.userId === 'string' && Number.isInteger(one.entry));
  return [...new Map(valid.map((one) => [one.userId, one])).values()];
}

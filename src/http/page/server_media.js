// A meeting whose media is on the server: this participant publishes there once, and receives each of the others from
// there. Until a participant's media arrives this way, its pair goes on, so that nobody notices the move.

import { Broadcast } from './broadcast.js';
import { Receiver } from './stage.js';

/** How often to look for the first frame of a participant. */
const LOOK_MS = 100;
const NO_MEDIA = { audio: null, screen: null, camera: null };
/** How much of a video to receive: all, a small picture, or nothing (`SentTier`). */
const WHOLE = { screen: 'full', camera: 'full' };

export class ServerMedia {
  #room;
  #mesh;
  #broadcast;
  #isOn = false;
  /** The participants' sources by user id. */
  #sources = new Map();

  /**
   * `room` has `userId`, `signalling`, `iceServers`, `tracks()` and `content` as for a `Broadcast`, and the callback
   * `changed()`. `mesh` gets the sources.
   */
  constructor(room, mesh) {
    this.#room = room;
    this.#mesh = mesh;
    this.#broadcast = new Broadcast({
      get signalling() {
        return room.signalling;
      },
      get iceServers() {
        return room.iceServers;
      },
      get content() {
        return room.content;
      },
      tracks: () => room.tracks(),
      changed: () => room.changed(),
      // The server can't carry this participant; it may be able to later.
      refused: () => this.#broadcast.failed(),
      chat: { attach: (channel) => this.#listen(channel) },
    });
  }

  /** Whether the media is on the server. */
  get isOn() {
    return this.#isOn;
  }

  /** Whether this participant's own media has a connection. */
  get isConnected() {
    return this.#broadcast.isConnected;
  }

  /** The upload and its trouble: see `Uplink`. */
  get uplink() {
    return this.#broadcast.uplink;
  }

  /** The message `participants`. Call this after that of the mesh. */
  participants({ participants, media }) {
    const { userId } = this.#room;
    const all = Array.isArray(participants) ? participants : [];
    const me = all.find((one) => one?.userId === userId);
    this.#isOn = media === 'server' && Boolean(me);
    if (!this.#isOn) return this.end();
    this.#broadcast.start({ userId, epoch: me.entry });
    const wanted = new Map(all.filter((one) => one !== me && one?.published).map((one) => [one.userId, one]));
    for (const [id, source] of this.#sources) {
      // While a participant is away, its connection waits: it goes on when the participant publishes again.
      const isThere = all.some((one) => one?.userId === id && one.entry === source.entry);
      if (!isThere) this.#end(id);
      else if (wanted.has(id)) source.sends = wanted.get(id).sends;
    }
    for (const [id, participant] of wanted) if (!this.#sources.has(id)) this.#receive(id, participant);
  }

  /** A message of signalling without `entry`. Returns whether it belongs to a connection with the server. */
  signalled(message) {
    if (!this.#isOn) return false;
    if (message.userId === this.#room.userId) this.#broadcast.signalled(message);
    else if (this.#sources.has(message.userId)) this.#sources.get(message.userId).receiver.signalled(message);
    else return false;
    return true;
  }

  /** An error of signalling. The server's own errors name nobody, so they concern those who are being connected. */
  failed(error) {
    if (!this.#isOn) return false;
    const after = Math.max(0, Number(error.retryAfterMs) || 0);
    if (error.userId === this.#room.userId) this.#broadcast.error({ ...error, retryAfterMs: after });
    else if (error.userId) this.#sources.get(error.userId)?.receiver.failed(after);
    else {
      if (this.#broadcast.since > 0) this.#broadcast.failed();
      for (const { receiver } of this.#sources.values()) if (receiver.isConnecting) receiver.failed(after);
    }
    return true;
  }

  /** Shows this participant in these sizes: `{ screen, camera }`, each `full`, `low` or `none`. */
  show(userId, tiers) {
    this.#sources.get(userId)?.want(tiers);
  }

  /** The room has another track in this role, or none. */
  replace(role) {
    if (this.#isOn) this.#broadcast.replace(role);
  }

  /** Signalling works again after a dead path. */
  mend() {
    if (!this.#isOn) return;
    this.#broadcast.mend();
    for (const { receiver } of this.#sources.values()) receiver.mend();
  }

  /** The server has answered, so offers that waited for a path that works can be sent. */
  offerNow() {
    if (!this.#isOn) return;
    this.#broadcast.offerNow();
    for (const { receiver } of this.#sources.values()) receiver.offerNow();
  }

  /** Whether this participant speaks, as far as it is heard from the server. */
  isSpeaking(userId) {
    return Boolean(this.#sources.get(userId)?.receiver.isSpeaking);
  }

  /** To be called once a second. */
  async second() {
    if (!this.#isOn) return;
    const sources = [...this.#sources.values()];
    await Promise.all([this.#broadcast.second(), ...sources.map((source) => source.second())]);
  }

  /** Closes everything. */
  end() {
    this.#isOn = false;
    for (const id of [...this.#sources.keys()]) this.#end(id);
    this.#broadcast.stop();
  }

  #receive(userId, participant) {
    const source = new Source(this.#room, participant, () => this.#mesh.arrived(userId));
    this.#sources.set(userId, source);
    this.#mesh.set(userId, source);
  }

  #end(userId) {
    this.#sources.delete(userId);
    this.#mesh.unset(userId);
  }

  /** What the server says over the connection that sends. */
  #listen(channel) {
    if (!channel) return;
    channel.onmessage = ({ data }) => {
      try {
        this.#broadcast.message(JSON.parse(data));
      } catch {
        // Nothing that this version knows.
      }
    };
  }
}

/** Whether a picture has to come before media counts as arrived: the server sends none to a page that shows none. */
export const awaitsPicture = (sends = [], tiers) =>
  sends.some((track) => track !== 'audio' && tiers[track] !== 'none');

/** The media of one participant from the server. */
class Source {
  receiver;
  #room;
  #hasArrived = false;
  #tiers = WHOLE;
  /** The data channel that knows of the tiers, and what it knows. */
  #told = { channel: null, tiers: WHOLE };
  #timer;

  constructor(room, { userId, entry, sends }, arrived) {
    this.#room = room;
    this.entry = entry;
    this.sends = sends;
    this.receiver = new Receiver({
      get signalling() {
        return room.signalling;
      },
      get iceServers() {
        return room.iceServers;
      },
      changed: () => {
        this.#tell();
        room.changed();
      },
    }, userId, entry);
    this.receiver.start();
    this.#timer = setInterval(() => this.#look(arrived), LOOK_MS);
  }

  get media() {
    return { ...NO_MEDIA, ...this.receiver.tracks };
  }

  /** `connected` only once a frame has been decoded, if there is one. */
  get state() {
    if (!this.#hasArrived) return 'connecting';
    return this.receiver.isConnected ? 'connected' : 'reconnecting';
  }

  want(tiers) {
    this.#tiers = { ...WHOLE, ...tiers };
    this.#tell();
  }

  async second() {
    await this.receiver.measure();
    this.#tell();
  }

  close() {
    clearInterval(this.#timer);
    this.receiver.end();
  }

  async #look(arrived) {
    if (!this.receiver.isConnected || this.#hasArrived) return;
    if (awaitsPicture(this.sends, this.#tiers) && (await this.receiver.decodedFrames()) === 0) return;
    if (this.#hasArrived) return;
    this.#hasArrived = true;
    clearInterval(this.#timer);
    arrived();
    this.#room.changed();
  }

  #tell() {
    const { channel } = this.receiver;
    if (channel?.readyState !== 'open') return;
    const known = channel === this.#told.channel ? this.#told.tiers : WHOLE;
    const { screen, camera } = this.#tiers;
    if (known.screen === screen && known.camera === camera) return;
    channel.send(JSON.stringify({ type: 'receive', screen, camera }));
    this.#told = { channel, tiers: this.#tiers };
  }
}

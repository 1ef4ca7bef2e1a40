// The participants of a meeting or a call: the connections to them, and their pictures.

import { $, Part, announce, clean, list, nameOf, onFrame } from './dom.js';
import { SERVER } from './file_rules.js';
import { say } from './i18n.js';
import { Grid } from './grid.js';
import { Mesh } from './mesh.js';
import { Spotlight } from './spotlight.js';

/** The most participants (`MAX_PARTICIPANTS`). */
const MOST_PARTICIPANTS = 25;
const TRACKS = ['audio', 'screen', 'camera'];
/** How often to look whether this user speaks. */
const SELF_MS = 250;
/** How often to look whether the picture of who is about to be large is there. */
const AWAIT_MS = 100;
/** A picture that is shown with fewer pixels across may be a small one. */
const SMALL_PX = 480;
/** A first connection takes a moment, which is no trouble. */
const SETTLING_MS = 3_000;

export class ConferenceMedia {
  /** `{ userId, nickname, entry, sends, published, isAsking }`, in the order in which they entered. */
  participants = [];
  /** The host of the media, and why it has moved. */
  host = 'publisher';
  moved = null;
  /** The owner of the room. */
  ownerId = null;
  /** Who is large for everybody. */
  spotlight;
  #isAwaiting = false;
  #speaks = false;
  #room;
  #own;
  #on;
  #mesh;
  /** What only a meeting needs whose media is on the server. */
  #server;
  #grid;
  #hands = new Set();
  #since = new Map();
  #states = '';
  #draw = onFrame(() => this.#show());

  /**
   * `room` has `userId`, `signalling` and `iceServers`; `own` is an `OwnMedia`, or the like; `area` is the element for
   * the pictures. `on` has `beside(grid)` for another arrangement of the pictures, `changed(states)` for other states
   * of connections, by user id, `listed()` for another list of participants, `message(userId, data)`,
   * `file(userId, channel)` and `needs(userId)` as a `Mesh`, and `overloaded()`.
   */
  constructor(room, own, area, on) {
    this.#room = room;
    this.#own = own;
    this.#on = on;
    this.spotlight = new Spotlight(() => room.userId);
    this.#grid = new Grid(area, { changed: (grid) => on.beside(grid), placed: () => this.#choose() });
    const here = {
      get userId() {
        return room.userId;
      },
      get signalling() {
        return room.signalling;
      },
      get iceServers() {
        return room.iceServers;
      },
      get content() {
        return own.sources.content;
      },
      tracks: () => own.tracks,
      changed: () => this.#changed(),
    };
    this.#mesh = new Mesh(here, {
      changed: () => this.#changed(),
      message: (userId, data) => on.message(userId, data),
      file: (userId, channel) => on.file(userId, channel),
      needs: (userId) => on.needs(userId),
      overloaded: () => on.overloaded(),
    });
    this.#server = new Part(async () => {
      const { ServerMedia } = await import('./server_media.js');
      return new ServerMedia(here, this.#mesh);
    });
    setInterval(() => this.#lookAtSelf(), SELF_MS);
    document.addEventListener('visibilitychange', () => this.#choose());
  }

  get grid() {
    return this.#grid;
  }

  /** This user as a participant, or none. */
  get me() {
    return this.participants.find(({ userId }) => userId === this.#room.userId) ?? null;
  }

  /** The participant that has asked first to be large for everybody, if the owner has to decide. */
  get asking() {
    return this.others.find(({ isAsking }) => isAsking) ?? null;
  }

  get others() {
    return this.participants.filter(({ userId }) => userId !== this.#room.userId);
  }

  /** The message `participants`, which replaces the one before. */
  told(message) {
    const before = new Map(this.others.map((one) => [one.userId, one]));
    const wasIn = Boolean(this.me);
    this.participants = list(message.participants, MOST_PARTICIPANTS).map(participantOf).filter(({ userId }) => userId);
    this.host = message.media === 'server' ? 'server' : 'publisher';
    this.moved = typeof message.moved === 'string' ? message.moved : null;
    const isIn = Boolean(this.me);
    if (isIn) this.#mesh.participants(message);
    else this.#mesh.end();
    if (isIn && this.host === 'server') this.#server.need();
    if (isIn) this.#server.tell('participants', message);
    else this.#server.loaded?.end();
    if (wasIn && isIn) {
      for (const one of this.others) if (!before.delete(one.userId)) tell('cameIn', one);
      for (const one of before.values()) tell('wentOut', one);
    }
    const known = new Set(this.participants.map(({ userId }) => userId));
    for (const userId of this.#since.keys()) if (!known.has(userId)) this.#since.delete(userId);
    for (const userId of known) if (!this.#since.has(userId)) this.#since.set(userId, performance.now());
    this.spotlight.listed(clean(message.spotlight, 64), [...known]);
    this.#grid.spotlight = this.spotlight.shown;
    this.#await();
    this.#on.listed();
    this.#draw();
  }

  /** An offer, an answer or a candidate of signalling. */
  signalled(message) {
    if (message.entry === undefined) this.#server.loaded?.signalled(message);
    else this.#mesh.signalled(message);
  }

  /** An error of signalling. */
  failed(error) {
    this.#server.loaded?.failed(error);
  }

  /** The server has answered. */
  ponged() {
    this.#server.loaded?.offerNow();
  }

  /** Sends the present track in this role. */
  replace(role) {
    this.#mesh.replace(role);
    this.#server.loaded?.replace(role);
    this.#draw();
  }

  /** The ids of those whose hand is up. */
  hands(hands) {
    this.#hands = new Set(hands);
    this.#draw();
  }

  /** Signalling works again. */
  mend() {
    this.#mesh.mend();
    this.#server.loaded?.mend();
  }

  draw() {
    this.#draw();
  }

  /** To be called once a second. */
  async second() {
    await Promise.all([this.#mesh.second(), this.#server.loaded?.second()]);
    this.#choose();
    this.#draw();
  }

  /** Nobody takes part any more, as far as this page is concerned. */
  end() {
    this.told({ participants: [] });
  }

  /** The paths of this user's media, with `measure` and `wantedBitrate`: the pairs by user id, and the server's. */
  get paths() {
    const server = this.#server.loaded?.isOn && this.#server.loaded.uplink.path;
    return new Map([...this.#mesh.peers, ...(server ? [[SERVER, server]] : [])]);
  }

  /** The data channel to a participant: whether it is open, what sends text, and what opens a channel for a file. */
  pairTo(userId) {
    return {
      isOpen: () => this.#mesh.peers.get(userId)?.channel?.readyState === 'open',
      say: (text) => this.#mesh.say(userId, text),
      open: (id) => this.#mesh.peers.get(userId)?.openFile(id) ?? null,
    };
  }

  /** The states of the connections, by user id, if they are others than before. */
  #changed() {
    const states = Object.fromEntries(this.others.map(({ userId }) => [userId, this.#mesh.source(userId).state]));
    this.#draw();
    const now = JSON.stringify(states);
    if (now === this.#states) return;
    this.#states = now;
    this.#on.changed(states);
  }

  /** Asks the server for what is shown: small pictures where the tile is small, and none in a hidden window. */
  #choose() {
    const server = this.#server.loaded;
    if (!server?.isOn) return;
    for (const { userId } of this.others) {
      const px = this.#grid.widthOf(userId) * devicePixelRatio;
      const isSmall = px < SMALL_PX && userId !== this.spotlight.awaited;
      const tier = document.hidden || px === 0 ? 'none' : isSmall ? 'low' : 'full';
      server.show(userId, { screen: tier, camera: tier });
    }
  }

  /** Waits for the picture of the participant who is to be large for everybody. */
  async #await() {
    if (this.#isAwaiting) return;
    this.#isAwaiting = true;
    while (this.spotlight.awaited !== null) {
      const userId = this.spotlight.awaited;
      this.#choose();
      const isThere = this.#grid.hasPicture(userId) && ((await this.#server.loaded?.hasBest(userId)) ?? true);
      if (isThere && this.spotlight.arrived(userId)) {
        this.#grid.spotlight = userId;
        this.#draw();
      } else await new Promise((done) => setTimeout(done, AWAIT_MS));
    }
    this.#isAwaiting = false;
  }

  #lookAtSelf() {
    const isSpeaking = Boolean(this.me) && this.#own.isSpeaking;
    if (isSpeaking === this.#speaks) return;
    this.#speaks = isSpeaking;
    this.#draw();
  }

  /** Takes the own picture out of its tile, which may end. */
  keepOwn() {
    this.#own.putAway();
  }

  #show() {
    if (!this.me) {
      this.keepOwn();
      return this.#grid.show([]);
    }
    const people = this.others.map((one) => this.#person(one));
    const { sends } = this.#own;
    const signs = this.#signsOf({ ...this.me, sends });
    people.push({
      ...this.me,
      tracks: sends,
      silent: [],
      signs,
      isMe: true,
      media: {},
      own: this.#own.preview,
      isSpeaking: this.#speaks,
    });
    this.#grid.show(people);
  }

  #person(one) {
    const { sends, userId } = one;
    const { media: received, state } = this.#mesh.source(userId);
    const media = Object.fromEntries(TRACKS.map((role) => [role, sends.includes(role) ? received[role] : null]));
    const pair = this.#mesh.peers.get(userId)?.measure.isSpeaking;
    const isSpeaking = Boolean(pair || this.#server.loaded?.isSpeaking(userId));
    return {
      ...one,
      tracks: sends,
      silent: [],
      isMe: false,
      media,
      isSpeaking: isSpeaking && sends.includes('audio'),
      trouble: this.#trouble(userId, state),
      signs: this.#signsOf(one),
    };
  }

  #trouble(userId, state) {
    if (state === 'connected') return '';
    if (state !== 'connecting') return say('tileReconnecting');
    const waited = performance.now() - (this.#since.get(userId) ?? performance.now());
    return waited > SETTLING_MS ? say('tileConnecting') : '';
  }

  #signsOf({ userId, sends }) {
    return [
      ...(sends.includes('camera') ? [] : [['i-camera-off', say('camIsOff')]]),
      ...(sends.includes('screen') ? [['i-screen', say('sharesScreen')]] : []),
      ...(this.#hands.has(userId) ? [['i-hand', say('handIsUp')]] : []),
      ...(userId === this.spotlight.named ? [['i-spotlight', say('largeForAll')]] : []),
      ...(userId === this.ownerId ? [['i-owner', say('isOwner')]] : []),
    ];
  }
}

function participantOf(one) {
  return {
    userId: clean(one?.userId, 64),
    nickname: clean(one?.nickname, 40),
    entry: Number(one?.entry) || 0,
    sends: list(one?.sends, TRACKS.length).filter((name) => TRACKS.includes(name)),
    published: one?.published === true,
    isAsking: one?.asksForSpotlight === true,
  };
}

const tell = (key, one) => announce(say(key, { name: nameOf(one) }));

// A participant of the simulation: its page, and a WebSocket that may die.

import { begin, reduce } from '../../src/http/page/conference.js';
import { Mesh } from '../../src/http/page/mesh.js';
import { ServerMedia } from '../../src/http/page/server_media.js';

/** How long a message takes, in milliseconds. */
const LATENCY_MS = [5, 80];
/** After this silence, a page or the server gives a socket up. */
const NOTICED_MS = [500, 4_000];
/** How long a page takes to load. */
const LOAD_MS = [100, 800];
const SENDS = ['audio', 'camera'];

let connections = 0;
let epochs = 0;

export class Client {
  /** The page: `{ state, mesh, server, breakout }`; `null` while there is none. */
  page = null;
  /** Whether this person has entered the meeting and not left it. */
  isHere = false;
  #world;
  #socket = null;
  #isComing = false;

  constructor(userId, world) {
    this.userId = userId;
    this.#world = world;
  }

  /** Whether the page has a socket that works, and nothing happens by itself. */
  get isSettled() {
    if (!this.isHere) return !this.#isComing;
    return Boolean(this.page && this.#socket?.isJoined && !this.#socket.isDead);
  }

  describe() {
    const { isHere, page } = this;
    return `${this.userId} ${isHere ? 'here' : 'gone'} ${page?.state.phase} ${JSON.stringify(this.#socket)}`;
  }

  // What a person does, and what happens to it.

  join() {
    this.isHere = true;
    this.#isComing = true;
    this.#later(LOAD_MS, () => {
      this.#isComing = false;
      if (this.isHere && !this.page) this.#load();
    });
  }

  leave() {
    this.isHere = false;
    if (!this.page) return;
    this.#act({ type: 'leave' });
    this.#send({ type: 'leave' });
    this.#close(true);
  }

  /** Leaves the meeting, and enters it again at once. */
  stepOut() {
    if (!this.page) return;
    this.#act({ type: 'leave' });
    this.#act({ type: 'enter', sends: SENDS });
  }

  /** A person's click, as a message to the server. */
  says(message) {
    return this.#send(message);
  }

  vanish() {
    this.isHere = false;
    this.#close(false);
  }

  reload() {
    this.#close(false);
    this.join();
  }

  /** The socket dies, and takes with it what is on its way. */
  loseSocket() {
    const socket = this.#socket;
    if (!socket || socket.isDead) return;
    Object.assign(socket, { isDead: true, diedAt: this.#world.time.now });
    this.#later(NOTICED_MS, () => this.#world.server.tell({ do: 'lost', conn: socket.conn }));
    this.#later(NOTICED_MS, () => this.#lost(socket));
  }

  /** A message of the server; `null` closes the socket. */
  arrives(conn, message) {
    const socket = this.#socket;
    this.#inOrder('down', () => {
      if (socket !== this.#socket || socket?.conn !== conn || socket.isDead) return;
      if (message) this.#hear(message);
      else this.#lost(socket);
    });
  }

  #load() {
    epochs += 1;
    const isSure = () => this.#isSure;
    const signalling = {
      get isSure() {
        return isSure();
      },
      check() {},
      send: (message) => this.#send(message),
    };
    const changed = () => this.page?.mesh === mesh && this.#look();
    const room = { userId: this.userId, iceServers: [], signalling, content: 'text', tracks: () => ({}), changed };
    const mesh = new Mesh(room, { changed });
    const server = new ServerMedia(room, mesh);
    this.page = { epoch: epochs, mesh, server, breakout: 0, state: begin(this.userId, 'meeting') };
    this.page.beat = setInterval(() => this.#second(), 1_000);
    this.#open();
  }

  async #second() {
    const { page } = this;
    await Promise.all([page.mesh.second(), page.server.second()]);
    if (page === this.page) this.#act({ type: 'time' });
  }

  /** A page takes a socket for sure until it has heard nothing for a second. */
  get #isSure() {
    const { isJoined, isDead, diedAt } = this.#socket ?? {};
    return Boolean(isJoined && (!isDead || this.#world.time.now < diedAt + 1_000));
  }

  #open() {
    connections += 1;
    const { server } = this.#world;
    const socket = { conn: connections, isJoined: false, isDead: false };
    this.#socket = socket;
    server.clients.set(socket.conn, this);
    const { userId, page } = this;
    this.#inOrder('up', () => {
      if (socket !== this.#socket) return;
      server.tell({ do: 'join', conn: socket.conn, user: userId, epoch: page.epoch });
    });
  }

  #lost(socket) {
    if (socket !== this.#socket || !this.page) return;
    this.#socket = null;
    this.#act({ type: 'lost' });
    this.#later([50, 500], () => this.page && !this.#socket && this.#open());
  }

  #close(isGoodbye) {
    const socket = this.#socket;
    const { page } = this;
    this.#socket = null;
    this.page = null;
    if (page) {
      clearInterval(page.beat);
      page.mesh.end();
      page.server.end();
    }
    if (!socket) return;
    // The server hears of it after the messages before; a page that vanishes may be missed later.
    const end = () => this.#world.server.tell({ do: 'lost', conn: socket.conn });
    if (isGoodbye) this.#inOrder('up', end);
    else this.#later(LATENCY_MS, end);
  }

  #hear(message) {
    const { page } = this;
    if (message.type === 'joined') {
      this.#socket.isJoined = true;
      const isFirst = page.state.phase === 'outside';
      this.#act({ type: 'message', message });
      if (isFirst) return this.#act({ type: 'enter', sends: SENDS });
      page.mesh.mend();
      page.server.mend();
    } else if (['offer', 'answer', 'candidate', 'hangup'].includes(message.type)) {
      if (this.#world.draw() < this.#world.loss) return;
      if (message.entry === undefined) page.server.signalled(message);
      else page.mesh.signalled(message);
    } else {
      if (message.type === 'error') page.server.failed(message);
      this.#act({ type: 'message', message });
    }
  }

  #look() {
    const { state, mesh } = this.page;
    const others = state.participants.filter(({ userId }) => userId !== this.userId);
    const states = others.map(({ userId }) => [userId, mesh.source(userId).state]);
    this.#act({ type: 'media', states: Object.fromEntries(states) });
  }

  /** Who takes part, as `ConferenceMedia` is told; nobody, if this user does not. */
  #told(message) {
    const { page } = this;
    const isIn = message.participants.some(({ userId }) => userId === this.userId);
    page.breakout = message.breakout ?? 0;
    if (isIn) page.mesh.participants(message);
    else page.mesh.end();
    if (isIn) page.server.participants(message);
    else page.server.end();
  }

  #act(event) {
    const { page } = this;
    const { state, commands } = reduce(page.state, { now: this.#world.time.now, ...event });
    page.state = state;
    for (const { do: what, message } of commands) {
      if (what === 'send') this.#send(message);
      else this.#told(what === 'participants' ? message : { participants: [] });
    }
  }

  #send(message) {
    const socket = this.#socket;
    if (!socket?.isJoined) return false;
    this.#inOrder('up', () => {
      if (socket.isDead) return;
      this.#world.server.tell({ do: 'message', conn: socket.conn, text: JSON.stringify(message) });
    });
    return true;
  }

  /** Does this after a random time, but not before what was to be done earlier in this direction. */
  #inOrder(direction, work) {
    const { time } = this.#world;
    const at = Math.max(this.#due[direction], time.now + this.#between(LATENCY_MS));
    this.#due[direction] = at;
    setTimeout(work, at - time.now);
  }
  #due = { up: 0, down: 0 };

  #later(range, work) {
    setTimeout(work, this.#between(range));
  }

  #between([least, most]) {
    return least + this.#world.draw() * (most - least);
  }
}

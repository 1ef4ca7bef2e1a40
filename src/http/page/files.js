// The files that this participant sends and receives: whom they go to, by which way, and which of them are shown. A
// file travels from participant to participant, or over the server if the meeting's media does.

import { clean, list } from './dom.js';
import { FilePace } from './file_pace.js';
import { MOST_BYTES, SERVER, digestOf, newFileId, readMessage, safeName, sizeOf } from './file_rules.js';
import { Download, Upload } from './file_server.js';
import { Receiving, Sending } from './file_transfer.js';

/** The most offers of one participant that wait for an answer, and the most in a minute. */
const MOST_WAITING = 8;
const MOST_OFFERS = 20;
const MINUTE_MS = 60_000;
/** The most files that are shown; those that are over go first. */
const MOST_ITEMS = 60;
/** A connection that was away for this time has lost its files. */
const AWAY_MS = 15_000;
/** The last word about a file has this time to arrive. */
const LAST_WORD_MS = 2_000;

export class Files {
  /** `{ key, isMine, user, to, name, size, at, transfers }`; `to` is the only receiver, or `null`. */
  items = [];
  #here;
  #on;
  #pace = new FilePace();
  #offers = new Map();

  /**
   * `here` has `userId`, `participants` with their entries, `isOverServer`, `user(userId)`, `pairTo(userId)` as
   * `ConferenceMedia`, `send(message)` for signalling, `fetch(number, request)` for a file of the server, `now()` and
   * `sleep(ms)`. `on` has `added(item)`, `changed(item)` and `removed(item)`.
   */
  constructor(here, on) {
    this.#here = here;
    this.#on = on;
  }

  /** Whether something is on its way. */
  get isActive() {
    return this.#all.some(({ isOver, state }) => !isOver && state !== 'shared');
  }

  get #all() {
    return this.items.flatMap(({ transfers }) => transfers);
  }

  get #others() {
    return this.#here.participants.filter(({ userId }) => userId !== this.#here.userId);
  }

  /** Sends a file to one participant or, with `null`, to all. Returns why not: `{ key, values }`; `null` if it does. */
  send(file, to) {
    const way = this.#here.isOverServer ? 'server' : 'pair';
    if (file.size === 0) return { key: 'fileEmpty', values: { name: safeName(file.name) } };
    if (file.size > MOST_BYTES[way]) {
      const values = { name: safeName(file.name), most: sizeOf(MOST_BYTES[way]) };
      return { key: way === 'server' ? 'fileTooLargeServer' : 'fileTooLargePair', values };
    }
    const receivers = this.#others.filter(({ userId }) => !to || userId === to.userId);
    if (receivers.length === 0) return { key: to ? 'fileNotIn' : 'fileNobody', values: {} };
    const item = this.#add({ isMine: true, user: this.#here.user(this.#here.userId), to, file });
    if (way === 'server') {
      const server = { ...this.#server(), share: (share) => this.#here.send({ type: 'shareFile', ...share }) };
      const what = { id: item.key, user: to, name: item.name };
      item.transfers.push(new Upload(what, file, { server, pace: this.#pace }, this.#events(item)));
      this.#askNext();
    } else {
      // Computed once, while the first bytes are on their way.
      const digest = digestOf(file).catch(() => '');
      for (const user of receivers) this.#sendTo(item, user, file, digest);
    }
    this.#on.added(item);
    return null;
  }

  /** Text of a pair's data channel. Returns whether it is about files. */
  message(userId, text) {
    const message = readMessage(text);
    if (!message) return false;
    const { type, id } = message;
    if (type === 'file') this.#offered(userId, message);
    for (const transfer of this.#all) {
      if (transfer.id !== id || transfer.user?.userId !== userId) continue;
      if (type === 'fileAnswer' && transfer instanceof Sending) transfer.answered(message);
      if (type === 'fileCancel' && transfer.cancelled) transfer.cancelled();
    }
    return true;
  }

  /** A pair's other side has opened a data channel for a file. Returns whether the file is wanted. */
  channel(userId, channel) {
    const isIt = (transfer) => transfer instanceof Receiving && transfer.id === channel.protocol
      && transfer.user.userId === userId;
    return this.#all.find(isIt)?.take(channel) ?? false;
  }

  /** A message of signalling. */
  told(message) {
    const uploads = () => this.#all.filter((transfer) => transfer instanceof Upload);
    if (message.type === 'filePlace') uploads().find(({ isAsking }) => isAsking)?.placed(Number(message.file));
    if (message.type === 'error' && message.code === 'fileRefused') {
      uploads().find(({ isAsking }) => isAsking)?.refused({ retryAfterMs: Number(message.retryAfterMs) || 0 });
    }
    if (message.type === 'file') this.#shared(message);
    if (message.type === 'fileGone') for (const one of this.#all) if (one.file === message.file) one.gone();
  }

  /** Whether files need the connection to this participant, also without pictures and sound. */
  needs(userId) {
    const since = this.#here.now() - LAST_WORD_MS;
    const isNeeded = ({ isOver, overAt }) => !isOver || overAt >= since;
    return this.#all.some((transfer) => transfer.link && transfer.user.userId === userId && isNeeded(transfer));
  }

  /** To be called some times a second. */
  look() {
    for (const transfer of this.#all) {
      if (transfer.isOver) continue;
      if (transfer.link) this.#watch(transfer);
      transfer.look();
    }
    this.#askNext();
  }

  /** To be called once a second with the ways of the media, by user id or as `SERVER`: see `FilePace`. */
  second(paths) {
    const running = this.#all.filter(({ state }) => state === 'running');
    const used = running.map((transfer) => (transfer.link ? transfer.user.userId : SERVER));
    if (running.length > 0) this.#pace.update(paths, new Set(used));
  }

  /** The page does not show this file any more. */
  remove(item) {
    for (const transfer of item.transfers) transfer.cancel();
    this.items = this.items.filter((one) => one !== item);
    this.#on.removed(item);
  }

  #sendTo(item, user, file, digest) {
    const link = this.#linkTo(user.userId);
    const what = { id: newFileId(), user, name: item.name, isOnly: Boolean(item.to) };
    const transfer = new Sending(what, file, { link, pace: this.#pace, digest }, this.#events(item));
    item.transfers.push(Object.assign(transfer, { entry: user.entry }));
  }

  #offered(userId, { id, name, size, isOnly }) {
    const sender = this.#others.find((one) => one.userId === userId);
    const known = this.#all.filter((transfer) => transfer instanceof Receiving && transfer.user.userId === userId);
    if (!sender || known.some((transfer) => transfer.id === id)) return;
    const link = this.#linkTo(userId);
    const refuse = (reason) => link.say({ type: 'fileAnswer', id, accepted: false, reason });
    if (size > MOST_BYTES.pair) return refuse('tooLarge');
    const waiting = known.filter(({ state }) => state === 'offered').length;
    if (waiting >= MOST_WAITING || !this.#mayOffer(userId)) return refuse('busy');
    const to = isOnly ? this.#here.user(this.#here.userId) : null;
    const item = this.#add({ isMine: false, user: sender, to, file: { name, size } });
    const transfer = new Receiving({ id, user: sender, name: item.name, size }, link, this.#events(item));
    item.transfers.push(Object.assign(transfer, { entry: sender.entry }));
    this.#on.added(item);
  }

  /** A file lies at the server. */
  #shared({ file, userId, nickname, name, size, to }) {
    const number = Number(file);
    const isKnown = this.#all.some((transfer) => transfer.file === number);
    if (isKnown || userId === this.#here.userId || !(size > 0 && size <= MOST_BYTES.server)) return;
    const user = { userId: clean(userId, 64), nickname: clean(nickname, 40) };
    const only = typeof to === 'string' ? this.#here.user(this.#here.userId) : null;
    const item = this.#add({ isMine: false, user, to: only, file: { name, size } });
    const what = { id: item.key, file: number, user, name: item.name, size };
    item.transfers.push(new Download(what, this.#server(), this.#events(item)));
    this.#on.added(item);
  }

  #add({ isMine, user, to, file }) {
    const [name, at] = [safeName(file.name), Date.now()];
    const item = { key: newFileId(), isMine, user, to, name, size: file.size, at, transfers: [] };
    this.items.push(item);
    while (this.items.length > MOST_ITEMS) {
      const oldest = this.items.find(({ transfers }) => transfers.every(({ isOver }) => isOver)) ?? this.items[0];
      this.remove(oldest);
    }
    return item;
  }

  #events(item) {
    return { now: () => this.#here.now(), changed: () => this.#on.changed(item) };
  }

  #server() {
    return {
      fetch: (number, request) => this.#here.fetch(number, request),
      withdraw: (file) => this.#here.send({ type: 'withdrawFile', file }),
      sleep: (ms) => this.#here.sleep(ms),
    };
  }

  #linkTo(userId) {
    const pair = this.#here.pairTo(userId);
    const say = (message) => pair.say(JSON.stringify(message));
    return { isOpen: pair.isOpen, open: pair.open, say, awaySince: null };
  }

  /** The next file for the server, once the one before is there. */
  #askNext() {
    const uploads = this.#all.filter((transfer) => transfer instanceof Upload);
    const isBusy = uploads.some(({ isAsking, state }) => isAsking || state === 'running');
    if (!isBusy) uploads.find(({ state }) => state === 'offered')?.ask();
  }

  /** Ends a transfer whose other side has left, has been loaded again, or is away for long. */
  #watch(transfer) {
    const { link, entry, user } = transfer;
    const other = this.#others.find(({ userId }) => userId === user.userId);
    const now = this.#here.now();
    link.awaySince = link.isOpen() ? null : (link.awaySince ?? now);
    const isAway = link.awaySince !== null && now - link.awaySince > AWAY_MS;
    if (!other || other.entry !== entry || isAway) transfer.lost();
  }

  #mayOffer(userId) {
    const now = this.#here.now();
    const recent = list(this.#offers.get(userId), MOST_OFFERS).filter((at) => now - at < MINUTE_MS);
    if (recent.length >= MOST_OFFERS) return false;
    this.#offers.set(userId, [...recent, now]);
    return true;
  }
}

// One file on its way between two participants: the side that sends and the side that receives. Both talk over the data
// channel of their pair, and the bytes have a channel of their own, which the sender opens once the file is accepted.
//
//   offered -> running -> checking -> done
//   offered -> declined; and from each of these: cancelled (by whom), lost, failed

import { CHUNK_BYTES, digestOf } from './file_rules.js';

/** How much waits for the network: with less, a far line is slow; with more, a cancelled file goes on. */
const MOST_BUFFERED = 256 * 1024;
const LOW_BUFFERED = 64 * 1024;
/** How much of the file is read at once. */
const BLOCK_BYTES = 256 * 1024;
/** How many received bytes are put together, so that the browser can move them out of memory. */
const BLOB_BYTES = 4 * 1024 * 1024;
/** The time for which the speed is measured, and the time without a byte after which it is 0. */
const SPEED_MS = 3_000;
/** How long the sender's channel and the receiver's check may take. */
const OPEN_WITHIN_MS = 15_000;
const MOST_TEXT = 300;

/** What both sides, and files over the server, have in common. */
export class Transfer {
  state = 'offered';
  /** Why it is over, if that needs an explanation. */
  reason = null;
  /** The number of bytes that are through. */
  done = 0;
  /** When the transfer was over, by `now()`. */
  overAt = Infinity;
  #on;
  #samples = [];

  /** `user` is the other one, `{ userId, nickname }`. `on` has `changed(transfer)` and `now()` in milliseconds. */
  constructor({ id, user, name, size }, on) {
    Object.assign(this, { id, user, name, size });
    this.#on = on;
  }

  get isOver() {
    return ['done', 'declined', 'cancelled', 'lost', 'failed', 'expired'].includes(this.state);
  }

  get now() {
    return this.#on.now();
  }

  /** Bytes per second. */
  get speed() {
    const recent = this.#samples.filter(({ at }) => this.now - at < SPEED_MS);
    if (this.state !== 'running' || recent.length < 2) return 0;
    const [first, last] = [recent[0], recent.at(-1)];
    return last.at > first.at ? (1_000 * (last.done - first.done)) / (last.at - first.at) : 0;
  }

  becomes(state, reason = null) {
    if (this.isOver) return;
    this.state = state;
    this.reason = reason;
    if (this.isOver) this.overAt = this.now;
    this.#on.changed(this);
  }

  /** So many bytes are through. */
  reached(done) {
    this.done = done;
    const { now } = this;
    // A second has few samples, however many messages it has.
    if (now - (this.#samples.at(-1)?.at ?? -Infinity) >= 200) this.#samples.push({ at: now, done });
    if (this.#samples.length > 20) this.#samples.shift();
    this.#on.changed(this);
  }
}

/** A transfer between participants. A subclass has `forget()`, which drops the bytes that it keeps. */
class PairTransfer extends Transfer {
  /** The way to the other one: `say(message)` returns whether the message is on its way. */
  link;
  /** The data channel of the bytes; `null` before and after. */
  channel = null;

  constructor(what, link, on) {
    super(what, on);
    this.link = link;
  }

  /** This person takes the file back, or does not want the rest. */
  cancel() {
    if (this.isOver) return;
    this.link.say({ type: 'fileCancel', id: this.id });
    this.over('cancelled', 'here');
  }

  /** The other one has cancelled the file. */
  cancelled() {
    this.over('cancelled', 'there');
  }

  /** The connection to the other one has ended. */
  lost() {
    this.over('lost');
  }

  over(state, reason = null) {
    this.becomes(state, reason);
    close(this.channel);
    this.channel = null;
    this.forget();
  }
}

export class Sending extends PairTransfer {
  #file;
  #pace;
  #digest;
  #openedAt = 0;
  /** The part of the file that is being sent, and where it begins. */
  #block = new Uint8Array();
  #start = 0;
  #at = 0;
  #isWorking = false;

  /**
   * `link` has `say(message)`, which returns whether the message is on its way, and `open(id)`, which returns a data
   * channel or `null`. `digest` is a promise of the SHA-256, `pace` a `FilePace`.
   */
  constructor(what, file, { link, pace, digest }, on) {
    super({ ...what, size: file.size }, link, on);
    this.#file = file;
    this.#pace = pace;
    this.#digest = digest;
    const { id, name, size } = this;
    const offer = { type: 'file', id, name, size, mime: file.type, ...(what.isOnly && { only: true }) };
    if (!link.say(offer)) this.becomes('lost');
  }

  /** The other one accepts or declines. */
  answered({ accepted, reason }) {
    if (this.state !== 'offered') return;
    if (!accepted) return this.becomes('declined', reason);
    const channel = this.link.open(this.id);
    if (!channel) return this.becomes('lost');
    this.channel = channel;
    this.#openedAt = this.now;
    channel.binaryType = 'arraybuffer';
    channel.bufferedAmountLowThreshold = LOW_BUFFERED;
    channel.onopen = () => this.work();
    channel.onbufferedamountlow = () => this.work();
    channel.onmessage = ({ data }) => this.#heard(data);
    channel.onclose = () => this.over('lost');
    this.becomes('running');
  }

  /** To be called some times a second: sends what the pace allows, and notices a dead channel. */
  look() {
    const channel = this.channel;
    if (!channel || this.isOver) return;
    const isLate = channel.readyState === 'connecting' && this.now - this.#openedAt > OPEN_WITHIN_MS;
    if (isLate || channel.readyState === 'closed') return this.over('lost');
    this.#count();
    return this.work();
  }

  /** Sends as much as the channel and the pace take now. */
  async work() {
    if (this.#isWorking) return;
    this.#isWorking = true;
    try {
      while (this.#mayWork()) {
        if (this.#at >= this.size) return await this.#end();
        if (this.#at >= this.#start + this.#block.length) await this.#read();
        else if (!this.#sendChunk()) return;
      }
    } catch {
      // The file is gone or has changed on the disk, or the channel broke.
      this.link.say({ type: 'fileCancel', id: this.id });
      this.over('failed', this.channel?.readyState === 'open' ? 'unreadable' : null);
    } finally {
      this.#isWorking = false;
    }
  }

  #mayWork() {
    const channel = this.channel;
    return this.state === 'running' && channel.readyState === 'open' && channel.bufferedAmount <= MOST_BUFFERED;
  }

  async #read() {
    const end = Math.min(this.size, this.#at + BLOCK_BYTES);
    const bytes = new Uint8Array(await this.#file.slice(this.#at, end).arrayBuffer());
    if (bytes.length !== end - this.#at) throw new Error('the file is shorter now');
    this.#start = this.#at;
    this.#block = bytes;
  }

  #sendChunk() {
    const from = this.#at - this.#start;
    const chunk = this.#block.subarray(from, from + CHUNK_BYTES);
    if (!this.#pace.take(chunk.length, this.now)) return false;
    this.channel.send(chunk);
    this.#at += chunk.length;
    this.#count();
    return true;
  }

  #count() {
    const done = Math.max(this.done, this.#at - this.channel.bufferedAmount);
    if (done !== this.done) this.reached(done);
  }

  async #end() {
    this.becomes('checking');
    const sha256 = await this.#digest;
    if (this.state === 'checking') this.channel.send(JSON.stringify({ type: 'end', sha256 }));
  }

  /** The receiver has everything, or something else than was sent. */
  #heard(data) {
    if (this.state !== 'checking' || typeof data !== 'string' || data.length > MOST_TEXT) return;
    const type = typeOf(data);
    if (type === 'received') {
      this.done = this.size;
      this.over('done');
    } else if (type === 'broken') this.over('failed', 'broken');
  }

  forget() {
    this.#block = new Uint8Array();
  }
}

export class Receiving extends PairTransfer {
  /** The whole file, once it is there. It has no type, so that no browser shows it or runs it. */
  blob = null;
  #acceptedAt = 0;
  #kept = new Blob();
  #parts = [];
  #partBytes = 0;
  #hasEnded = false;

  accept() {
    if (this.state !== 'offered') return;
    if (!this.link.say({ type: 'fileAnswer', id: this.id, accepted: true })) return this.over('lost');
    this.#acceptedAt = this.now;
    this.becomes('running');
  }

  decline(reason = 'declined') {
    if (this.state !== 'offered') return;
    this.link.say({ type: 'fileAnswer', id: this.id, accepted: false, reason });
    this.over('declined', reason);
  }

  /** The sender has opened a channel for this file. Returns whether it is wanted. */
  take(channel) {
    if (this.state !== 'running' || this.channel) return false;
    this.channel = channel;
    channel.binaryType = 'arraybuffer';
    channel.onmessage = ({ data }) => this.#heard(data);
    channel.onclose = () => this.over('lost');
    return true;
  }

  /** To be called some times a second. */
  look() {
    if (this.state !== 'running') return;
    const isLate = !this.channel && this.now - this.#acceptedAt > OPEN_WITHIN_MS;
    if (isLate || this.channel?.readyState === 'closed') this.over('lost');
  }

  #heard(data) {
    if (this.state !== 'running') return;
    if (typeof data === 'string') return this.#text(data);
    const length = data?.byteLength ?? 0;
    const fits = length > 0 && length <= CHUNK_BYTES && this.done + length <= this.size;
    if (!fits || this.#hasEnded) return this.#broken();
    this.#parts.push(data);
    this.#partBytes += length;
    if (this.#partBytes >= BLOB_BYTES) this.#keep();
    this.reached(this.done + length);
  }

  #text(data) {
    if (data.length > MOST_TEXT || typeOf(data) !== 'end' || this.done !== this.size) return this.#broken();
    this.#hasEnded = true;
    this.#check(JSON.parse(data).sha256);
  }

  async #check(sha256) {
    this.#keep();
    this.becomes('checking');
    const kept = this.#kept;
    const own = typeof sha256 === 'string' && sha256 ? await digestOf(kept).catch(() => '') : '';
    if (this.state !== 'checking') return;
    if (own && own !== sha256) return this.#broken();
    this.blob = kept;
    say(this.channel, { type: 'received' });
    // The sender closes the channel once it has heard that.
    this.channel.onclose = null;
    this.becomes('done');
    this.forget();
  }

  /** The sender does not keep the rules. */
  #broken() {
    say(this.channel, { type: 'broken' });
    this.link.say({ type: 'fileCancel', id: this.id });
    this.over('failed', 'broken');
  }

  #keep() {
    this.#kept = new Blob([this.#kept, ...this.#parts]);
    this.#parts = [];
    this.#partBytes = 0;
  }

  forget() {
    this.#kept = new Blob();
    this.#parts = [];
    this.#partBytes = 0;
  }
}

function typeOf(text) {
  try {
    return JSON.parse(text)?.type;
  } catch {
    return null;
  }
}

function say(channel, message) {
  try {
    channel?.send(JSON.stringify(message));
  } catch {
    // The channel has ended, which the other side notices, too.
  }
}

function close(channel) {
  if (!channel) return;
  for (const event of ['onopen', 'onclose', 'onmessage', 'onbufferedamountlow']) channel[event] = null;
  channel.close();
}

// One file on its way over the server of a meeting, by HTTP: up from its sender, or down to a participant. It travels
// in parts, so that a connection that breaks costs one part, and a line that is slow has time enough.
//
//   up:    offered (waits for a place) -> running -> shared (is at the server) -> expired
//   down:  offered -> running -> done; and from each of these: cancelled, lost, failed, expired

import { PART_BYTES } from './file_rules.js';
import { Transfer } from './file_transfer.js';

/** How long to try again without a byte, and the pause before. */
const PATIENCE_MS = 45_000;
const PAUSE_MS = 1_000;
/** How often to ask the pace. */
const PACE_MS = 100;
/** How long the server may take to give a place. */
const PLACE_WITHIN_MS = 10_000;

/** A request about a file, with what proves that this page is the member: `room` is the student's room. */
export function fetchFile({ roomId, userId, signalling }, number, { headers, ...request }) {
  const address = `/api/files/${roomId}/${number}?userId=${encodeURIComponent(userId)}`;
  const authorization = `Bearer ${signalling.session}`;
  return fetch(address, { ...request, headers: { ...headers, authorization }, cache: 'no-store' });
}

/** What both directions have in common: requests that are repeated. */
class OverServer extends Transfer {
  /** The number of the file at the server; `null` before it has one. */
  file = null;
  server;
  #stop = new AbortController();
  #progressAt = 0;

  /**
   * `server` has `fetch(file, request)` for a request about a file, `share(file)` and `withdraw(number)`, messages of
   * signalling, and `sleep(ms)`.
   */
  constructor(what, server, on) {
    super(what, on);
    this.server = server;
  }

  /**
   * Works until everything is through, and is `last` then. `part(done)` makes a request; `taken(response)` returns what
   * is through by its answer.
   */
  async run(last, part, taken) {
    this.becomes('running');
    this.#progressAt = this.now;
    while (!this.isOver && this.done < this.size) {
      const response = await this.#ask(part);
      if (this.isOver) return;
      const done = response ? await taken(response).catch(() => null) : null;
      if (this.isOver) return;
      if (done > this.done) {
        this.#progressAt = this.now;
        this.reached(Math.min(done, this.size));
      } else if (response?.status === 404) return this.ends('expired');
      else if (response?.status === 403) return this.ends('failed');
      else if (this.now - this.#progressAt > PATIENCE_MS) return this.ends('lost');
      else await this.server.sleep(PAUSE_MS);
    }
    if (this.done === this.size) this.ends(last);
  }

  /** It is over, and no request goes on. */
  ends(state, reason = null) {
    this.becomes(state, reason);
    this.#stop.abort();
  }

  /** The server does not have the file any more. */
  gone() {
    // What has been received stays.
    this.ends('expired');
  }

  look() {
    // The requests have their own pace.
  }

  lost() {
    // Signalling may come back meanwhile, and the parts don't need it.
  }

  async #ask(part) {
    try {
      const request = await part(this.done);
      return await this.server.fetch(this.file, { ...request, signal: this.#stop.signal });
    } catch {
      // The connection broke, or the person has cancelled.
      return null;
    }
  }
}

export class Upload extends OverServer {
  #file;
  #pace;
  #askedAt = null;

  /** `what.user` is the receiver, or `null` for everybody. */
  constructor(what, file, { server, pace }, on) {
    super({ ...what, size: file.size }, server, on);
    this.#file = file;
    this.#pace = pace;
  }

  /** Whether the server was asked for a place, and has not answered. */
  get isAsking() {
    return this.state === 'offered' && this.#askedAt !== null;
  }

  /** Asks for a place. A sender has one unfinished file at the server. */
  ask() {
    this.#askedAt = this.now;
    const { name, size, user, server } = this;
    const share = { name, size, mime: this.#file.type, ...(user && { to: user.userId }) };
    if (!server.share(share)) this.becomes('lost');
  }

  /** The server has a place for the file. */
  async placed(number) {
    if (this.state !== 'offered') return;
    this.file = number;
    await this.run('shared', async (done) => {
      const body = this.#file.slice(done, done + PART_BYTES);
      while (!this.isOver && !this.#pace.take(body.size, this.now)) {
        await this.server.sleep(PACE_MS);
      }
      const headers = { 'upload-offset': String(done), 'content-type': 'application/partial-upload' };
      return { method: 'PATCH', headers, body };
    }, async (response) => {
      // With 409, another answer was lost, and this header says where to go on.
      const offset = response.headers.get('upload-offset');
      return offset === null ? null : Number(offset);
    });
  }

  /** The server takes no file now, or not this one. */
  refused({ retryAfterMs }) {
    if (this.state === 'offered') this.ends('failed', retryAfterMs > 0 ? 'full' : 'refused');
  }

  look() {
    if (this.isAsking && this.now - this.#askedAt > PLACE_WITHIN_MS) this.ends('lost');
  }

  /** This person takes the file back, also from the server. */
  cancel() {
    if (this.isOver) return;
    if (this.file !== null) this.server.withdraw(this.file);
    this.ends('cancelled', 'here');
  }
}

export class Download extends OverServer {
  /** The whole file; without a type, so that no browser shows it or runs it. */
  blob = null;
  #parts = [];

  constructor(what, server, on) {
    super(what, server, on);
    this.file = what.file;
  }

  async accept() {
    if (this.state !== 'offered') return;
    await this.run('done', async (done) => {
      const last = Math.min(this.size, done + PART_BYTES) - 1;
      return { method: 'GET', headers: { range: `bytes=${done}-${last}` } };
    }, async (response) => {
      if (response.status !== 206) return null;
      const part = await response.blob();
      // Whatever the server sends, the file does not become longer than it was offered.
      if (part.size === 0 || this.done + part.size > this.size) return null;
      this.#parts.push(part);
      if (this.done + part.size === this.size) this.blob = new Blob(this.#parts);
      return this.done + part.size;
    });
    this.#parts = [];
  }

  /** The server keeps the file for the others. */
  decline() {
    if (this.state === 'offered') this.ends('declined', 'declined');
  }

  cancel() {
    this.ends('cancelled', 'here');
  }
}

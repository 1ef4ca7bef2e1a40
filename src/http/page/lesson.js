// The state of the lesson: wait for a teacher, connect, retry. This file knows no socket; `classroom watch` does the
// same for a terminal.

/** An attempt is given up if the answer or the connection does not come within this time. */
const CONNECT_WITHIN_MS = 8_000;
const FIRST_PAUSE_MS = 200;
const LONGEST_PAUSE_MS = 2_000;

export class LessonState {
  /** The publisher: `{ userId, epoch, ... }`. */
  publisher = null;
  /** How the last teacher left: `ended` (the lecture is over), `left` (may come back) or `lost`. */
  wentBy = null;
  /** When connecting began without success; 0 when connected, and without a publisher. */
  since = 0;
  #timer = 0;
  #pause = 0;
  #connect;
  #connected = false;

  /** `connect` offers a connection to the publisher. */
  constructor(connect) {
    this.#connect = connect;
  }

  /**
   * Somebody teaches. Returns whether that is news: a publisher that only reconnected to signalling still sends its
   * media.
   */
  publisherIs(user) {
    const before = this.publisher;
    this.publisher = user;
    this.wentBy = null;
    const isNews = !before || before.userId !== user.userId || before.epoch !== user.epoch;
    if (isNews && !(this.#connected && this.#last === `${user.userId} ${user.epoch}`)) this.now();
    return isNews;
  }

  /**
   * The publisher left, perhaps before we joined; `reason` is the server's `LeaveReason`. Returns whether it said
   * goodbye: the media of a lost publisher may still flow.
   */
  publisherLeft(reason) {
    this.publisher = null;
    this.wentBy = reason === 'ended' || reason === 'left' ? reason : 'lost';
    if (!this.#connected) this.#stop();
    return this.wentBy !== 'lost';
  }

  /** The connection is established. */
  connected() {
    this.#stop();
    this.#connected = true;
    this.#last = this.publisher ? `${this.publisher.userId} ${this.publisher.epoch}` : null;
    this.#pause = 0;
  }
  #last = null;

  /** The offer was refused for now, or the connection is lost. */
  failed(afterMs = 0) {
    this.#connected = false;
    clearTimeout(this.#timer);
    if (!this.publisher) return this.#stop();
    this.since ||= Date.now();
    this.#timer = setTimeout(() => this.#go(), Math.max(this.#pause, afterMs));
    this.#pause = Math.min(Math.max(this.#pause * 2, FIRST_PAUSE_MS), LONGEST_PAUSE_MS);
  }

  /** Connects at once. */
  now() {
    this.#connected = false;
    this.#pause = 0;
    this.since = Date.now();
    this.#go();
  }

  /** Does nothing until somebody teaches. */
  rest() {
    this.#connected = false;
    this.#stop();
  }

  #go() {
    clearTimeout(this.#timer);
    if (!this.publisher) return;
    this.#timer = setTimeout(() => this.failed(), CONNECT_WITHIN_MS);
    this.#connect();
  }

  #stop() {
    clearTimeout(this.#timer);
    this.since = 0;
  }
}

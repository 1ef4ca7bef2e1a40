// What a student does next: wait for a teacher, connect, try again. It knows no socket; `src/commands/watch/course.rs`
// is the same for a terminal.

/** An offer that is not answered, or a connection that does not come about, is given up after this time. */
const CONNECT_WITHIN_MS = 8_000;
const FIRST_PAUSE_MS = 200;
const LONGEST_PAUSE_MS = 2_000;

export class LessonState {
  /** Who teaches: `{ userId, epoch, ... }`. */
  publisher = null;
  /** How the last teacher went: `ended` (the lecture is over), `left` (and may come back), `lost`. */
  wentBy = null;
  /** When connecting began without success; 0 when connected or nobody is there. */
  since = 0;
  #timer = 0;
  #pause = 0;
  #connect;
  #connected = false;

  /** `connect` is called whenever a connection is to be offered to the publisher. */
  constructor(connect) {
    this.#connect = connect;
  }

  /** Somebody teaches. A publisher that only came back to signalling is no news, since its media never went. */
  publisherIs(user) {
    const before = this.publisher;
    this.publisher = user;
    this.wentBy = null;
    const isNews = !before || before.userId !== user.userId || before.epoch !== user.epoch;
    if (isNews && !(this.#connected && this.#last === `${user.userId} ${user.epoch}`)) this.now();
    return isNews;
  }

  /**
   * The publisher is not in the room any more, or went before we came; `reason` is the server's `LeaveReason`. Gives
   * whether it was a goodbye: media of a publisher that is lost may still flow.
   */
  publisherLeft(reason) {
    this.publisher = null;
    this.wentBy = reason === 'ended' || reason === 'left' ? reason : 'lost';
    if (!this.#connected) this.#stop();
    return this.wentBy !== 'lost';
  }

  /** The connection stands. */
  connected() {
    this.#stop();
    this.#connected = true;
    this.#last = this.publisher ? `${this.publisher.userId} ${this.publisher.epoch}` : null;
    this.#pause = 0;
  }
  #last = null;

  /** The offer was refused for now, or the connection is gone. */
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

  /** Nothing is to be done until somebody teaches. */
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

// Who of a meeting is large for everybody, as this page shows it: a participant becomes large once its picture is
// there; until then nothing changes. This file touches no element.

export class Spotlight {
  #userId;
  #named = null;
  #shown = null;

  /** `userId()` is this user, whom nobody but the others sees large. */
  constructor(userId) {
    this.#userId = userId;
  }

  /** The participant of the server's list; `null` for nobody. */
  get named() {
    return this.#named;
  }

  /** Whether this user is large for everybody. */
  get isMine() {
    return this.#named !== null && this.#named === this.#userId();
  }

  /** The participant that is large on this page; `null` for nobody. */
  get shown() {
    return this.#shown;
  }

  /** The participant whose picture this page waits for; `null` for nobody. */
  get awaited() {
    const isThere = this.#named === null || this.isMine || this.#named === this.#shown;
    return isThere ? null : this.#named;
  }

  /** The server's list: it names this participant, or `null`, and these participants are there. */
  listed(named, userIds) {
    this.#named = userIds.includes(named) ? named : null;
    if (this.#named === null || this.isMine || !userIds.includes(this.#shown)) this.#shown = null;
  }

  /** The picture of this participant is there. Returns whether it is large from now on. */
  arrived(userId) {
    if (userId === null || userId !== this.awaited) return false;
    this.#shown = userId;
    return true;
  }
}

// How fast files may be sent, so that picture and sound do not suffer: all files of this page together get what the
// line carries besides the media. The rate grows while the media is well, and is halved when it is not.

/** The first rate, the least and the most, in bytes per second. */
const FIRST = 500_000;
const LEAST = 32_000;
const MOST = 12_500_000;
const GROWTH = 1.4;
/** A queue on the way makes the round trip longer than twice the shortest one and this, in milliseconds. */
const QUEUE_MS = 100;
/** More packets are lost on a line that is too full. */
const MOST_LOST = 0.03;
/** What may be sent at once after a pause, in seconds; a hidden page wakes up once a second. */
const BURST_S = 1;

export class FilePace {
  rate = FIRST;
  #left = 0;
  #at = null;
  /** The shortest round trip of each pair, by user id. */
  #shortest = new Map();

  /** Whether `bytes` may be sent now; they count then. */
  take(bytes, now) {
    const passed = this.#at === null ? 0 : Math.max(0, now - this.#at) / 1_000;
    this.#at = now;
    this.#left = Math.min(this.rate * BURST_S, this.#left + this.rate * passed);
    if (this.#left < bytes) return false;
    this.#left -= bytes;
    return true;
  }

  /**
   * To be called once a second with the pairs by user id, each with its `measure` and `wantedBitrate`; `isTroubled`
   * says whether the media to the server suffers.
   */
  update(pairs, isTroubled = false) {
    const isBad = [...pairs].filter(([userId, pair]) => this.#isBad(userId, pair)).length > 0 || isTroubled;
    this.rate = isBad ? Math.max(LEAST, this.rate / 2) : Math.min(MOST, this.rate * GROWTH);
  }

  #isBad(userId, { measure, wantedBitrate }) {
    // A busy computer is no reason: a file costs next to nothing beside the encoders.
    const { roundTripMs, lost, limitedBy, available } = measure;
    const shortest = Math.min(this.#shortest.get(userId) ?? Infinity, roundTripMs || Infinity);
    this.#shortest.set(userId, shortest);
    return roundTripMs > 2 * shortest + QUEUE_MS || lost > MOST_LOST
      || (limitedBy === 'bandwidth' && available > 0 && available < wantedBitrate);
  }
}

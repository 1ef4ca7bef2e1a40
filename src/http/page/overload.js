// Whether this computer or its line carries a connection to each participant.

/** The seconds that are looked at, and how many of them must be bad. */
const WINDOW_S = 15;
const BAD_S = 10;
/** Of the packets of one pair, more are lost on a line that is too slow. */
const MOST_LOST = 0.1;
/** With fewer pairs, the server would not spare this computer anything. */
const LEAST_PAIRS = 2;

export class Overload {
  #seconds = [];

  /** To be called once a second with the pairs that are connected. Returns whether the load is too high. */
  update(pairs) {
    this.#seconds.push(pairs.length >= LEAST_PAIRS && isBad(pairs));
    if (this.#seconds.length > WINDOW_S) this.#seconds.shift();
    return this.#seconds.filter(Boolean).length >= BAD_S;
  }

  /** Forgets what was seen. */
  clear() {
    this.#seconds = [];
  }
}

/** A slow line of one other participant concerns one pair; a slow line of this computer concerns more than half. */
function isBad(pairs) {
  const isSlow = ({ measure, wantedBitrate }) => measure.lost > MOST_LOST
    // With its own limit of the bitrate, a browser also calls itself limited.
    || (measure.limitedBy === 'bandwidth' && measure.available > 0 && measure.available < wantedBitrate);
  return pairs.some(({ measure }) => measure.limitedBy === 'cpu') || 2 * pairs.filter(isSlow).length > pairs.length;
}

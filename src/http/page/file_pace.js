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
/** An estimate that changes by less in a second, as a share, stands still. */
const STILL = 0.05;
/** What may be sent at once after a pause, in seconds; a hidden page wakes up once a second. */
const BURST_S = 1;

export class FilePace {
  rate = FIRST;
  #left = 0;
  #at = null;
  /** Of each path, by its name, the shortest round trip and the last estimate. */
  #known = new Map();

  /** Whether `bytes` may be sent now; they count then. More than is left is sent in advance. */
  take(bytes, now) {
    const passed = this.#at === null ? 0 : Math.max(0, now - this.#at) / 1_000;
    this.#at = now;
    this.#left = Math.min(this.rate * BURST_S, this.#left + this.rate * passed);
    if (this.#left <= 0) return false;
    this.#left -= bytes;
    return true;
  }

  /**
   * To be called once a second. `paths` has the ways of the media by a name, each with its `measure` and
   * `wantedBitrate`; `used` are the names of those that carry files. The line of somebody else concerns one path, and
   * slows down the files on that path alone; the own line concerns more than half.
   */
  update(paths, used) {
    const states = new Map([...paths].map(([name, path]) => [name, this.#stateOf(name, path)]));
    for (const name of this.#known.keys()) if (!paths.has(name)) this.#known.delete(name);
    const are = (state) => {
      const names = [...states.keys()].filter((name) => states.get(name) === state);
      return names.some((name) => used.has(name)) || 2 * names.length > states.size;
    };
    if (are('suffers')) this.rate = Math.max(LEAST, this.rate / 2);
    else if (!are('recovers')) this.rate = Math.min(MOST, this.rate * GROWTH);
  }

  /** Whether the media of a path `suffers`, `recovers`, or is `well`. */
  #stateOf(name, { measure, wantedBitrate }) {
    // A busy computer is no reason: a file costs next to nothing beside the encoders.
    const { roundTripMs, lost, limitedBy, available } = measure;
    const before = this.#known.get(name);
    const shortest = Math.min(before?.shortest ?? Infinity, roundTripMs || Infinity);
    this.#known.set(name, { shortest, available });
    if (roundTripMs > 2 * shortest + QUEUE_MS || lost > MOST_LOST) return 'suffers';
    const isShort = limitedBy === 'bandwidth' && available > 0 && available < wantedBitrate;
    if (!isShort || !before?.available) return 'well';
    // A full line makes the browser lower its estimate. An estimate that is low and stands still is no sign of a full
    // line: a new connection begins with a low one, which does not rise while a busy computer sends less than that.
    const change = available / before.available - 1;
    return change < -STILL ? 'suffers' : change > STILL ? 'recovers' : 'well';
  }
}

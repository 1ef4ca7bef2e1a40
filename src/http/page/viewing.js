// Reports how much of the lecture this student has seen, for the attendance list of the teacher.

/** A second counts as seen if a picture was decoded in this time: slides come once a second. */
const RECENT_MS = 3_000;

/** Counts what was seen. `second()` is to be called once a second; times are in milliseconds. */
export class ViewingCounter {
  #seen = 0;
  #away = 0;
  #freezes = 0;
  #decoded = 0;
  #frozen = 0;
  #last = null;
  #pictureAt = -Infinity;

  /** `now` is the time, `isAway` whether the tab is hidden, `videos` the `inbound-rtp` statistics of the pictures. */
  second(now, isAway, videos) {
    const sum = (key) => videos.reduce((total, x) => total + (x[key] ?? 0), 0);
    const [decoded, freezes] = [sum('framesDecoded'), sum('freezeCount')];
    // A new connection counts from 0.
    if (decoded < this.#decoded) this.#frozen = 0;
    if (decoded !== this.#decoded && decoded > 0) this.#pictureAt = now;
    // A timer of a hidden tab may come once a minute.
    const passed = this.#last === null ? 0 : now - this.#last;
    if (now - this.#pictureAt < RECENT_MS) this.#seen += passed;
    if (isAway) this.#away += passed;
    this.#freezes += Math.max(0, freezes - this.#frozen);
    [this.#decoded, this.#frozen, this.#last] = [decoded, freezes, now];
  }

  /** The message for the data channel. */
  message() {
    const [seenMs, awayMs] = [this.#seen, this.#away].map(Math.round);
    return { type: 'viewing', seenMs, awayMs, freezes: this.#freezes };
  }
}

let counter = null;

/** The teacher asks. The first question starts the counting. `room` has `media` and `stats`. */
export function report(room) {
  if (!counter) {
    counter = new ViewingCounter();
    const second = async () => {
      const statistics = (await room.stats.before?.peer.pc.getStats().catch(() => null)) ?? new Map();
      const isVideo = (x) => x.type === 'inbound-rtp' && x.kind === 'video';
      counter.second(performance.now(), document.hidden, [...statistics.values()].filter(isVideo));
    };
    second();
    setInterval(second, 1_000);
    document.addEventListener('visibilitychange', second);
  }
  const { channel } = room.media;
  if (channel?.readyState === 'open') channel.send(JSON.stringify(counter.message()));
}

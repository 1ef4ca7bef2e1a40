// Virtual time for the modules of the page in Node.js: timers and `performance.now()` follow a clock that jumps to the
// next timer, once all promises that are kept have done their work.

const turn = globalThis.setImmediate;

export class VirtualTime {
  now = 0;
  #timers = new Map();
  #ids = 0;

  /** Replaces the timers and the clock of this process. */
  install() {
    globalThis.setTimeout = (work, ms = 0) => this.#add(work, ms, 0);
    globalThis.setInterval = (work, ms) => this.#add(work, ms, ms);
    globalThis.clearTimeout = globalThis.clearInterval = (id) => this.#timers.delete(id);
    Object.defineProperty(globalThis, 'performance', { value: { now: () => this.now }, configurable: true });
    return this;
  }

  /** A promise that is kept after this time. */
  sleep(ms) {
    return new Promise((done) => this.#add(done, ms, 0));
  }

  /** Lets this time pass. */
  async pass(ms) {
    const end = this.now + ms;
    await this.#settle();
    for (let next = this.#next(); next && next.at <= end; next = this.#next()) {
      this.now = next.at;
      this.#timers.delete(next.id);
      if (next.every) this.#timers.set(next.id, { ...next, at: this.now + next.every, order: (this.#ids += 1) });
      next.work();
      await this.#settle();
    }
    this.now = end;
  }

  #add(work, ms, every) {
    const id = (this.#ids += 1);
    this.#timers.set(id, { id, work, every, at: this.now + Math.max(0, ms), order: id });
    return id;
  }

  #next() {
    let first = null;
    for (const timer of this.#timers.values()) {
      if (!first || timer.at < first.at || (timer.at === first.at && timer.order < first.order)) first = timer;
    }
    return first;
  }

  #settle() {
    return new Promise((done) => turn(done));
  }
}

/** Random numbers that a seed determines (mulberry32). */
export function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

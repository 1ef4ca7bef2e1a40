// Virtual time for the modules of the page in Node.js: timers and `performance.now()` follow a clock that jumps to the
// next timer, once all promises that are kept have done their work.

const turn = globalThis.setImmediate;

export class VirtualTime {
  now = 0;
  /** The timers by id, and a binary heap of them, which also has those that were cleared or have fired. */
  #timers = new Map();
  #heap = [];
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
      if (next.every) this.#put({ ...next, at: this.now + next.every, order: (this.#ids += 1) });
      next.work();
      await this.#settle();
    }
    this.now = end;
  }

  #add(work, ms, every) {
    const id = (this.#ids += 1);
    this.#put({ id, work, every, at: this.now + Math.max(0, ms), order: id });
    return id;
  }

  #put(timer) {
    this.#timers.set(timer.id, timer);
    const heap = this.#heap;
    let at = heap.push(timer) - 1;
    for (let up = (at - 1) >> 1; at > 0 && isBefore(timer, heap[up]); up = (at - 1) >> 1) {
      heap[at] = heap[up];
      at = up;
    }
    heap[at] = timer;
  }

  #next() {
    while (this.#heap.length > 0 && this.#timers.get(this.#heap[0].id) !== this.#heap[0]) this.#takeFirst();
    return this.#heap[0];
  }

  #takeFirst() {
    const heap = this.#heap;
    const last = heap.pop();
    if (heap.length === 0) return;
    let at = 0;
    for (let down = 1; down < heap.length; down = 2 * at + 1) {
      if (down + 1 < heap.length && isBefore(heap[down + 1], heap[down])) down += 1;
      if (!isBefore(heap[down], last)) break;
      heap[at] = heap[down];
      at = down;
    }
    heap[at] = last;
  }

  #settle() {
    return new Promise((done) => turn(done));
  }
}

const isBefore = (one, two) => one.at < two.at || (one.at === two.at && one.order < two.order);

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

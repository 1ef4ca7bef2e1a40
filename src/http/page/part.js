// A part of the page that is loaded when it is first needed, so that nobody else waits for it.

export class Part {
  #load;
  #loaded = null;
  #isLoading = false;
  #kept = new Map();

  /** `load()` imports the part and makes it. */
  constructor(load) {
    this.#load = load;
  }

  /** The part; `null` before it is loaded. */
  get loaded() {
    return this.#loaded;
  }

  /** Loads the part, once. After a failure, the next call tries again. */
  async need() {
    if (this.#isLoading) return;
    this.#isLoading = true;
    try {
      this.#loaded = await this.#load();
    } catch (error) {
      this.#isLoading = false;
      console.warn(`a part of the page was not loaded: ${error}`);
      return;
    }
    for (const [method, news] of this.#kept.values()) this.#loaded[method](news);
    this.#kept.clear();
  }

  /** Tells the part, now or once it is loaded. Of the news that it waits for, the newest with a `key` counts. */
  tell(method, news, key = method) {
    if (this.#loaded) this.#loaded[method](news);
    else this.#kept.set(key, [method, news]);
  }
}

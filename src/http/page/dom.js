// Small helpers for the document and for local storage.

/** The element with this id. */
export const $ = (id) => document.getElementById(id);

/** Makes an element. Text children stay text. */
export function el(tag, className = '', ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

/** Makes an icon of the sprite. */
export function icon(name) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  const use = document.createElementNS('http://www.w3.org/2000/svg', 'use');
  use.setAttribute('href', `#${name}`);
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  svg.append(use);
  return svg;
}

/** Changes the icon of a button. */
export const setIcon = (element, name) => element.querySelector('use').setAttribute('href', `#${name}`);

/** Shows whether a button is pressed. */
export const press = (button, isOn) => button.setAttribute('aria-pressed', isOn);

/** A name, isolated from the direction of the surrounding text. */
export const bdi = (text, className = '') => el('bdi', className, text);

/** The name to show for a user. */
export const nameOf = (user) => user.nickname || user.userId;

/** A text from outside: always a string, with bounded length. */
export function clean(value, most) {
  return typeof value === 'string' ? Array.from(value.slice(0, most * 2)).slice(0, most).join('') : '';
}

/** A list from outside: always an array, with bounded length. */
export const list = (value, most) => (Array.isArray(value) ? value.slice(0, most) : []);

/** Returns a function that runs `work` once in the next frame, however often it is called until then. */
export function onFrame(work) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    // A hidden page has no frames.
    const soon = document.hidden ? (run) => setTimeout(run, 500) : requestAnimationFrame;
    soon(() => {
      asked = false;
      work();
    });
  };
}

/** Adds a style sheet of the page; it is in effect when the promise is kept. */
export function addStyle(name) {
  const link = el('link');
  link.rel = 'stylesheet';
  link.href = new URL(name, import.meta.url).href;
  return new Promise((done) => {
    link.onload = done;
    link.onerror = done;
    document.head.append(link);
  });
}

/** Loads an HTML file of the page. Returns its elements, which belong to this document already. */
export async function elementsOf(name) {
  const response = await fetch(new URL(name, import.meta.url));
  const { body } = new DOMParser().parseFromString(await response.text(), 'text/html');
  return document.adoptNode(body);
}

/** Storage in the browser; without effect where the browser refuses it. */
const storage = (kind) => ({
  get(key, otherwise = null) {
    try {
      const text = window[kind].getItem(`classroom.${key}`);
      return text === null ? otherwise : JSON.parse(text);
    } catch {
      return otherwise;
    }
  },
  set(key, value) {
    try {
      window[kind].setItem(`classroom.${key}`, JSON.stringify(value));
    } catch {
      // In a private window or on a full disk, the choice lasts until the page closes.
    }
  },
});

/** Storage that lasts, and storage of this tab. */
export const store = storage('localStorage');
export const tab = storage('sessionStorage');

/** Copies the text of an element. The clipboard API needs a secure page, which a lab does not have. */
export async function copy(element) {
  const text = element.textContent;
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const selection = getSelection();
    selection.selectAllChildren(element);
    const done = document.execCommand('copy');
    if (done) selection.removeAllRanges();
    return done;
  }
}

/** Announces a text to screen readers. */
export function announce(text) {
  const live = $('announce');
  if (live) live.textContent = text;
}

/** A part of the page that is loaded when it is first needed, so that nobody else waits for it. */
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

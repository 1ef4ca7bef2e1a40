// Small tools for the document and for what the browser remembers.

/** The element with this id. */
export const $ = (id) => document.getElementById(id);

/** A new element; children that are text stay text. */
export function el(tag, className = '', ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

/** A picture of the sprite. */
export function icon(name) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  const use = document.createElementNS('http://www.w3.org/2000/svg', 'use');
  use.setAttribute('href', `#${name}`);
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  svg.append(use);
  return svg;
}

/** Shows another picture in a button. */
export const setIcon = (element, name) => element.querySelector('use').setAttribute('href', `#${name}`);

/** A name of somebody, apart from the direction of the text around it. */
export const bdi = (text, className = '') => el('bdi', className, text);

/** What somebody is called. */
export const nameOf = (user) => user.nickname || user.userId;

/** A text that came from outside: always a text, never too long. */
export const clean = (value, most) => (typeof value === 'string' ? Array.from(value.slice(0, most * 2)).slice(0, most).join('') : '');

/** A list that came from outside: always a list, never too long. */
export const list = (value, most) => (Array.isArray(value) ? value.slice(0, most) : []);

/** Runs `work` once in the next frame, however often it is called until then. */
export function onFrame(work) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    // A page that nobody sees has no frames.
    const soon = document.hidden ? (run) => setTimeout(run, 500) : requestAnimationFrame;
    soon(() => {
      asked = false;
      work();
    });
  };
}

/** What the browser remembers of us; nothing where it refuses to. */
export const store = {
  get(key, otherwise = null) {
    try {
      const text = localStorage.getItem(`classroom.${key}`);
      return text === null ? otherwise : JSON.parse(text);
    } catch {
      return otherwise;
    }
  },
  set(key, value) {
    try {
      localStorage.setItem(`classroom.${key}`, JSON.stringify(value));
    } catch {
      // Private windows and full discs: the choice holds until the page is closed.
    }
  },
};

/** Copies a text; the clipboard proper exists on secure pages only, and a lab has none. */
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

/** Says something to those who listen to the page. */
export function announce(text) {
  const live = $('announce');
  if (live) live.textContent = text;
}

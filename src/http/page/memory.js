// What is known where no server answers: the page itself, by a service worker, and how the lecture of a room went.

import { store } from './dom.js';

const MOST_ROOMS = 30;
/** On the next day it says nothing any more. */
const KNOWN_FOR_MS = 12 * 3_600_000;

/** Keeps the page for a reload without a server. Browsers do this on https and on this computer's own addresses only. */
export function keepPage() {
  navigator.serviceWorker?.register('/worker.js').catch(() => {
    // A private window keeps nothing.
  });
}

/** Whether a reload shows this page also where no server answers. */
export const isKept = () => Boolean(navigator.serviceWorker?.controller);

/** How the lecture in a room went, `{ by, at }`, if this browser was there today. */
export function lastOf(room) {
  const known = store.get('went')?.[room];
  return Date.now() - known?.at < KNOWN_FOR_MS && ['ended', 'left', 'lost'].includes(known.by) ? known : null;
}

/** Keeps how it went; `null` while somebody teaches. */
export function keepLast(room, by) {
  const others = Object.entries(store.get('went') ?? {}).filter(([known]) => known !== room);
  if (by) others.push([room, { by, at: Date.now() }]);
  store.set('went', Object.fromEntries(others.slice(-MOST_ROOMS)));
}

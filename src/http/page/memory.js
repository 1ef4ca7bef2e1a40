// What the page knows without a server: a copy of itself in a service worker, and how the lecture of a room ended.

import { store } from './dom.js';

const MOST_ROOMS = 30;
/** How long to remember it: not until the next day. */
const KNOWN_FOR_MS = 12 * 3_600_000;

/** Caches the page for a reload without a server. Browsers allow this on https and on this computer's own addresses. */
export function keepPage() {
  navigator.serviceWorker?.register('/worker.js').catch(() => {
    // A private window caches nothing.
  });
}

/** Whether a reload works without a server. */
export const isKept = () => Boolean(navigator.serviceWorker?.controller);

/** How the lecture of a room ended, `{ by, at }`, if this browser was there today. */
export function lastOf(room) {
  const known = store.get('went')?.[room];
  return Date.now() - known?.at < KNOWN_FOR_MS && ['ended', 'left', 'lost'].includes(known.by) ? known : null;
}

/** Remembers how the lecture ended; `null` while somebody teaches. */
export function keepLast(room, by) {
  const others = Object.entries(store.get('went') ?? {}).filter(([known]) => known !== room);
  if (by) others.push([room, { by, at: Date.now() }]);
  store.set('went', Object.fromEntries(others.slice(-MOST_ROOMS)));
}

// Who this is: from the link, from what was remembered, or asked for once.

import { store } from './dom.js';

const ID = /^[A-Za-z0-9._-]{1,64}$/;
const MOST_NAME_CHARS = 40;
/** Sessions that are remembered: the rooms of some terms. */
const MOST_SESSIONS = 30;

/** Whether this may name a room or a user. */
export const isId = (text) => ID.test(text);

/** The room that the address names; nothing on other pages. */
export function roomOfAddress() {
  const match = /^\/room\/([^/]+)\/?$/.exec(location.pathname);
  if (!match) return null;
  try {
    return decodeURIComponent(match[1]);
  } catch {
    return match[1];
  }
}

/** The link to a room. */
export const linkTo = (room) => `${location.origin}/room/${encodeURIComponent(room)}`;

/**
 * `{ userId, nickname, known }`. It is known when nothing has to be asked: the link says both, or what it does not say
 * was remembered.
 */
export function whoFromLink() {
  const query = new URLSearchParams(location.search);
  const remembered = store.get('me') ?? {};
  const userId = query.get('userId') ?? remembered.userId;
  const nickname = query.get('nickname') ?? remembered.nickname;
  const known = typeof userId === 'string' && userId !== '' && typeof nickname === 'string';
  return { userId: userId || suggestion(), nickname: cut(nickname ?? ''), known };
}

/** An id that is probably free. */
export function suggestion() {
  return `s-${1000 + (random(1)[0] % 9000)}`;
}

/** Remembers what was asked for, and forgets what the link said: that would be shared with the link. */
export function remember(userId, nickname) {
  const me = { userId, nickname: cut(nickname) };
  store.set('me', me);
  if (location.search) history.replaceState(null, '', location.pathname);
  return me;
}

const cut = (name) => Array.from(String(name).trim()).slice(0, MOST_NAME_CHARS).join('');

/**
 * The secret that takes our place back after a reload, and that a second window with the same id shares.
 */
export function session(room, userId) {
  const key = `${room}/${userId}`;
  const sessions = Object.entries(store.get('sessions') ?? {}).filter(([, secret]) => /^[A-Za-z0-9]{16,64}$/.test(secret));
  const secret = sessions.find(([known]) => known === key)?.[1] ?? newSecret();
  const others = sessions.filter(([known]) => known !== key);
  store.set('sessions', Object.fromEntries([...others, [key, secret]].slice(-MOST_SESSIONS)));
  return secret;
}

function newSecret() {
  const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';
  return Array.from(random(24), (n) => letters[n % letters.length]).join('');
}

const random = (n) => crypto.getRandomValues(new Uint32Array(n));

/** Tells others whether this is still the page that they negotiated with. */
export const epoch = random(1)[0];

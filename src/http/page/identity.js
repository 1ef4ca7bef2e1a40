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
 * `{ userId, nickname, known }`. It is known when nothing has to be asked: the link or an earlier visit says the name.
 * An id that nobody gave is made up.
 */
export function whoFromLink() {
  const query = new URLSearchParams(location.search);
  const remembered = store.get('me') ?? {};
  const nickname = query.get('nickname') ?? remembered.nickname;
  const userId = query.get('userId') || remembered.userId;
  return { userId: typeof userId === 'string' ? userId : ownId(), nickname: cut(nickname ?? ''), known: typeof nickname === 'string' };
}

/** The id of this browser, for people who give a name alone: the same after a reload. */
export function ownId() {
  const kept = store.get('id');
  return isOwnId(kept) ? kept : newId();
}

/** Another one, where somebody else has the one before. */
export function newId() {
  const id = `s-${made('abcdefghijkmnpqrstuvwxyz23456789', 6)}`;
  store.set('id', id);
  return id;
}

/** Whether an id was made up: it is for programs, and no person needs to see it. */
export const isOwnId = (id) => /^s-[a-z0-9]{6}$/.test(id);

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

const newSecret = () => made('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789', 24);

const made = (letters, length) => Array.from(random(length), (n) => letters[n % letters.length]).join('');

const random = (n) => crypto.getRandomValues(new Uint32Array(n));

/** Tells others whether this is still the page that they negotiated with. */
export const epoch = random(1)[0];

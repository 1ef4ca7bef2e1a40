// Who the student is: from the link, from an earlier visit, or by asking once. And what this browser knows without a
// server: a copy of the page, and how the lecture of a room ended.

import { store, tab } from './dom.js';

const ID = /^[A-Za-z0-9._-]{1,64}$/;
const MOST_NAME_CHARS = 40;
/** The most sessions to remember: the rooms of a few terms. */
const MOST_SESSIONS = 30;
/** The most rooms whose ends are remembered. */
const MOST_ENDS = 30;
/** How long to remember the end of a lecture: not until the next day. */
const KNOWN_FOR_MS = 12 * 3_600_000;

/** Whether a text is a valid id of a room or a user. */
export const isId = (text) => ID.test(text);

/** The room in the page's address; null on other pages. */
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
export const linkTo = (room, origin = location.origin) => `${origin}/room/${encodeURIComponent(room)}`;

/** The address of the page that teaches in a room. */
export const teachingLink = (room) => `/room/${encodeURIComponent(room)}?pub=pub`;

/** Whether this page is no more than a camera of the lecture: a teacher's phone as document camera. */
export const isDevice = () => new URLSearchParams(location.search).get('device') === 'camera';

/** The command that a teacher types. */
export function teachCommand(room) {
  const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
  return `classroom teach --room ${room} --server ${scheme}://${location.host}`;
}

/**
 * What opens a meeting or call room if the address says so: `{ query, key }`, the part of the join request and of the
 * credentials. For a lecture, both are absent.
 */
export function kindFromLink() {
  const kind = new URLSearchParams(location.search).get('kind');
  return kind === 'meeting' || kind === 'call' ? { query: { kind }, key: { key: teachingKey() } } : {};
}

/** Whether the address asks to teach. */
export const wantsToTeach = () => new URLSearchParams(location.search).get('pub') === 'pub';

/**
 * Whether this tab may probably teach in a room: it has a token of a teacher or the teaching key, or it runs on the
 * server's own computer, which may teach where there are neither keys nor tokens.
 */
export function mayTeach(room) {
  return isHere(location.hostname) || Boolean(teachingKey()) || roleOf(tab.get(`token ${room}`)) === 'teacher';
}

/** Whether a host is this computer by a name that no other computer can use. */
export const isHere = (host) => ['localhost', '127.0.0.1', '[::1]'].includes(host);

/** The role in a token; the server is the one that checks the signature. */
function roleOf(token) {
  try {
    return JSON.parse(atob(token.split('.')[1].replaceAll('-', '+').replaceAll('_', '/'))).role;
  } catch {
    return null;
  }
}

/** The teaching key of the server, until this tab is closed. */
export const teachingKey = () => text(tab.get('key'));
export const keepTeachingKey = (key) => tab.set('key', key);

/**
 * `{ userId, nickname, known }`. `known` if the link or an earlier visit gives the name, so that nothing must be asked.
 * A missing id is generated.
 */
export function whoFromLink() {
  const query = new URLSearchParams(location.search);
  const remembered = store.get('me') ?? {};
  const nickname = query.get('nickname') ?? remembered.nickname;
  const userId = query.get('userId') || remembered.userId;
  return {
    userId: typeof userId === 'string' ? userId : ownId(),
    nickname: cut(nickname ?? ''),
    known: typeof nickname === 'string',
  };
}

/** This browser's generated id, for people who only give a name. A reload keeps it. */
export function ownId() {
  const kept = store.get('id');
  return isOwnId(kept) ? kept : newId();
}

/** Generates another id, because somebody else uses the first. */
export function newId() {
  const id = drawnId('s');
  store.set('id', id);
  return id;
}

/** An id that nobody else has, for a student (`s`) or a teacher (`t`). */
export const drawnId = (kind) => `${kind}-${made('abcdefghijkmnpqrstuvwxyz23456789', 6)}`;

/** Whether an id was generated, and is therefore not shown to people. */
export const isOwnId = (id) => /^[st]-[a-z0-9]{6}$/.test(id);

/** Remembers the answers, and removes the name from the address, which would be shared with the link. */
export function remember(userId, nickname) {
  const me = { userId, nickname: cut(nickname) };
  store.set('me', me);
  if (location.search) history.replaceState(null, '', location.pathname);
  return me;
}

const cut = (name) => Array.from(String(name).trim()).slice(0, MOST_NAME_CHARS).join('');

/** The secret that resumes after a reload; a second window with the same id shares it. */
export function session(room, userId) {
  const key = `${room}/${userId}`;
  const stored = Object.entries(store.get('sessions') ?? {});
  const sessions = stored.filter(([, secret]) => /^[A-Za-z0-9]{16,64}$/.test(secret));
  const secret = sessions.find(([known]) => known === key)?.[1] ?? newSecret();
  const others = sessions.filter(([known]) => known !== key);
  store.set('sessions', Object.fromEntries([...others, [key, secret]].slice(-MOST_SESSIONS)));
  return secret;
}

const newSecret = () => made('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789', 24);

const made = (letters, length) => Array.from(random(length), (n) => letters[n % letters.length]).join('');

const random = (n) => crypto.getRandomValues(new Uint32Array(n));

/** The most characters of a code and of a token. */
const MOST_CODE_CHARS = 64;
const MOST_TOKEN_CHARS = 4_096;

/**
 * The secrets that the link to a room has, or that an earlier visit of today had: `{ code, token }`. They leave the
 * address bar at once, because the address is shown on projectors and copied.
 */
export function secretsFromLink(room) {
  const query = new URLSearchParams(location.search);
  const fragment = new URLSearchParams(location.hash.slice(1));
  const given = (name, most) => (fragment.get(name) ?? query.get(name) ?? '').slice(0, most);
  const code = given('code', MOST_CODE_CHARS);
  const token = given('token', MOST_TOKEN_CHARS);
  for (const name of ['code', 'token']) query.delete(name);
  if (code || token) {
    history.replaceState(null, '', location.pathname + (query.size ? `?${query}` : ''));
    keepSecrets(room, { code, token });
  }
  const known = store.get('codes')?.[room];
  return {
    code: Date.now() - known?.at < KNOWN_FOR_MS ? text(known.code) : undefined,
    token: text(tab.get(`token ${room}`)),
  };
}

/** Remembers the code of a room for today, and the token, which names a person, until this tab is closed. */
export function keepSecrets(room, { code, token }) {
  const others = Object.entries(store.get('codes') ?? {}).filter(([known]) => known !== room);
  if (code) others.push([room, { code, at: Date.now() }]);
  store.set('codes', Object.fromEntries(others.slice(-MOST_ENDS)));
  if (token) tab.set(`token ${room}`, token);
}

const text = (value) => (typeof value === 'string' && value ? value : undefined);

/** Tells others whether they negotiated with this page or with an earlier one. */
export const epoch = random(1)[0];

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
  store.set('went', Object.fromEntries(others.slice(-MOST_ENDS)));
}

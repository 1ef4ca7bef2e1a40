// The list of rooms, and the form that enters one.

import { $, Part, bdi, clean, el, list, nameOf } from './dom.js';
import { duration, label, onLanguage, say, sayOf, translate } from './i18n.js';
import { isId, mayTeach, teachCommand, teachingLink } from './identity.js';

const REFRESH_MS = 3_000;
const MOST_ROOMS = 500;
const MOST_NAME_CHARS = 80;
/** The most breakout rooms of a meeting (`MAX_BREAKOUTS`). */
const MOST_BREAKOUTS = 20;

let rooms = null;
let shown = '';

/** Shows the list and refreshes it. */
export async function startRooms() {
  translate();
  $('home').hidden = false;
  document.title = 'classroom';
  $('enter').addEventListener('submit', enter);
  onLanguage(() => {
    $('teach-command').textContent = teachCommand('10013');
    shown = '';
    show();
  });
  addEventListener('visibilitychange', () => document.hidden || refresh());
  // The words about kinds of rooms come with the form.
  await form.need();
  refresh();
}

/** The form that creates a room. Without the server it can't be loaded, and nothing can be created. */
const form = new Part(async () => (await import('./new_room.js')).startNewRoom(refresh));

let timer = 0;
async function refresh() {
  clearTimeout(timer);
  try {
    const response = await fetch('/api/rooms', { cache: 'no-store', signal: AbortSignal.timeout(5_000) });
    if (!response.ok) throw new Error(response.status);
    form.need();
    rooms = list(await response.json(), MOST_ROOMS).filter((room) => isId(room?.roomId));
    $('rooms-error').hidden = true;
    show();
  } catch {
    $('rooms-error').textContent = say('noServer');
    $('rooms-error').hidden = false;
  }
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(refresh, REFRESH_MS);
}

function show() {
  if (!rooms) return;
  $('rooms-empty').hidden = rooms.length > 0;
  $('rooms-count').textContent = rooms.length > 0 ? say('roomsCount', { n: rooms.length }) : '';
  const items = rooms.map(describe);
  // An unchanged list is left alone: somebody may be reading it or have the focus in it.
  const now = JSON.stringify(items);
  if (now === shown) return;
  shown = now;
  const focused = document.activeElement?.dataset?.room;
  $('rooms').replaceChildren(...items.map(card));
  if (focused) $('rooms').querySelector(`[data-room="${CSS.escape(focused)}"]`)?.focus();
}

/** The texts of a room in the list. */
function describe(room) {
  const state = ['live', 'waiting', 'ended'].includes(room.state) ? room.state : 'waiting';
  const name = clean(room.name, MOST_NAME_CHARS);
  const { publisher } = room;
  const teacher = publisher && nameOf({ userId: clean(publisher.userId, 64), nickname: clean(publisher.nickname, 40) });
  const { liveS, openS, endedS } = room;
  const time = { live: ['sinceLive', liveS], waiting: ['sinceOpen', openS], ended: ['sinceEnded', endedS] }[state];
  const since = typeof time[1] === 'number' ? say(time[0], { time: duration(time[1]) }) : '';
  const watching = Number(room.watching) || 0;
  const kind = ['meeting', 'call'].includes(room.kind) ? room.kind : 'lecture';
  const { owner } = room;
  const host = owner && nameOf({ userId: clean(owner.userId, 64), nickname: clean(owner.nickname, 40) });
  const inside = Number(room.participants) || 0;
  const keeper = say(kind === 'lecture' ? 'theTeacher' : 'theOwner');
  const asks = room.isLocked ? 'isLocked' : room.hasCode ? 'asksForCode' : room.hasLobby ? 'hasLobby' : '';
  const breakouts = list(room.breakouts, MOST_BREAKOUTS).length;
  const who = { teacher, host, watching, inside, breakouts };
  return { id: room.roomId, kind, state, name, ...who, since, asks: asks && say(asks, { keeper }) };
}

function card({ id, kind, state, name, teacher, host, since, watching, inside, breakouts, asks }) {
  const link = el('a', 'room-card');
  link.href = `/room/${encodeURIComponent(id)}`;
  link.dataset.room = id;
  const title = el('h2', '', bdi(name || say('room', { id })));
  if (name) title.append(el('span', 'soft id', id));
  const who = el('p');
  const isLecture = kind === 'lecture';
  if (!isLecture) who.append(el('span', 'kind-word', say(kind)), ...(host ? [' · ', ...sayOf('ownedBy', host)] : []));
  else if (teacher) who.append(...sayOf('taughtBy', teacher));
  else who.append(say(state === 'ended' ? 'teacherGone' : 'nobodyTeaches'));
  const taking = inside > 0 ? say(kind === 'call' ? 'calling' : 'inside', { n: inside }) : '';
  const present = taking || say(state === 'live' && isLecture ? 'watching' : 'present', { n: watching });
  const split = say(breakouts > 0 ? 'inBreakouts' : '', { n: breakouts });
  const facts = el('p', 'soft', [present, split, since, asks].filter(Boolean).join(' · '));
  link.append(el('span', `badge ${state}`, say(state)), title, who, facts, el('span', 'go', say('join')));
  const mayStart = isLecture && state !== 'live' && mayTeach(id);
  return el('li', '', link, ...(mayStart ? [teachButton(id)] : []));
}

/** For those who may teach in a room without a teacher. */
function teachButton(id) {
  const button = el('a', 'button quiet teach', say('teachInRoom'));
  button.href = teachingLink(id);
  label(button, `${say('teachInRoom')}: ${id}`);
  return button;
}

function enter(event) {
  event.preventDefault();
  const id = $('enter-id').value.trim();
  const fine = isId(id);
  $('enter-error').textContent = fine ? '' : say('badRoomId');
  if (fine) location.assign(`/room/${encodeURIComponent(id)}`);
  else $('enter-id').focus();
}

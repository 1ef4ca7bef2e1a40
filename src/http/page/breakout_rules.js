// The page's state of breakout rooms, as functions of the server's messages. This file touches no element.

import { clean } from './dom.js';

/** The most breakout rooms (`MAX_BREAKOUTS`), and the most members in a list of places (`MAX_LISTED_USERS`). */
export const MOST_ROOMS = 20;
export const FEWEST_ROOMS = 2;
const MOST_PLACES = 500;
/** The most members in `here` (`MAX_LISTED_HERE`). */
const MOST_HERE = 50;
/** The most students of a breakout room of a lecture that send to each other (`MAX_MESH`). */
export const MOST_STUDENTS = 6;
/** The most students of larger breakout rooms of a lecture, over the server (`MAX_CARRIED_STUDENTS`). */
export const MOST_CARRIED = 24;
/** How long everybody has left after "Call everybody back", in seconds (`RECALL_S`). */
export const RECALL_S = 30;
const MOST_MINUTES = 1_440;

const NOWHERE = {
  rooms: 0, at: 0, own: null, endsAt: 0, isRecalled: false, names: new Map(), here: null, places: new Map(),
};

const number = (value, most) => (Number.isInteger(value) && value >= 0 && value <= most ? value : 0);

/**
 * The message `breakouts`, checked: `{ rooms, at, own, endsAt, isRecalled, names, here, places }`. `rooms` is 0 without
 * breakout rooms, `at` is 0 in the meeting or the lecture, `own` may be `null`, `endsAt` is 0 without an end, `names`
 * are by number, `here` are the ids of those who are here, or `null` if nobody says so, and `places` has the place of
 * each member by user id, for an owner.
 */
export function breakoutsOf(message, now) {
  const rooms = number(message.rooms, MOST_ROOMS);
  if (rooms === 0) return NOWHERE;
  const places = Object.entries(message.places ?? {}).slice(0, MOST_PLACES);
  return {
    rooms,
    at: number(message.at, rooms),
    own: number(message.own, rooms) || null,
    endsAt: message.endsInMs >= 0 ? now + Number(message.endsInMs) : 0,
    isRecalled: message.isRecalled === true,
    names: namesOf(message.names, rooms),
    here: hereOf(message.here),
    places: new Map(places.map(([userId, at]) => [userId, number(at, rooms)])),
  };
}

function namesOf(names, rooms) {
  const given = Array.isArray(names) ? names.slice(0, rooms) : [];
  return new Map(given.map((name, n) => [n + 1, clean(name, 80)]).filter(([, name]) => name));
}

function hereOf(here) {
  const ids = Array.isArray(here) ? here.slice(0, MOST_HERE).map((id) => clean(id, 64)) : [];
  return ids.length > 0 ? new Set(ids) : null;
}

/** The users in the meeting and in each breakout room: a list of lists, of which the first is the meeting. */
export function groupsOf({ rooms, places }, users) {
  const groups = Array.from({ length: rooms + 1 }, () => []);
  for (const user of users) if (places.has(user.userId)) groups[places.get(user.userId)].push(user);
  return groups;
}

/** The time that is left, as 4:05; empty without an end. */
export function leftOf({ endsAt }, now) {
  if (!endsAt) return '';
  const s = Math.max(0, Math.ceil((endsAt - now) / 1_000));
  return `${Math.floor(s / 60)}:${String(s % 60).padStart(2, '0')}`;
}

/** The key of the sentence about the place of this user. */
export function whereKey({ at, own }, moderates) {
  if (moderates) return at === 0 ? 'breakoutsOpen' : 'breakoutVisit';
  if (at > 0) return 'breakoutHere';
  return own ? 'breakoutYours' : 'breakoutsOpen';
}

/** The fewest and the most breakout rooms for these members, of whom `students` of a lecture have to find a place. */
export function roomsFor(members, students = 0) {
  let least = FEWEST_ROOMS;
  while (carriedOf(students, least) > MOST_CARRIED) least += 1;
  return { least, most: Math.min(MOST_ROOMS, Math.max(FEWEST_ROOMS, members)) };
}

/** How many students are in rooms of more than `MOST_STUDENTS`, if they are distributed evenly. */
function carriedOf(students, rooms) {
  const [size, larger] = [Math.floor(students / rooms), students % rooms];
  const carried = (n, of) => (of > MOST_STUDENTS ? n * of : 0);
  return carried(larger, size + 1) + carried(rooms - larger, size);
}

/** The order that splits a room into `least` to `most` parts as the form says; `null` if the form makes no sense. */
export function splitOrder({ rooms, minutes, byHand, choices }, { least, most }) {
  if (!Number.isInteger(rooms) || rooms < least || rooms > most) return null;
  if (!(minutes >= 0 && minutes <= MOST_MINUTES)) return null;
  const limitS = Math.round(minutes * 60);
  const chosen = [...choices].filter(([, at]) => Number.isInteger(at) && at >= 0 && at <= rooms);
  return {
    order: 'split',
    rooms,
    ...(byHand && chosen.length > 0 ? { assign: Object.fromEntries(chosen) } : {}),
    ...(limitS > 0 ? { limitS } : {}),
  };
}

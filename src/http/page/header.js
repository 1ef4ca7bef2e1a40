// The header of a student's room: its name, who teaches, and how the lecture is.

import { $, nameOf } from './dom.js';
import { say, sayOf } from './i18n.js';

/** The states of the screens of `view`. */
const STATES = { live: 'live', sound: 'live', waiting: 'waiting', ended: 'ended' };

/**
 * `seen` is what `view` returned; `id` and `name` are those of the room, and `me` is the student. The header of a
 * meeting is drawn by its own part.
 */
export function showHeader({ screen, banner }, { id, name, people, me, isFlowing, wasIn }) {
  const { teacher } = people;
  $('me').replaceChildren(...sayOf('meIs', nameOf(people.me ?? me)));
  if (screen === 'conference') return;
  const isBroken = screen === 'live' && banner && !isFlowing;
  const state = isBroken ? 'waiting' : (STATES[screen] ?? '');
  const here = wasIn && screen !== 'error';
  const title = name || say('room', { id });
  write('room-title', title);
  document.title = `${title} – classroom`;
  if (teacher && here) $('room-teacher').replaceChildren(...sayOf('taughtBy', nameOf(teacher)));
  else write('room-teacher', name ? say('room', { id }) : '');
  write('room-state', isBroken ? say('connectingBadge') : state ? say(state) : '');
  $('room-state').className = `badge ${state}`;
  // Where nobody teaches, nobody is watching.
  write('room-watching', here ? say(teacher ? 'watching' : 'present', { n: people.students }) : '');
}

function write(id, value) {
  if ($(id).textContent !== value) $(id).textContent = value;
}

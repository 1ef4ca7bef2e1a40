// The state of a call room or a meeting as the page shows it. One pure function takes what happens and returns the next
// state and what to do; it knows no socket, no element and no clock.
//
// What happens, each with the time `now` in milliseconds:
//
//   { type: 'message', message }   a message of the server: `joined`, `room`, `call`, `accept`, `decline`, `hangup`,
//                                  `participants` or `error`
//   { type: 'lost' }               signalling is lost and tries to come back
//   { type: 'refused', code }      the server refuses to let the user in again
//   { type: 'media', states }      the states of the pairs by user id, as `Pair.state`
//   { type: 'overloaded' }         this computer or its line does not carry all connections
//   { type: 'time' }               about once a second
//   { type: 'call', userId, nickname, sends }, { type: 'accept', sends }, { type: 'decline', reason },
//   { type: 'hangUp' }, { type: 'resume', sends }, { type: 'close' }         a person in a call room
//   { type: 'enter', sends }, { type: 'accept', sends }, { type: 'decline', reason }, { type: 'leave' },
//   { type: 'callAll' }, { type: 'spotlight', on }, { type: 'close' }        a person in a meeting
//   { type: 'sends', sends }       the person sends other tracks now
//
// What to do:
//
//   { do: 'send', message }            send it to the server
//   { do: 'participants', message }    tell the mesh who takes part
//   { do: 'end' }                      end all connections, and the devices

import { calls } from './call_rules.js';
import { meets } from './meeting_rules.js';

/** The most participants of a list (`MAX_PARTICIPANTS`). */
const MOST = 25;

/**
 * The first state, for a user in a room of the `kind` `call` or `meeting`. The phases of a call are `idle`, `calling`,
 * `ringing`, `connecting`, `inCall`, `reconnecting` and `ended`; those of a meeting are `outside`, `entering`, `in`,
 * `reconnecting` and `ended`.
 */
export function begin(userId, kind) {
  return {
    kind,
    userId,
    phase: kind === 'call' ? 'idle' : 'outside',
    /** When the phase began. */
    since: 0,
    /** When the call or the meeting began for this user; 0 outside. */
    startedAt: 0,
    /** Why it has ended: see `call_rules.js` and `meeting_rules.js`. `code` is that of an error, if there was one. */
    reason: null,
    code: null,
    /** The other one of a call, `{ userId, nickname, sends }`; or the owner who calls everybody to the meeting. */
    other: null,
    /** Who waits in a call that this page left by a reload, as `other`: see `resume`. */
    kept: null,
    /** The tracks that this user sends. */
    sends: [],
    /** The participants of the server's last list, where their media is, and why it has moved. */
    participants: [],
    media: 'publisher',
    moved: null,
    /** The last `room` message. */
    room: null,
    /** The state of each pair by user id. */
    links: {},
    /** Whether signalling works. */
    isOnline: true,
    /** Whether the server's list is missing this user although media flows: the server has restarted. */
    isUnlisted: false,
    unlistedAt: 0,
    /** When this user asked to enter the meeting, and when to ask again; 0 for never. */
    enteredAt: 0,
    retryAt: 0,
  };
}

/** Returns `{ state, commands }` after `event`. */
export function reduce(state, event) {
  const next = { ...state };
  const commands = [];
  const context = {
    now: event.now,
    send: (message) => commands.push({ do: 'send', message }),
    connect: (message) => commands.push({ do: 'participants', message }),
    end: () => commands.push({ do: 'end' }),
    /** Enters another phase, with other values. */
    go(phase, more = {}) {
      if (phase !== next.phase) next.since = event.now;
      Object.assign(next, { phase, ...more });
    },
  };
  const rules = state.kind === 'call' ? calls : meets;
  const type = event.type === 'message' ? event.message.type : event.type;
  // A message of the server and an act of the person may have the same name.
  const group = event.type === 'message' ? 'messages' : 'acts';
  common[group][type]?.(next, event.message ?? event);
  rules[group][type]?.(next, event.message ?? event, context);
  return { state: next, commands };
}

/** What holds in calls and in meetings. */
const common = {
  messages: {
    joined: (state) => (state.isOnline = true),
    room: (state, message) => (state.room = message),
    participants(state, { participants, media, moved }) {
      const all = Array.isArray(participants) ? participants.slice(0, MOST) : [];
      state.participants = all.filter((one) => typeof one?.userId === 'string');
      state.media = media === 'server' ? 'server' : 'publisher';
      state.moved = moved ?? null;
    },
  },
  acts: {
    lost: (state) => (state.isOnline = false),
    media: (state, { states }) => (state.links = { ...states }),
  },
};

// The rules of a meeting, by what happens: see `conference.js`.
//
// A meeting ends for a `reason`: `over` (for everybody), `removed` (only for this user), or `refused` by the server.

/** A list that arrives this soon after this user entered may be from before. */
const LATE_MS = 3_000;

const isInside = ({ phase }) => phase === 'in' || phase === 'reconnecting';
const isListed = ({ participants, userId }) => participants.some((one) => one.userId === userId);

function ended(state, { go, end }, reason, code = null) {
  go('ended', { reason, code, startedAt: 0 });
  end();
}

function enter(state, { now, go, send }, sends, message = { type: 'participate' }) {
  const more = { enteredAt: now, retryAt: 0, isUnlisted: false };
  go('entering', { sends, other: null, reason: null, code: null, ...more });
  send({ ...message, sends });
}

/** A meeting reconnects while no connection to another participant works, or alone without signalling. */
function follow(state, { go }) {
  if (!isInside(state)) return;
  const others = state.participants.filter(({ userId }) => userId !== state.userId);
  const isBroken = ({ userId }) => ['reconnecting', 'lost'].includes(state.links[userId]);
  const isAlone = others.length === 0;
  const isReconnecting = isAlone ? !state.isOnline : others.every(isBroken);
  go(isReconnecting ? 'reconnecting' : 'in');
}

const messages = {
  /** The list of participants follows each `joined`. The server may have given the place to nobody meanwhile. */
  joined(state) {
    state.isUnlisted = isInside(state) || state.phase === 'entering';
  },
  room(state, { isCalling }) {
    if (!isCalling) state.other = null;
  },
  call(state, { userId, nickname, sends = [] }) {
    if (state.phase !== 'outside' && state.phase !== 'ended') return;
    state.other = { userId: String(userId), nickname: String(nickname ?? ''), sends };
  },
  participants(state, message, context) {
    if (isListed(state)) {
      state.isUnlisted = false;
      if (state.phase === 'entering') context.go('in', { startedAt: state.startedAt || context.now });
      // The message that this user leaves was lost, or this list is from before.
      if (!isInside(state)) return context.send({ type: 'hangup', targetUid: state.userId });
      context.connect(message);
      follow(state, context);
    } else if (isInside(state) || state.isUnlisted) {
      // A list from before this user entered may arrive late, also that of an empty meeting.
      const isLate = state.isUnlisted || context.now - state.enteredAt < LATE_MS;
      context.connect(message);
      if (isLate) enter(state, context, state.sends);
      else ended(state, context, state.participants.length > 0 ? 'removed' : 'over');
    }
  },
  error(state, { code, userId, retryAfterMs }, context) {
    if (state.phase !== 'entering' || userId) return;
    if (retryAfterMs >= 0) state.retryAt = context.now + retryAfterMs;
    // The owner calls no more, but the meeting goes on.
    else if (code === 'unknownTarget') enter(state, context, state.sends);
    // Other errors are about messages for participants from before.
    else if (code === 'meetingFull') ended(state, context, 'refused', code);
  },
};

const acts = {
  enter(state, { sends }, context) {
    if (state.phase === 'outside' || state.phase === 'ended') enter(state, context, sends);
  },
  accept(state, { sends }, context) {
    if (!state.other || isInside(state)) return;
    enter(state, context, sends, { type: 'accept', targetUid: state.other.userId });
  },
  decline(state, { reason = 'declined' }, { send }) {
    if (!state.other) return;
    send({ type: 'decline', targetUid: state.other.userId, reason });
    state.other = null;
  },
  leave(state, act, { go, send, end }) {
    if (!isInside(state) && state.phase !== 'entering') return;
    send({ type: 'hangup', targetUid: state.userId });
    go('outside', { startedAt: 0, isUnlisted: false });
    end();
  },
  close(state, act, { go }) {
    if (state.phase === 'ended') go('outside', { reason: null, code: null });
  },
  callAll(state, act, { send }) {
    if (isInside(state)) send({ type: 'callAll' });
  },
  spotlight(state, { on }, { send }) {
    if (isInside(state)) send({ type: 'spotlight', on });
  },
  sends(state, { sends }, { send }) {
    state.sends = sends;
    if (isInside(state)) send({ type: 'participate', sends });
  },
  overloaded(state, act, { send }) {
    if (isInside(state) && state.media !== 'server') send({ type: 'overloaded' });
  },
  media: (state, act, context) => follow(state, context),
  lost: (state, act, context) => follow(state, context),
  time(state, act, context) {
    if (state.phase === 'entering' && state.retryAt && context.now >= state.retryAt) {
      context.send({ type: 'participate', sends: state.sends });
      state.retryAt = 0;
    }
    follow(state, context);
  },
  refused(state, { code }, context) {
    if (state.phase !== 'outside') ended(state, context, 'refused', code);
  },
};

export const meets = { messages, acts };

// The rules of a call, by what happens: see `conference.js`.
//
// A call ends for a `reason`: `hungUp` by the other one, `lost` (the connection), `failed` (there never was one), the
// reasons of `decline` (`declined`, `busy`, `noAnswer`, `noDevices`, `left`), `missed` (the caller gave up), or
// `refused` by the server.

/** The server ends a call that rings after 30 s (`RING_S`); the page does so if that message is lost. */
const RING_MS = 35_000;

/** A call that is accepted begins within this time. */
const CONNECT_MS = 10_000;
/**
 * After a restart of the server, the two call again. If the other one has hung up instead, the connection is silent
 * within this time.
 */
const CALL_AGAIN_MS = 8_000;

const RUNNING = ['connecting', 'inCall', 'reconnecting'];
const isRunning = ({ phase }) => RUNNING.includes(phase);
const isOther = (state, userId) => state.other?.userId === userId;

/** Nobody is called or calls any more. */
function idle(state, { go, end }) {
  go('idle', { other: null, startedAt: 0, reason: null, code: null, isUnlisted: false });
  end();
}

function ended(state, { go, end }, reason, code = null) {
  go('ended', { reason, code, kept: null, isUnlisted: false });
  end();
}

function personOf({ userId, nickname, sends }) {
  return { userId: String(userId), nickname: String(nickname ?? ''), sends: Array.isArray(sends) ? sends : [] };
}

/** The phase of a running call follows the connection to the other one. */
function follow(state, context) {
  if (!isRunning(state)) return;
  const link = state.links[state.other.userId];
  if (link === 'connected') context.go('inCall', { startedAt: state.startedAt || context.now });
  else if (link === 'lost') {
    context.send({ type: 'hangup', targetUid: state.other.userId });
    ended(state, context, state.startedAt ? 'lost' : 'failed');
  } else if (state.phase === 'inCall' && (link === 'reconnecting' || !link)) context.go('reconnecting');
}

/** Rings for too long, or runs without the server's knowledge. */
function expire(state, context) {
  const isAlone = state.isUnlisted && context.now - state.unlistedAt >= CALL_AGAIN_MS;
  if (isAlone && state.phase === 'inCall') {
    state.unlistedAt = context.now;
    context.send({ type: 'call', targetUid: state.other.userId, sends: state.sends });
  }
  const isUnconnected = state.phase === 'connecting' && !state.links[state.other.userId];
  if (isUnconnected && context.now - state.since >= CONNECT_MS) {
    context.send({ type: 'hangup', targetUid: state.other.userId });
    ended(state, context, 'failed');
  }
  if (context.now - state.since < RING_MS) return;
  if (state.phase === 'calling') {
    context.send({ type: 'hangup', targetUid: state.other.userId });
    ended(state, context, 'noAnswer');
  } else if (state.phase === 'ringing') ended(state, context, 'missed');
}

const messages = {
  /** The call may have been lost with the last connection; the server ignores a second one. */
  joined(state, message, { send }) {
    if (state.phase === 'calling') send({ type: 'call', targetUid: state.other.userId, sends: state.sends });
  },
  call(state, message, context) {
    const { phase } = state;
    if (isOther(state, message.userId) && isRunning(state)) {
      context.send({ type: 'accept', targetUid: state.other.userId, sends: state.sends });
    }
    if (phase === 'idle' || phase === 'ended') {
      context.go('ringing', { other: personOf(message), reason: null, code: null, startedAt: 0 });
    }
  },
  accept(state, { userId }, { go }) {
    if (state.phase === 'calling' && isOther(state, userId)) go('connecting');
  },
  decline(state, { userId, reason }, context) {
    if (state.phase === 'calling' && isOther(state, userId)) ended(state, context, String(reason));
  },
  hangup(state, { userId }, context) {
    if (!isOther(state, userId)) return;
    if (state.phase === 'ringing') ended(state, context, 'missed');
    else if (state.phase === 'calling') ended(state, context, 'left');
    else if (isRunning(state)) ended(state, context, 'hungUp');
  },
  participants(state, message, context) {
    const { participants, userId } = state;
    const others = participants.filter((one) => one.userId !== userId);
    const isListed = others.length < participants.length;
    const [other] = others;
    state.kept = null;
    if (isListed && other && ['calling', 'ringing', ...RUNNING].includes(state.phase)) {
      const isNew = !isOther(state, other.userId);
      if (!isRunning(state) || isNew) context.go('connecting', { other: personOf(other) });
      Object.assign(state, { other: personOf(other), isUnlisted: false });
      context.connect(message);
    } else if (isRunning(state)) {
      if (isListed) {
        // The other one loads its page again; the server keeps its place for a while, and then ends the call.
        context.connect(message);
        if (state.startedAt) context.go('reconnecting');
      } else if (other && isOther(state, other.userId)) {
        // The server has kept the place of this user.
        context.send({ type: 'participate', sends: state.sends });
      } else if (state.startedAt) {
        // The server has restarted, or the other one has hung up: then its connection ends.
        Object.assign(state, { isUnlisted: true, unlistedAt: context.now });
      }
    } else if (isListed) {
      // The message that the call ends was lost, or this list is from before.
      context.send({ type: 'hangup', targetUid: userId });
    } else if (other && state.phase === 'idle') state.kept = personOf(other);
  },
  error(state, { code, userId }, context) {
    if (state.phase !== 'calling' || userId) return;
    ended(state, context, code === 'unknownTarget' ? 'left' : 'refused', code);
  },
};

const acts = {
  call(state, act, { go, send }) {
    if (state.phase !== 'idle' && state.phase !== 'ended') return;
    const { userId: targetUid, sends } = act;
    go('calling', { other: personOf({ ...act, sends: [] }), sends, reason: null, code: null, startedAt: 0 });
    send({ type: 'call', targetUid, sends });
  },
  accept(state, { sends }, { go, send }) {
    if (state.phase !== 'ringing') return;
    go('connecting', { sends });
    send({ type: 'accept', targetUid: state.other.userId, sends });
  },
  decline(state, { reason = 'declined' }, context) {
    if (state.phase !== 'ringing') return;
    context.send({ type: 'decline', targetUid: state.other.userId, reason });
    idle(state, context);
  },
  hangUp(state, act, context) {
    if (state.phase !== 'calling' && !isRunning(state)) return;
    context.send({ type: 'hangup', targetUid: state.other.userId });
    idle(state, context);
  },
  resume(state, { sends }, { go, send }) {
    if (state.phase !== 'idle' || !state.kept) return;
    go('connecting', { other: state.kept, kept: null, sends });
    send({ type: 'participate', sends });
  },
  close(state, act, context) {
    if (state.phase === 'ended') idle(state, context);
  },
  sends(state, { sends }, { send }) {
    state.sends = sends;
    if (isRunning(state)) send({ type: 'participate', sends });
  },
  media: (state, act, context) => follow(state, context),
  time: (state, act, context) => expire(state, context),
  refused(state, { code }, context) {
    if (state.phase !== 'idle') ended(state, context, 'refused', code);
  },
};

export const calls = { messages, acts };

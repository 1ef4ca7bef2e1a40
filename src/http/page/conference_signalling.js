// The signalling of a breakout room of a lecture. An offer without `entry` is for the lecture there, so what is about
// the media of a participant at the server travels as the `message` of a `conference`.

const TO_SERVER = ['offer', 'candidate'];

/** The `room` as the connections of a breakout room see it: `{ userId, iceServers, signalling }`. */
export function conferenceRoom(room) {
  const signalling = {
    get isSure() {
      return room.signalling.isSure;
    },
    check: () => room.signalling.check(),
    send: (message) => {
      const isForServer = TO_SERVER.includes(message.type) && message.entry === undefined;
      return room.signalling.send(isForServer ? { type: 'conference', message } : message);
    },
  };
  return {
    signalling,
    get userId() {
      return room.userId;
    },
    get iceServers() {
      return room.iceServers;
    },
  };
}

/**
 * What a message of the server says to the connections of a breakout room; `null` for one that is not for them. Errors
 * of the server itself name nobody, so they concern whoever is being connected.
 */
export function toConference(message) {
  const { type, entry, userId } = message;
  if (type === 'conference') return message.message ?? null;
  const isOfPair = ['offer', 'answer', 'candidate'].includes(type) && entry !== undefined;
  return isOfPair || (type === 'error' && !userId) ? message : null;
}

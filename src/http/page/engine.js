// A student whom the server has placed at an engine, an SFU of somebody else. The engine answers without a data
// channel, or the engine offers, in the teacher's name, and the page's own offer is rolled back. The messages of the
// data channel travel by signalling.

class TalkChannel {
  readyState = 'open';
  onmessage = null;
  onclose = null;
  #signalling;

  constructor(signalling) {
    this.#signalling = signalling;
  }

  send(text) {
    this.#signalling.send({ type: 'talk', message: JSON.parse(text) });
  }

  heard(message) {
    this.onmessage?.({ data: JSON.stringify(message) });
  }
}

/** The audio, screen and camera of an offer, by `mid`. */
const rolesOf = (tracks) => {
  const isRole = ([, role]) => ['audio', 'screen', 'camera'].includes(role);
  return new Map(Object.entries(tracks ?? {}).filter(isRole));
};

/** The messages of a connection travel by signalling from now on. */
function talkBySignalling(connection, room) {
  connection.channel.close();
  connection.channel = new TalkChannel(room.signalling);
  room.chat.attach(connection.channel);
}

/** Answers the offer of the engine in the connection that has offered itself. */
async function answer(negotiation, room, { sdp, tracks }) {
  const { connection, lesson } = negotiation;
  // Anything else is about an earlier connection.
  if (connection?.pc.signalingState !== 'have-local-offer') return;
  talkBySignalling(connection, room);
  try {
    await connection.pc.setRemoteDescription({ type: 'offer', sdp: String(sdp) });
    await connection.pc.setLocalDescription();
    if (connection !== negotiation.connection || !lesson.publisher) return;
    const answered = connection.pc.localDescription.sdp;
    room.signalling.send({ type: 'answer', targetUid: lesson.publisher.userId, sdp: answered });
    connection.received(rolesOf(tracks));
  } catch {
    if (connection === negotiation.connection) lesson.failed();
  }
}

/** Whether an engine has answered, which refuses the data channel. */
const isRefused = ({ pc }) => /^m=application 0 /m.test(pc.currentRemoteDescription?.sdp ?? '');

/** A message about the media: `offer`, or `talk`, which has a message of the data channel. */
export async function told(negotiation, room, message) {
  const { connection } = negotiation;
  if (message.type === 'offer') return answer(negotiation, room, message);
  if (!connection) return;
  if (!(connection.channel instanceof TalkChannel) && isRefused(connection)) talkBySignalling(connection, room);
  if (connection.channel instanceof TalkChannel) connection.channel.heard(message.message);
}

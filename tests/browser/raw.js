async ({ room, user, nickname = '' }) => {
  // A student without the page: sends what the test says, well-formed or not.
  const query = new URLSearchParams({ roomId: room, userId: user, nickname, pub: 'no' });
  const socket = new WebSocket(`ws://${location.host}/ws?${query}`);
  const connection = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
  for (const kind of ['audio', 'video', 'video']) connection.addTransceiver(kind, { direction: 'recvonly' });
  const channel = connection.createDataChannel('classroom');
  const raw = { socket, connection, channel, signals: [], received: [], closed: null };
  globalThis.raw = raw;

  const to = (type, more) => socket.send(JSON.stringify({ type, targetUid: raw.teacher, ...more }));
  raw.offer = async () => {
    await connection.setLocalDescription();
    to('offer', { sdp: connection.localDescription.sdp });
  };
  const end = { candidate: '' };
  connection.onicecandidate = ({ candidate }) => to('candidate', { candidate: candidate?.toJSON() ?? end });
  channel.onmessage = ({ data }) => raw.received.push(JSON.parse(data));
  socket.onclose = ({ code, reason }) => (raw.closed = { code, reason });
  socket.onmessage = async ({ data }) => {
    const signal = JSON.parse(data);
    raw.signals.push(signal);
    if (signal.type === 'joined' && signal.publisher) {
      raw.teacher = signal.publisher;
      await raw.offer();
    }
    if (signal.type === 'answer') await connection.setRemoteDescription({ type: 'answer', sdp: signal.sdp });
    if (signal.type === 'candidate') await connection.addIceCandidate(signal.candidate).catch(() => {});
  };
}

(address) => {
  // Runs in a page before its own scripts: its connection leads through a network emulator at this address, and neither
  // side hears of another way. The twin of `peer::emulator::through` and `without_candidates`.
  const [, host, port] = /^(.*):(\d+)$/.exec(address);
  const told = `a=candidate:1 1 udp 2130706431 ${host} ${port} typ host\r\n`;
  const candidates = /(?:a=candidate:.*\r\n)+/g;
  // The browser's own, which the witness may have extended before.
  let { prototype } = RTCPeerConnection;
  while (!Object.hasOwn(prototype, 'localDescription')) prototype = Object.getPrototypeOf(prototype);
  const { setRemoteDescription } = prototype;
  const { get } = Object.getOwnPropertyDescriptor(prototype, 'localDescription');
  prototype.setRemoteDescription = function through({ type, sdp }) {
    return setRemoteDescription.call(this, { type, sdp: sdp.replace(candidates, told) });
  };
  prototype.addIceCandidate = () => Promise.resolve();
  Object.defineProperty(prototype, 'onicecandidate', { set() {} });
  Object.defineProperty(prototype, 'localDescription', {
    get() {
      const own = get.call(this);
      return own && { type: own.type, sdp: own.sdp.replace(candidates, '') };
    },
  });
}

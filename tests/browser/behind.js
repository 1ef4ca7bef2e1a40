(address) => {
  // Runs in a page before its own scripts: leads its connection through a network emulator at this address, so that
  // neither side learns another path. The counterpart of `through` and `without_candidates` in `bench::emulator`.
  const [, host, port] = /^(.*):(\d+)$/.exec(address);
  const told = `a=candidate:1 1 udp 2130706431 ${host} ${port} typ host\r\n`;
  const candidates = /(?:a=candidate:.*\r\n)+/g;
  // The browser's own function, which the witness may have wrapped.
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

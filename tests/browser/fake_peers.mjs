// Peer connections in Node.js, with the states, rollbacks and errors of W3C webrtc-pc. What connects them is a
// `FakeNetwork`.

/** How long a browser takes for one operation, in milliseconds: least and most. */
const OPERATION_MS = [0, 6];

const failure = (name, message) => Object.assign(new Error(message), { name });

export class FakePeerConnection {
  connectionState = 'new';
  signalingState = 'stable';
  /** Descriptions that are parsed: those in effect, and those of an offer without an answer. */
  local = null;
  remote = null;
  pending = { local: null, remote: null };
  /** The user fragments of which a candidate is known. */
  candidates = new Set();
  isClosed = false;
  channel = null;
  #network;
  #fingerprint;
  #transceivers = [];
  #operations = Promise.resolve();
  #queued = 0;
  #hasChannel = false;
  #restarts = false;
  #isAsked = false;

  constructor(network, owner) {
    this.#network = network;
    this.owner = owner;
    this.#fingerprint = network.name('certificate');
    network.open.add(this);
  }

  get credentials() {
    return `${this.local?.ufrag} ${this.remote?.ufrag}`;
  }

  get currentLocalDescription() {
    return this.local;
  }

  get pendingLocalDescription() {
    return this.pending.local;
  }

  get currentRemoteDescription() {
    return this.remote;
  }

  get localDescription() {
    return this.pending.local ?? this.local;
  }

  get remoteDescription() {
    return this.pending.remote ?? this.remote;
  }

  createDataChannel(label) {
    this.#hasChannel = true;
    this.channel = this.#makeChannel(label);
    return this.channel;
  }

  addTransceiver(trackOrKind, { direction }) {
    const kind = trackOrKind.kind ?? trackOrKind;
    const transceiver = this.#makeTransceiver(kind, direction, trackOrKind.kind ? trackOrKind : null);
    this.#transceivers.push(transceiver);
    this.#ask();
    return transceiver;
  }

  getTransceivers() {
    return [...this.#transceivers];
  }

  async getStats() {
    return this.#network.statsOf(this);
  }

  restartIce() {
    this.#restarts = true;
    this.#ask();
  }

  createOffer() {
    return this.#chain(() => this.#describe('offer'));
  }

  createAnswer() {
    return this.#chain(() => {
      if (this.signalingState !== 'have-remote-offer') throw failure('InvalidStateError', 'no offer to answer');
      return this.#describe('answer');
    });
  }

  setLocalDescription(description) {
    return this.#chain(() => {
      const type = description?.type ?? (this.signalingState === 'have-remote-offer' ? 'answer' : 'offer');
      this.#expect(type, type === 'offer' ? ['stable', 'have-local-offer'] : ['have-remote-offer']);
      this.#setLocal(description ?? this.#describe(type));
    });
  }

  setRemoteDescription({ type, sdp }) {
    return this.#chain(() => {
      if (type === 'offer' && this.signalingState === 'have-local-offer') this.#rollBack();
      this.#expect(type, type === 'offer' ? ['stable', 'have-remote-offer'] : ['have-local-offer']);
      this.#setRemote(parsed(type, sdp));
    });
  }

  addIceCandidate(candidate) {
    return this.#chain(() => {
      if (!this.remoteDescription) throw failure('InvalidStateError', 'no remote description');
      if (!candidate.candidate) return;
      const ufrag = candidate.usernameFragment;
      if (![this.remote, this.pending.remote].some((known) => known?.ufrag === ufrag)) {
        throw failure('OperationError', `a candidate of ${ufrag}`);
      }
      this.candidates.add(ufrag);
      this.#network.look(this);
    });
  }

  close() {
    if (this.isClosed) return;
    this.isClosed = true;
    this.signalingState = 'closed';
    this.connectionState = 'closed';
    if (this.channel) this.channel.readyState = 'closed';
    this.#network.closed(this);
  }

  /** The network has connected or lost this connection. */
  becomes(state) {
    if (this.isClosed || this.connectionState === state) return;
    this.connectionState = state;
    this.onconnectionstatechange?.();
  }

  /** The connection works, so its data channel does. */
  openChannel() {
    if (this.isClosed) return;
    const isNew = !this.channel;
    this.channel ??= this.#makeChannel('classroom');
    const { channel } = this;
    if (channel.readyState === 'open') return;
    channel.readyState = 'open';
    if (isNew) this.ondatachannel?.({ channel });
    channel.onopen?.();
  }

  #expect(type, states) {
    if (!states.includes(this.signalingState)) throw failure('InvalidStateError', `${type} in ${this.signalingState}`);
  }

  /** Operations happen one after another, and none ends after `close`. */
  #chain(work) {
    if (this.isClosed) return Promise.reject(failure('InvalidStateError', 'the connection is closed'));
    this.#queued += 1;
    const result = this.#operations.then(async () => {
      await this.#network.sleep(OPERATION_MS);
      if (this.isClosed) return new Promise(() => {});
      try {
        return work();
      } finally {
        this.#queued -= 1;
        this.#askAgain();
      }
    });
    this.#operations = result.catch(() => {});
    return result;
  }

  #describe(type) {
    const isAnswer = type === 'answer';
    const isNew = isAnswer ? this.pending.remote.ufrag !== this.remote?.ufrag : this.#restarts;
    const ufrag = this.local && !isNew ? this.local.ufrag : this.#network.name('ufrag');
    const sections = this.#transceivers.map(({ kind, direction }) => ({ kind, direction }));
    if (isAnswer ? this.pending.remote.hasChannel : this.#hasChannel) sections.push({ kind: 'application' });
    return parsed(type, written({ ufrag, fingerprint: this.#fingerprint, sections, candidates: [] }));
  }

  #setLocal(description) {
    for (const transceiver of this.#transceivers) {
      if (transceiver.mid === null) Object.assign(transceiver, { mid: this.#network.name('mid'), isFresh: true });
      transceiver.described = transceiver.direction;
    }
    if (description.type === 'offer') {
      this.pending.local = description;
      this.signalingState = 'have-local-offer';
    } else {
      this.#settle(description, this.pending.remote);
    }
    this.#gather(description);
  }

  #setRemote(description) {
    if (description.type === 'offer') {
      description.sections.filter(({ kind }) => kind !== 'application').forEach(({ kind }, at) => {
        // Transceivers of `addTransceiver` do not take a section of the other side's offer (RFC 8829, 5.10).
        const mapped = this.#transceivers.filter(({ mid }) => mid !== null);
        if (mapped.length > at) return;
        const transceiver = this.#makeTransceiver(kind, 'recvonly', null);
        Object.assign(transceiver, { mid: this.#network.name('mid'), isFresh: true, isRemote: true });
        this.#transceivers.push(transceiver);
      });
      this.pending.remote = description;
      this.signalingState = 'have-remote-offer';
    } else {
      this.#settle(this.pending.local, description);
    }
    if (description.hasCandidates) this.candidates.add(description.ufrag);
  }

  /** An answer is applied. */
  #settle(local, remote) {
    if (this.remote && remote.fingerprint !== this.remote.fingerprint) {
      throw failure('InvalidAccessError', 'DTLS can not change its certificate');
    }
    if (this.local?.ufrag !== local.ufrag) this.#restarts = false;
    Object.assign(this, { local, remote, signalingState: 'stable' });
    this.pending = { local: null, remote: null };
    for (const transceiver of this.#transceivers) transceiver.isFresh = false;
    if (this.connectionState === 'new') this.becomes('connecting');
    this.#ask();
    this.#network.look(this);
  }

  #rollBack() {
    this.#transceivers = this.#transceivers.filter(({ isFresh, isRemote }) => !(isFresh && isRemote));
    for (const transceiver of this.#transceivers) if (transceiver.isFresh) transceiver.mid = null;
    this.pending = { local: null, remote: null };
    this.signalingState = 'stable';
  }

  async #gather(description) {
    for (const last of [false, true]) {
      await this.#network.sleep([1, 40]);
      if (this.isClosed || ![this.local, this.pending.local].includes(description)) return;
      const candidate = { candidate: last ? '' : 'candidate:1', usernameFragment: description.ufrag };
      // The description that a page reads later has the candidates so far.
      description.sdp = description.sdp.replace(/(a=candidate:1\r\n)?$/, 'a=candidate:1\r\n');
      this.onicecandidate?.({ candidate: last ? null : { toJSON: () => candidate } });
    }
  }

  /** Whether a negotiation is needed is asked later, and only while nothing else goes on. */
  #ask() {
    this.#isAsked = true;
    this.#askAgain();
  }

  async #askAgain() {
    await this.#network.sleep([0, 1]);
    if (!this.#isAsked || this.isClosed || this.#queued > 0 || this.signalingState !== 'stable') return;
    this.#isAsked = false;
    const isChanged = ({ mid, direction, described }) => mid === null || direction !== described;
    if (this.#restarts || this.#transceivers.some(isChanged)) this.onnegotiationneeded?.();
  }

  #makeTransceiver(kind, direction, track) {
    const sender = {
      track,
      replaceTrack: async (next) => void (sender.track = next),
      getParameters: () => ({ encodings: [{}] }),
      setParameters: async (parameters) => void (sender.parameters = parameters),
    };
    const receiver = { track: { kind, id: this.#network.name('track') } };
    return { kind, direction, sender, receiver, mid: null, described: null, isFresh: false, isRemote: false };
  }

  #makeChannel(label) {
    return { label, readyState: 'connecting', close() {}, send: (data) => this.#network.carry(this, data) };
  }
}

function written({ ufrag, fingerprint, sections }) {
  const lines = ['v=0', `a=fingerprint:sha-256 ${fingerprint}`, `a=ice-ufrag:${ufrag}`];
  for (const { kind, direction } of sections) lines.push(`m=${kind} 9 X 0`, ...(direction ? [`a=${direction}`] : []));
  return `${lines.join('\r\n')}\r\n`;
}

function parsed(type, sdp) {
  const one = (pattern) => pattern.exec(sdp)?.[1];
  const sections = [...sdp.matchAll(/^m=(\w+) .*\r\n(?:a=(\w+)\r\n)?/gm)];
  return {
    type,
    sdp,
    ufrag: one(/^a=ice-ufrag:(\S+)/m),
    fingerprint: one(/^a=fingerprint:sha-256 (\S+)/m),
    sections: sections.map(([, kind, direction]) => ({ kind, direction })),
    hasChannel: /^m=application/m.test(sdp),
    hasCandidates: /^a=candidate/m.test(sdp),
  };
}

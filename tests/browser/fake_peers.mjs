// Peer connections without a network, in Node.js: the states, rollbacks and errors of W3C webrtc-pc, and an ICE that
// connects two of them once each has the other's description and one knows a candidate.

import { random } from './virtual_time.mjs';

/** How long a browser takes for one operation, and ICE and DTLS for a connection, in milliseconds: least and most. */
const OPERATION_MS = [0, 6];
const CONNECT_MS = [30, 300];
/** After silence of these times, a connection is `disconnected` and then `failed`. */
const DISCONNECTED_MS = 3_000;
const FAILED_MS = 15_000;

const failure = (name, message) => Object.assign(new Error(message), { name });

export class FakeNetwork {
  /** The connections that are not closed. */
  open = new Set();
  /** Each way between two connections: `{ ends, isDead, silentUntil }`. */
  #ways = new Set();
  #time;
  #random;
  #names = 0;

  constructor(time, seed) {
    this.#time = time;
    this.#random = random(seed);
  }

  /** The class that stands for `RTCPeerConnection`. `owner()` names who makes a connection. */
  peerConnection(owner) {
    const network = this;
    return class extends FakePeerConnection {
      constructor() {
        super(network, owner());
      }
    };
  }

  get ways() {
    return [...this.#ways];
  }

  between([least, most]) {
    return least + this.#random() * (most - least);
  }

  sleep(range) {
    return this.#time.sleep(this.between(range));
  }

  name(kind) {
    return `${kind}${(this.#names += 1)}`;
  }

  /** The other end of a connection's way. */
  otherOf(pc) {
    return this.#wayOf(pc)?.ends.find((end) => end !== pc) ?? null;
  }

  /** Nothing passes for this time; for ever without an ICE restart, if `isDead`. */
  silence(way, ms, isDead) {
    way.isDead ||= isDead;
    way.silentUntil = this.#time.now + ms;
    for (const end of way.ends) this.#watch(end, way);
  }

  /** Something has changed: connects `pc` if it can be connected. */
  async look(pc) {
    for (const other of this.open) {
      if (!fits(pc, other) || this.#connects(pc, other)) continue;
      const credentials = pc.credentials;
      await this.sleep(CONNECT_MS);
      if (credentials === pc.credentials && fits(pc, other) && !this.#connects(pc, other)) this.#connect(pc, other);
    }
  }

  closed(pc) {
    this.open.delete(pc);
    const way = this.#wayOf(pc);
    if (way) this.silence(way, 0, true);
  }

  /** Gives a message of a data channel to the other end. */
  carry(pc, data) {
    const way = this.#wayOf(pc);
    if (way?.isDead) return;
    const other = this.otherOf(pc);
    this.#time.sleep(20).then(() => other && !other.isClosed && other.channel?.onmessage?.({ data }));
  }

  #wayOf(pc) {
    return [...this.#ways].find(({ ends }) => ends.includes(pc));
  }

  /** Whether the newest descriptions have connected these two, and the way lives. */
  #connects(pc, other) {
    const way = this.#wayOf(pc);
    return way && !way.isDead && way.ends.includes(other) && way.credentials === credentialsOf([pc, other]);
  }

  #connect(pc, other) {
    for (const end of [pc, other]) this.#ways.delete(this.#wayOf(end));
    const ends = [pc, other];
    this.#ways.add({ ends, credentials: credentialsOf(ends), isDead: false, silentUntil: 0 });
    for (const end of ends) end.becomes('connected');
    for (const end of ends) end.openChannel();
  }

  async #watch(pc, way) {
    const isSilent = () => this.#wayOf(pc) === way && (way.isDead || this.#time.now < way.silentUntil);
    await this.#time.sleep(DISCONNECTED_MS + this.between([0, 500]));
    if (!isSilent()) return;
    pc.becomes('disconnected');
    const end = this.#time.now + FAILED_MS;
    while (isSilent() && this.#time.now < end) await this.#time.sleep(500);
    if (this.#wayOf(pc) !== way) return;
    pc.becomes(isSilent() ? 'failed' : 'connected');
  }
}

const credentialsOf = (ends) => ends.map(({ credentials }) => credentials).sort().join(' ');

/** Whether ICE connects the two: each has the other's description, and one of them a candidate. */
function fits(one, two) {
  const knows = (from, of) => of.local && from.remote?.ufrag === of.local.ufrag
    && from.remote.fingerprint === of.local.fingerprint;
  const hasCandidate = (from, of) => from.candidates.has(of.local.ufrag);
  return one !== two && !one.isClosed && !two.isClosed && knows(one, two) && knows(two, one)
    && (hasCandidate(one, two) || hasCandidate(two, one));
}

class FakePeerConnection {
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
    return new Map();
  }

  restartIce() {
    this.#restarts = true;
    this.#ask();
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
      const allowed = type === 'offer' ? ['stable', 'have-local-offer'] : ['have-remote-offer'];
      if (!allowed.includes(this.signalingState)) throw failure('InvalidStateError', `${type} in ${this.signalingState}`);
      this.#setLocal(description ?? this.#describe(type));
    });
  }

  setRemoteDescription({ type, sdp }) {
    return this.#chain(() => {
      if (type === 'offer' && this.signalingState === 'have-local-offer') this.#rollBack();
      const allowed = type === 'offer' ? ['stable', 'have-remote-offer'] : ['have-local-offer'];
      if (!allowed.includes(this.signalingState)) throw failure('InvalidStateError', `${type} in ${this.signalingState}`);
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
    const channel = { label, readyState: 'connecting', close() {}, send: (data) => this.#network.carry(this, data) };
    return channel;
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

/** Replaces what the modules of the page use of a browser. `owner()` names who makes a connection. */
export function install(network, owner) {
  globalThis.RTCPeerConnection = network.peerConnection(owner);
  globalThis.RTCRtpSender = { getCapabilities: () => ({ codecs: [] }) };
}

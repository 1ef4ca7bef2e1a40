// The peer connection to an SFU, and that of a student: audio, two videos and the data channel, with the target of its
// jitter buffer.

const LABEL = 'classroom';
/** Wi-Fi is silent for a second or two at times; after this time a new connection is faster. */
const DISCONNECTED_MS = 4_000;

/** Whether this browser has WebRTC. */
export const hasWebrtc = () => typeof RTCPeerConnection === 'function';

/**
 * Adds `nack` to the audio codec of an offer. No browser offers NACK for audio, but Chromium sends it if the answer
 * allows it (RFC 4585, section 4.2). Browsers have no API for this, so the SDP is edited as text.
 */
const withAudioNack = (sdp) => sdp.replace(/a=rtpmap:(\d+) opus\/48000\/2\r\n/i, '$&a=rtcp-fb:$1 nack\r\n');

/** A peer connection to an SFU: its candidates, and whether it works. */
export class Connection {
  pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
  isClosed = false;
  /** The last error of each STUN and TURN server, by its URL. */
  iceErrors = new Map();
  /** Whether media could flow at any time. */
  wasConnected = false;
  #on;
  #isAnswered = false;
  #sent = false;
  #waiting = [];
  #timer = 0;

  /** `on` has `candidate(c)`, `connected()`, `disturbed()` and `gone()`. */
  constructor(on) {
    this.#on = on;
    this.channel = this.pc.createDataChannel(LABEL);
    this.pc.onicecandidate = ({ candidate }) => this.#candidate(candidate?.toJSON() ?? { candidate: '' });
    this.pc.onicecandidateerror = (error) => this.iceErrors.set(error.url, error);
    this.pc.onconnectionstatechange = () => this.changed(this.pc.connectionState);
  }

  /** Applies an offer that `createOffer` promised, starts to gather candidates, and returns the SDP to send. */
  async apply(offer, iceServers) {
    if (iceServers.length > 0) this.pc.setConfiguration({ ...this.pc.getConfiguration(), iceServers });
    await this.pc.setLocalDescription(await offer);
    return withAudioNack(this.pc.localDescription.sdp);
  }

  /** The offer is sent, so candidates may follow. */
  offered() {
    this.#sent = true;
    for (const candidate of this.#waiting.splice(0)) this.#on.candidate(candidate);
  }

  /** Applies the answer. Returns whether it did: a second one is ignored, and so is one for a closed connection. */
  async answer(sdp) {
    if (this.#isAnswered) return false;
    this.#isAnswered = true;
    await this.pc.setRemoteDescription({ type: 'answer', sdp });
    return !this.isClosed;
  }

  /** Adds a candidate of the SFU. An invalid one does no harm, there are others. */
  candidate(candidate) {
    if (candidate) this.pc.addIceCandidate(candidate).catch(() => {});
  }

  /** Whether media can flow. */
  get isConnected() {
    return this.pc.connectionState === 'connected';
  }

  close() {
    this.isClosed = true;
    clearTimeout(this.#timer);
    this.pc.close();
  }

  /** The connection has changed its state. */
  changed(state) {
    if (this.isClosed) return;
    clearTimeout(this.#timer);
    if (state === 'connected') {
      this.wasConnected = true;
      this.#on.connected();
    }
    if (state === 'disconnected') {
      this.#on.disturbed();
      this.#timer = setTimeout(() => this.#on.gone(), DISCONNECTED_MS);
    }
    if (state === 'failed' || state === 'closed') this.#on.gone();
  }

  #candidate(candidate) {
    if (this.isClosed) return;
    if (this.#sent) this.#on.candidate(candidate);
    else this.#waiting.push(candidate);
  }
}

/** A student's connection. */
export class Peer extends Connection {
  #on;
  #offer;
  #target = new JitterBufferTarget();

  /** Makes an offer for these kinds of tracks. `on` also has `tracks({audio, screen, camera})`. */
  constructor(on, kinds = ['audio', 'video', 'video']) {
    super(on);
    this.#on = on;
    for (const kind of kinds) this.pc.addTransceiver(kind, { direction: 'recvonly' });
    this.#offer = this.pc.createOffer();
    this.#offer.catch(() => {});
  }

  /** Returns `{ sdp }`, the offer, and starts to gather candidates. */
  async offer(iceServers) {
    return { sdp: await this.apply(this.#offer, iceServers) };
  }

  /** Applies the answer and passes on its tracks. */
  async answer(sdp) {
    if (await super.answer(sdp)) this.received(rolesOf(sdp));
  }

  /** Passes on the tracks, whose roles are known by `mid`. */
  received(roles) {
    const tracks = {};
    for (const transceiver of this.pc.getTransceivers()) {
      const role = roles.get(transceiver.mid);
      if (!role) continue;
      tracks[role] = transceiver.receiver.track;
      const transport = transceiver.receiver.transport;
      if (transport && !transport.onstatechange) {
        transport.onstatechange = () => transport.state === 'closed' && this.changed('closed');
      }
    }
    this.#setJitterBuffer();
    this.#on.tracks(tracks);
  }

  /** The browser's statistics; to be called once a second. */
  async stats() {
    const report = await this.pc.getStats();
    this.#setJitterBuffer(report);
    return report;
  }

  /** Sets the jitter buffer of all tracks to the same target, because audio and video are played in sync. */
  #setJitterBuffer(report = new Map()) {
    const all = [...report.values()];
    const videos = all.filter((x) => x.type === 'inbound-rtp' && x.kind === 'video');
    const sum = (key) => videos.reduce((total, x) => total + (x[key] ?? 0), 0);
    const trips = all.map((x) => (x.type === 'candidate-pair' ? (x.currentRoundTripTime ?? 0) * 1000 : 0));
    const numbers = { packets: sum('packetsReceived'), nacks: sum('nackCount'), roundTripMs: Math.max(0, ...trips) };
    const target = this.#target.update(numbers);
    for (const { receiver } of this.pc.getTransceivers()) {
      const differs = 'jitterBufferTarget' in receiver && receiver.jitterBufferTarget !== target;
      if (differs) receiver.jitterBufferTarget = target;
    }
  }
}

/** The role of each section in an answer, by `mid`: the name in `a=msid:classroom NAME`. */
export function rolesOf(sdp) {
  const roles = new Map();
  for (const section of sdp.split(/\r?\nm=/).slice(1)) {
    const mid = /^a=mid:(\S+)/m.exec(section)?.[1];
    const role = /^a=msid:\S+ (audio|screen|camera)\b/m.exec(section)?.[1];
    if (mid && role && !/^a=inactive/m.test(section)) roles.set(mid, role);
  }
  return roles;
}

/** The target on a good path: a margin for late packets. The browser takes more where it must. */
const USUAL_MS = 50;
const MOST_MS = 300;

/**
 * The additional target on a lossy path. If a retransmission is lost, the browser repeats the NACK after 100 ms, for
 * which it looks every 20 ms, and it detects the loss when the next frame arrives. The retransmission itself takes one
 * round trip.
 */
const SECOND_RTX_MS = 160;

/** A path is lossy with this many NACKs per second, and this share of all packets. */
const LEAST_NACKS = 2;
const NACK_SHARE = 0.01;

/** A path is good again after this many seconds with fewer. */
const CALM_S = 10;

class JitterBufferTarget {
  #before = null;
  #calm = CALM_S;

  /** To be called once a second with the total `packets` of video and `nacks` for them; returns milliseconds. */
  update({ packets, nacks, roundTripMs }) {
    const before = this.#before ?? { packets, nacks };
    this.#before = { packets, nacks };
    const recent = nacks - before.nacks;
    const isLossy = recent >= LEAST_NACKS && recent >= NACK_SHARE * (packets - before.packets);
    this.#calm = isLossy ? 0 : this.#calm + 1;
    return this.#calm >= CALM_S ? USUAL_MS : Math.min(MOST_MS, SECOND_RTX_MS + (roundTripMs ?? 0));
  }
}

// One connection to the teacher: sound, two pictures and the data channel come over it.

const LABEL = 'classroom';
/** Radio links are silent for a second or two; after this, a new connection is quicker. */
const DISCONNECTED_MS = 4_000;

/** Whether this browser can do it at all. */
export const hasWebrtc = () => typeof RTCPeerConnection === 'function';

/**
 * The offer, as the teacher gets it: no browser offers to ask for lost sound again, but Chromium does where the answer
 * allows it (RFC 4585, 4.2). Others don't mind.
 */
const withAudioNack = (sdp) => sdp.replace(/a=rtpmap:(\d+) opus\/48000\/2\r\n/i, '$&a=rtcp-fb:$1 nack\r\n');

export class Peer {
  #pc;
  #on;
  #offer;
  #sent = false;
  #waiting = [];
  #closed = false;
  #timer = 0;
  #target = new JitterBufferTarget();

  /**
   * Prepares an offer. `on` has `candidate(c)`, `tracks({audio, screen, camera})`, `connected()`, `disturbed()` and
   * `gone()`.
   */
  constructor(on) {
    this.#on = on;
    const pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    this.#pc = pc;
    for (const kind of ['audio', 'video', 'video']) pc.addTransceiver(kind, { direction: 'recvonly' });
    this.channel = pc.createDataChannel(LABEL);
    this.#offer = pc.createOffer();
    this.#offer.catch(() => {});
    pc.onicecandidate = ({ candidate }) => this.#candidate(candidate?.toJSON() ?? { candidate: '' });
    pc.onconnectionstatechange = () => this.#changed(pc.connectionState);
  }

  /** The offer; from now on addresses are gathered. */
  async offer(iceServers) {
    if (iceServers.length > 0) this.#pc.setConfiguration({ ...this.#pc.getConfiguration(), iceServers });
    await this.#pc.setLocalDescription(await this.#offer);
    return withAudioNack(this.#pc.localDescription.sdp);
  }

  /** The offer is on its way, so candidates may follow. */
  offered() {
    this.#sent = true;
    for (const candidate of this.#waiting.splice(0)) this.#on.candidate(candidate);
  }

  /** Takes the answer and hands out the tracks that it brings. */
  async answer(sdp) {
    await this.#pc.setRemoteDescription({ type: 'answer', sdp });
    if (this.#closed) return;
    const roles = rolesOf(sdp);
    const tracks = {};
    for (const transceiver of this.#pc.getTransceivers()) {
      const role = roles.get(transceiver.mid);
      if (!role) continue;
      tracks[role] = transceiver.receiver.track;
      const transport = transceiver.receiver.transport;
      if (transport && !transport.onstatechange) {
        transport.onstatechange = () => transport.state === 'closed' && this.#changed('closed');
      }
    }
    this.#setJitterBuffer();
    this.#on.tracks(tracks);
  }

  /** Adds an address of the teacher; one that can't be read is no harm, there are others. */
  candidate(candidate) {
    if (candidate) this.#pc.addIceCandidate(candidate).catch(() => {});
  }

  /** The browser's numbers, to be asked for once a second. */
  async stats() {
    const report = await this.#pc.getStats();
    this.#setJitterBuffer(report);
    return report;
  }

  /** Whether media can flow. */
  get isConnected() {
    return this.#pc.connectionState === 'connected';
  }

  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#pc.close();
  }

  /** Packets are waited for as long as the line needs it: sound as well as pictures, which go together. */
  #setJitterBuffer(report = new Map()) {
    const all = [...report.values()];
    const videos = all.filter((x) => x.type === 'inbound-rtp' && x.kind === 'video');
    const sum = (key) => videos.reduce((total, x) => total + (x[key] ?? 0), 0);
    const trips = all.map((x) => (x.type === 'candidate-pair' ? (x.currentRoundTripTime ?? 0) * 1000 : 0));
    const numbers = { packets: sum('packetsReceived'), nacks: sum('nackCount'), roundTripMs: Math.max(0, ...trips) };
    const target = this.#target.update(numbers);
    for (const { receiver } of this.#pc.getTransceivers()) {
      if ('jitterBufferTarget' in receiver && receiver.jitterBufferTarget !== target) receiver.jitterBufferTarget = target;
    }
  }

  #candidate(candidate) {
    if (this.#closed) return;
    if (this.#sent) this.#on.candidate(candidate);
    else this.#waiting.push(candidate);
  }

  #changed(state) {
    if (this.#closed) return;
    clearTimeout(this.#timer);
    if (state === 'connected') this.#on.connected();
    if (state === 'disconnected') {
      this.#on.disturbed();
      this.#timer = setTimeout(() => this.#on.gone(), DISCONNECTED_MS);
    }
    if (state === 'failed' || state === 'closed') this.#on.gone();
  }
}

/** What each section of an answer carries: its `mid`, and the name in `a=msid:classroom NAME`. */
export function rolesOf(sdp) {
  const roles = new Map();
  for (const section of sdp.split(/\r?\nm=/).slice(1)) {
    const mid = /^a=mid:(\S+)/m.exec(section)?.[1];
    const role = /^a=msid:\S+ (audio|screen|camera)\b/m.exec(section)?.[1];
    if (mid && role && !/^a=inactive/m.test(section)) roles.set(mid, role);
  }
  return roles;
}

/** A little room for packets that come late; the browser takes more where it must. */
const USUAL_MS = 50;
const MOST_MS = 300;

/**
 * Where a repair gets lost, too, a browser asks again after 100 ms, which it looks for every 20 ms; and what is missing is
 * seen when the next picture comes. The repair itself takes a round trip.
 */
const SECOND_RTX_MS = 160;

/** So many repairs in a second, and this share of all packets, are more than an accident. */
const LEAST_NACKS = 2;
const NACK_SHARE = 0.01;

/** After so many seconds without that, the line is good again. */
const CALM_S = 10;

class JitterBufferTarget {
  #before = null;
  #calm = CALM_S;

  /** Told once a second of the `packets` of pictures and the `nacks` for them until now, gives milliseconds. */
  update({ packets, nacks, roundTripMs }) {
    const before = this.#before ?? { packets, nacks };
    this.#before = { packets, nacks };
    const recent = nacks - before.nacks;
    const isLossy = recent >= LEAST_NACKS && recent >= NACK_SHARE * (packets - before.packets);
    this.#calm = isLossy ? 0 : this.#calm + 1;
    return this.#calm >= CALM_S ? USUAL_MS : Math.min(MOST_MS, SECOND_RTX_MS + (roundTripMs ?? 0));
  }
}

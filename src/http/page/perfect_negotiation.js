// Perfect negotiation of one peer connection (W3C webrtc-pc, 10.7): both sides may offer at any time. A signalling
// connection that dies takes messages with it, so an offer without an answer is sent again.

/** The media sections of a connection between participants. */
const SECTIONS = 'audio video video';

export class PerfectNegotiation {
  /** When the last description was applied or sent, by `performance.now()`. */
  at = performance.now();
  #pc;
  #isPolite;
  #on;
  #isMakingOffer = false;
  #ignoresOffer = false;
  #isSettingAnswer = false;
  /** Candidates wait for the description that they belong to; `null` while none is being made. */
  #held = null;

  /**
   * `on` has `send(message)`, which returns whether the message is on its way, and `offered()`, called for each offer
   * before its answer is made.
   */
  constructor(pc, isPolite, on) {
    this.#pc = pc;
    this.#isPolite = isPolite;
    this.#on = on;
    pc.onnegotiationneeded = () => this.#offer();
    pc.onicecandidate = ({ candidate }) => this.#candidate(candidate?.toJSON() ?? { candidate: '' });
  }

  /** Whether an offer of this side waits for its answer. */
  get isUnanswered() {
    return this.#pc.signalingState === 'have-local-offer' && !this.#isSettingAnswer;
  }

  /** Whether this description may belong to this connection: with the certificate of another one, it does not. */
  fits(sdp) {
    const known = this.#pc.remoteDescription;
    return !known || fingerprintOf(known.sdp) === fingerprintOf(sdp);
  }

  /**
   * Whether an offer of the other side needs a connection without an offer. By a rollback, a connection that has never
   * been negotiated would keep its own transceivers beside those of the other side (RFC 8829, 5.10).
   */
  get mustYield() {
    return this.#isPolite && !this.#pc.remoteDescription && (this.#isMakingOffer || this.isUnanswered);
  }

  /** Sends the offer again. The description has the candidates that were found meanwhile. */
  repeat() {
    if (this.isUnanswered) this.#tell();
  }

  /** Applies an offer and answers, unless this side has offered and is not polite. */
  async offer(sdp) {
    const pc = this.#pc;
    const isReady = !this.#isMakingOffer && (pc.signalingState === 'stable' || this.#isSettingAnswer);
    this.#ignoresOffer = !isReady && !this.#isPolite;
    if (this.#ignoresOffer) return;
    await this.#describe(async () => {
      await pc.setRemoteDescription({ type: 'offer', sdp: withoutLeftovers(sdp) });
      this.#on.offered();
      // If another offer has come meanwhile, the first of the two answers is for that one, and the second one fails.
      await pc.setLocalDescription(await pc.createAnswer());
    });
  }

  /** Applies an answer. A repeated one is ignored. */
  async answer(sdp) {
    const pc = this.#pc;
    if (!this.isUnanswered || this.#isLate(sdp)) return;
    this.#ignoresOffer = false;
    this.#isSettingAnswer = true;
    try {
      await pc.setRemoteDescription({ type: 'answer', sdp: withoutLeftovers(sdp) });
      this.at = performance.now();
    } finally {
      this.#isSettingAnswer = false;
    }
  }

  /** Adds a candidate of the other side. An invalid one does no harm, there are others. */
  candidate(candidate) {
    if (candidate && !this.#ignoresOffer) this.#pc.addIceCandidate(candidate).catch(() => {});
  }

  async #offer() {
    this.#isMakingOffer = true;
    try {
      await this.#describe(() => this.#pc.setLocalDescription());
    } catch {
      // The connection was closed, or has taken an offer of the other side.
    } finally {
      this.#isMakingOffer = false;
    }
  }

  async #describe(work) {
    this.#held ??= [];
    try {
      await work();
      this.#tell();
    } finally {
      const held = this.#held ?? [];
      this.#held = null;
      for (const candidate of held) this.#candidate(candidate);
    }
  }

  #tell() {
    const { type, sdp } = this.#pc.localDescription;
    this.#on.send({ type, sdp });
    this.at = performance.now();
  }

  #candidate(candidate) {
    if (this.#held) this.#held.push(candidate);
    else this.#on.send({ type: 'candidate', candidate });
  }

  /** Whether this answer has answered an offer before: the answer to an ICE restart has other credentials. */
  #isLate(sdp) {
    const { currentLocalDescription, pendingLocalDescription, currentRemoteDescription } = this.#pc;
    if (!currentLocalDescription || !pendingLocalDescription) return false;
    const isRestart = credentialsOf(pendingLocalDescription.sdp) !== credentialsOf(currentLocalDescription.sdp);
    return isRestart && credentialsOf(currentRemoteDescription.sdp) === credentialsOf(sdp);
  }
}

/** Whether a description has the sections of a connection between participants, in their order. */
export function isOfParticipant(sdp) {
  const sections = [...sdp.matchAll(/^m=(\w+)/gm)].map(([, kind]) => kind);
  const channels = sections.filter((kind) => kind === 'application');
  return channels.length <= 1 && sections.filter((kind) => kind !== 'application').join(' ') === SECTIONS;
}

/**
 * A description without attributes of codecs that it does not list. Firefox leaves `a=rtcp-fb` of codecs that
 * `setCodecPreferences` has removed, and Chromium refuses such a description.
 */
export function withoutLeftovers(sdp) {
  let listed = [];
  const isKept = (line) => {
    if (line.startsWith('m=')) listed = line.split(' ').slice(3);
    const [, payloadType] = /^a=(?:rtpmap|rtcp-fb|fmtp):(\d+) /.exec(line) ?? [];
    return payloadType === undefined || listed.includes(payloadType);
  };
  return sdp.split('\r\n').filter(isKept).join('\r\n');
}

const fingerprintOf = (sdp) => /^a=fingerprint:(.*?)\s*$/m.exec(sdp)?.[1].toLowerCase();
const credentialsOf = (sdp) => /^a=ice-ufrag:(\S+)/m.exec(sdp)?.[1];

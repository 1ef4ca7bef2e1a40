// The network of peer connections in Node.js: ICE connects two of them once each has the other's description and one
// knows a candidate. A way between two may be silent for a while, or dead until both have other ICE credentials.

import { FakePeerConnection } from './fake_peers.mjs';
import { random } from './virtual_time.mjs';

/** How long ICE and DTLS take, in milliseconds: least and most. */
const CONNECT_MS = [30, 300];
/** After silence of these times, a connection is `disconnected` and then `failed`. */
const DISCONNECTED_MS = 3_000;
const FAILED_MS = 15_000;

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

  /** The statistics of a connection: packets and pictures arrive as long as its way works. */
  statsOf(pc) {
    const way = this.#wayOf(pc);
    const isOpen = way && !way.isDead && this.#time.now >= way.silentUntil;
    if (isOpen && pc.connectionState === 'connected') pc.heardAt = Math.ceil(this.#time.now);
    const arrived = { bytesReceived: pc.heardAt ?? 0, responsesReceived: pc.heardAt ?? 0 };
    return new Map([
      ['path', { type: 'candidate-pair', nominated: true, ...arrived }],
      ['video', { type: 'inbound-rtp', kind: 'video', framesDecoded: pc.heardAt ?? 0 }],
    ]);
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
    return this.#ways.has(pc.way) ? pc.way : undefined;
  }

  /** Whether the newest descriptions have connected these two, and the way lives. */
  #connects(pc, other) {
    const way = this.#wayOf(pc);
    return way && !way.isDead && way.ends.includes(other) && way.credentials === credentialsOf([pc, other]);
  }

  #connect(pc, other) {
    for (const end of [pc, other]) this.#ways.delete(this.#wayOf(end));
    const ends = [pc, other];
    const way = { ends, credentials: credentialsOf(ends), isDead: false, silentUntil: 0 };
    this.#ways.add(way);
    for (const end of ends) end.way = way;
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

/** Replaces what the modules of the page use of a browser. `owner()` names who makes a connection. */
export function install(network, owner) {
  globalThis.RTCPeerConnection = network.peerConnection(owner);
  globalThis.RTCRtpSender = { getCapabilities: () => ({ codecs: [] }) };
}

// The peer connection between two participants, which carries audio, screen and camera both ways, and a data channel.
// The participants negotiate once; later only an ICE restart needs another offer.

import { BITRATES, FRAME_RATES, PRIORITIES, ROLES, change, kindOf, prefer } from './encodings.js';
import { FILE_LABEL } from './file_rules.js';
import { Measure } from './pair_stats.js';
import { PerfectNegotiation, isOfParticipant } from './perfect_negotiation.js';

const LABEL = 'classroom';

/** How often to look whether something has to be done. */
const LOOK_MS = 500;
/** An offer without an answer is sent again after this time. */
const ANSWER_WITHIN_MS = 2_000;
/** Wi-Fi is silent for a second or two at times; after this time, ICE restarts. */
const DISCONNECTED_MS = 2_000;
/** ICE restarts if a connection does not work this soon after its descriptions. */
const CONNECT_WITHIN_MS = 4_000;
/** A connection that was lost for this time is replaced. */
const LOST_MS = 10_000;
/** If nothing has arrived for this time when signalling works again, the path is dead: ICE asks every 2.5 s. */
const STILL_MS = 3_000;

/** A camera has at least this bitrate, in bit/s, however many share the uplink; a screen must stay legible. */
const LEAST = { screen: 400_000, camera: 150_000 };
/** With this many pairs, a camera is sent in half its size. */
const PAIRS_OF_SMALL_CAMERA = 4;

export class Pair {
  /** `connecting`, `connected`, `reconnecting`, or `lost` after some seconds without a connection. */
  state = 'connecting';
  /** When the connection was lost or first wanted, by `performance.now()`; 0 while there is one. */
  since = performance.now();
  /** Whether media could flow at any time. */
  wasConnected = false;
  /** The received tracks, `null` before the negotiation. */
  media = { audio: null, screen: null, camera: null };
  /** The data channel; `null` before the negotiation. */
  channel = null;
  /** What arrives and how the uplink does: see `Measure`. */
  measure = new Measure();
  #room;
  #on;
  #isPolite;
  #isClosed = false;
  #pc = null;
  #negotiation;
  #transceivers = {};
  #pairs = 1;
  #isHeld = false;
  #beat;

  /**
   * `me` and `other` are participants, `{ userId, entry }`. `room` has `signalling`, `iceServers` and `tracks()`, the
   * tracks to send, `{ audio, screen, camera }`, each may be `null`. `on` has `changed()` for a view, `opened(channel)`
   * and `message(data)` for the data channel, and `file(channel)`, which returns whether a channel of the other side
   * brings a file that is wanted.
   */
  constructor(me, other, room, on) {
    this.other = other;
    this.#room = room;
    this.#on = on;
    this.#isPolite = me.userId < other.userId;
    this.#open(me.entry > other.entry);
    this.#beat = setInterval(() => this.#look(), LOOK_MS);
  }

  get isConnected() {
    return this.state === 'connected';
  }

  get entry() {
    return this.other.entry;
  }

  get isSpeaking() {
    return this.measure.isSpeaking;
  }

  /** Sends the present track of the room in this role; nothing is negotiated. */
  replace(role) {
    const transceiver = this.#transceivers[role];
    if (!transceiver) return;
    // A track that ended meanwhile is refused.
    transceiver.sender.replaceTrack(this.#track(role)).catch(() => {});
    this.#tune(role);
  }

  /** The other side needs no media of this pair any more, or again. */
  hold(isHeld) {
    if (isHeld === this.#isHeld) return;
    this.#isHeld = isHeld;
    for (const role of ROLES) this.replace(role);
  }

  /** So many pairs share the uplink. */
  share(pairs) {
    if (pairs === this.#pairs) return;
    this.#pairs = pairs;
    for (const role of ROLES) this.#tune(role);
  }

  /** An offer, an answer or a candidate of the other participant. */
  async signalled({ type, sdp, candidate }) {
    if (type === 'candidate') return this.#negotiation.candidate(candidate);
    if (!isOfParticipant(String(sdp))) return;
    const fits = this.#negotiation.fits(sdp);
    if (type === 'offer' && (!fits || this.#negotiation.mustYield)) this.#open(false);
    // The other side has a new connection, and has not heard of this one.
    if (type === 'answer' && !fits) return this.#open(true);
    const negotiation = this.#negotiation;
    try {
      if (type === 'offer') await negotiation.offer(sdp);
      else await negotiation.answer(sdp);
    } catch (error) {
      // The next offer of either side, or a new connection, follows in some seconds. If the state is another one now,
      // another description was faster.
      if (this.#isClosed || negotiation !== this.#negotiation || error.name === 'InvalidStateError') return;
      console.warn(`the ${type} of ${this.other.userId} was not applied: ${error}`);
    }
  }

  /** Signalling works again after a dead path. What was sent before may be lost. */
  mend() {
    if (this.#negotiation.isUnanswered) return this.#negotiation.repeat();
    if (!this.isConnected || performance.now() - this.measure.at > STILL_MS) this.#restart();
  }

  /** Sends text or bytes over the data channel. Returns whether the channel was open. */
  say(data) {
    if (this.channel?.readyState !== 'open') return false;
    try {
      this.channel.send(data);
    } catch {
      // The browser's buffer is full, or the message is too long for the other side.
      return false;
    }
    return true;
  }

  /** Opens a data channel for a file; `null` without a connection. */
  openFile(id) {
    return this.isConnected ? this.#pc.createDataChannel(FILE_LABEL, { protocol: id }) : null;
  }

  /** To be called once a second: reads the statistics. */
  async second() {
    const pc = this.#pc;
    const report = await pc.getStats().catch(() => null);
    if (!report || pc !== this.#pc) return;
    this.measure.update(report, this.media);
    // The last report about media says nothing once none is sent.
    if (this.#isHeld) Object.assign(this.measure, { lost: 0, limitedBy: 'none' });
  }

  /** The bitrate that this pair's video may have, in bit/s. */
  get wantedBitrate() {
    return ['screen', 'camera'].reduce((sum, role) => sum + (this.#track(role) ? this.#bitrate(role) : 0), 0);
  }

  close() {
    this.#isClosed = true;
    clearInterval(this.#beat);
    this.#pc.close();
  }

  /** Makes a new connection. The side that does not offer gets its transceivers from the offer. */
  #open(offers) {
    this.#pc?.close();
    const { iceServers, signalling } = this.#room;
    const pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle', iceServers });
    this.#pc = pc;
    this.#transceivers = {};
    this.channel = null;
    const isCurrent = () => pc === this.#pc && !this.#isClosed;
    this.#negotiation = new PerfectNegotiation(pc, this.#isPolite, {
      send: (message) => {
        const { userId: targetUid, entry } = this.other;
        return isCurrent() && signalling.send({ ...message, targetUid, entry });
      },
      offered: () => isCurrent() && this.#adopt(),
    });
    pc.onconnectionstatechange = () => isCurrent() && this.#becomes(pc.connectionState);
    pc.ondatachannel = ({ channel }) => {
      const isFirst = !this.channel && channel.label === LABEL;
      if (isCurrent() && isFirst) this.#listen(channel);
      else if (!isCurrent() || channel.label !== FILE_LABEL || !this.#on.file(channel)) channel.close();
    };
    if (!offers) return;
    for (const role of ROLES) {
      const transceiver = pc.addTransceiver(this.#track(role) ?? kindOf(role), { direction: 'sendrecv' });
      if (role !== 'audio') prefer(transceiver);
      this.#use(role, transceiver);
    }
    this.#listen(pc.createDataChannel(LABEL));
  }

  /** Takes the transceivers of an offer, in the order of its sections. */
  #adopt() {
    if (this.#transceivers.audio) return;
    const transceivers = this.#pc.getTransceivers();
    ROLES.forEach((role, at) => {
      transceivers[at].direction = 'sendrecv';
      this.#use(role, transceivers[at]);
      this.replace(role);
    });
    this.#on.changed();
  }

  #use(role, transceiver) {
    this.#transceivers[role] = transceiver;
    this.media = { ...this.media, [role]: transceiver.receiver.track };
    this.#tune(role);
  }

  #listen(channel) {
    this.channel = channel;
    channel.binaryType = 'arraybuffer';
    channel.onopen = () => channel === this.channel && this.#on.opened(channel);
    channel.onmessage = ({ data }) => channel === this.channel && this.#on.message(data);
  }

  #becomes(state) {
    if (state === 'connected') {
      this.wasConnected = true;
      this.state = 'connected';
      this.since = 0;
      for (const role of ROLES) this.#tune(role);
    } else if (state === 'disconnected' || state === 'failed') {
      this.#room.signalling.check();
      if (!this.since) {
        this.since = performance.now();
        this.state = 'reconnecting';
      }
      if (state === 'failed') this.#restart();
    } else {
      return;
    }
    this.#on.changed();
  }

  /** Does what is due. An offer on a dead path would wait in the socket for seconds, so the path is checked first. */
  #look() {
    const now = performance.now();
    const waited = now - this.#negotiation.at;
    if (this.since && now - this.since >= LOST_MS) return this.#lost();
    const { signalling } = this.#room;
    if (this.#negotiation.isUnanswered) {
      if (waited < ANSWER_WITHIN_MS) return;
      if (signalling.isSure) this.#negotiation.repeat();
      else signalling.check();
    } else if (this.since && waited >= CONNECT_WITHIN_MS && now - this.since >= DISCONNECTED_MS) {
      if (signalling.isSure) this.#restart();
      else signalling.check();
    }
  }

  #lost() {
    this.state = 'lost';
    this.since = performance.now();
    this.#open(true);
    this.#on.changed();
  }

  /** Asks for a new offer. Before the first one there is nothing to restart. */
  #restart() {
    if (this.#pc.remoteDescription) this.#pc.restartIce();
  }

  #track(role) {
    return this.#isHeld ? null : (this.#room.tracks()[role] ?? null);
  }

  #bitrate(role) {
    return Math.max(LEAST[role], Math.round(BITRATES[role] / this.#pairs));
  }

  /** The share of the uplink, and what suffers first: letters must stay sharp; in a face, movement matters as much. */
  #tune(role) {
    const transceiver = this.#transceivers[role];
    if (!transceiver) return;
    change(transceiver.sender, (parameters) => {
      const [encoding] = parameters.encodings;
      if (encoding) Object.assign(encoding, this.#encoding(role));
      const isText = transceiver.sender.track?.contentHint === 'detail';
      if (role !== 'audio') parameters.degradationPreference = isText ? 'maintain-resolution' : 'balanced';
    });
  }

  #encoding(role) {
    const priority = PRIORITIES[role];
    if (role === 'audio') return { priority, maxBitrate: BITRATES.audio };
    const isSmall = role === 'camera' && this.#pairs >= PAIRS_OF_SMALL_CAMERA;
    const scaleResolutionDownBy = isSmall ? 2 : 1;
    return { priority, maxBitrate: this.#bitrate(role), maxFramerate: FRAME_RATES[role], scaleResolutionDownBy };
  }
}

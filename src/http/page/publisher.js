// The teacher's peer connection: audio, screen and camera, which it only sends, each video in two encodings.

import { Connection } from './peer.js';

/**
 * The video codecs of an offer, the preferred one first. Every browser decodes VP8, and every browser encodes it in two
 * encodings at once; H.264 is missing in some builds of Chromium and, without a plug-in, in Firefox.
 */
const VIDEO_CODECS = ['video/VP8', 'video/H264'];

/** The bitrates of the best encoding and of audio, in bit/s. A low encoding has a quarter (`Tier`). */
const BITRATES = { audio: 64_000, screen: 2_500_000, camera: 1_200_000 };
/** Frames per second of the best encoding. */
const FRAME_RATES = { screen: 30, camera: 30 };
/** Text stays whole in the low encoding, with few frames per second; a film has half the size and half the frames. */
const LOW_TEXT_FRAME_RATE = 5;
const LOW_FILM_SHARE = 2;

/** Sound comes first, then the screen, where a connection does not carry all. */
const PRIORITIES = { audio: 'high', screen: 'medium', camera: 'low' };

/** The rids of the tiers, best first. */
export const RIDS = { full: 'f', low: 'l' };

const ROLES = ['audio', 'screen', 'camera'];

export class Publisher extends Connection {
  #content;
  #transceivers = {};
  /** The needed tiers of each video. */
  #needed = { screen: { full: true, low: true }, camera: { full: true, low: true } };
  /** The last change of each sender's parameters; the next one waits, as browsers refuse parameters that are old. */
  #changes = {};

  /** `tracks` has `{ audio, screen, camera }`, each may be `null`; `content` is that of the screen. */
  constructor(tracks, content, on) {
    super(on);
    this.#content = content;
    for (const role of ROLES) {
      const sendEncodings = role === 'audio' ? undefined : this.#encodings(role);
      const init = { direction: 'sendonly', ...(sendEncodings ? { sendEncodings } : {}) };
      const transceiver = this.pc.addTransceiver(tracks[role] ?? kindOf(role), init);
      this.#transceivers[role] = transceiver;
      if (role !== 'audio') prefer(transceiver);
      this.#prepare(role);
    }
  }

  /** Returns `{ sdp, tracks }`, an offer with the track of each `mid`, and starts to gather candidates. */
  async offer(iceServers) {
    const sdp = await this.apply(this.pc.createOffer(), iceServers);
    const tracks = Object.fromEntries(ROLES.map((role) => [this.#transceivers[role].mid, role]));
    return { sdp, tracks };
  }

  /** Sends another track in this role, or none; nothing is negotiated. */
  replace(role, track) {
    return this.#transceivers[role].sender.replaceTrack(track).catch(() => {});
  }

  /** Another content of the screen. */
  set content(content) {
    this.#content = content;
    this.#change('screen');
  }

  /** Sends only the needed encodings, a list of `{ track, tier }`. */
  set needed(list) {
    for (const role of ['screen', 'camera']) {
      for (const tier of ['full', 'low']) {
        this.#needed[role][tier] = list.some((one) => one.track === role && one.tier === tier);
      }
      this.#change(role);
    }
  }

  /** The browser's statistics, and the role of each `mid`. */
  async stats() {
    const roles = new Map(ROLES.map((role) => [this.#transceivers[role].mid, role]));
    return { report: [...(await this.pc.getStats()).values()], roles };
  }

  #encodings(role) {
    const isText = role === 'screen' && this.#content === 'text';
    const low = isText
      ? { scaleResolutionDownBy: 1, maxFramerate: LOW_TEXT_FRAME_RATE }
      : { scaleResolutionDownBy: LOW_FILM_SHARE, maxFramerate: FRAME_RATES[role] / LOW_FILM_SHARE };
    const needed = this.#needed[role];
    return [
      {
        rid: RIDS.full,
        active: needed.full,
        maxBitrate: BITRATES[role],
        maxFramerate: FRAME_RATES[role],
        scaleResolutionDownBy: 1,
        // Chromium takes the priority of all encodings from the first one, and refuses others.
        priority: PRIORITIES[role],
      },
      { rid: RIDS.low, active: needed.low, maxBitrate: BITRATES[role] / 4, ...low },
    ];
  }

  /** The parameters that an offer does not take. */
  #prepare(role) {
    const settings = role === 'audio'
      ? (parameters) => {
        const [encoding] = parameters.encodings;
        if (encoding) Object.assign(encoding, { maxBitrate: BITRATES.audio, priority: PRIORITIES.audio });
      }
      : (parameters) => (parameters.degradationPreference = this.#preference(role));
    this.#set(role, settings);
  }

  /** Letters must stay sharp; in a film and a face, movement matters as much. */
  #preference(role) {
    return role === 'screen' && this.#content === 'text' ? 'maintain-resolution' : 'balanced';
  }

  #change(role) {
    this.#set(role, (parameters) => {
      const wanted = new Map(this.#encodings(role).map((encoding) => [encoding.rid, encoding]));
      for (const encoding of parameters.encodings) Object.assign(encoding, wanted.get(encoding.rid));
      parameters.degradationPreference = this.#preference(role);
    });
  }

  #set(role, edit) {
    const { sender } = this.#transceivers[role];
    const change = async () => {
      if (this.isClosed) return;
      const parameters = sender.getParameters();
      edit(parameters);
      // A browser that does not know a field ignores it; one that refuses the change goes on as before.
      await sender.setParameters(parameters).catch(() => {});
    };
    this.#changes[role] = (this.#changes[role] ?? Promise.resolve()).then(change);
  }
}

const kindOf = (role) => (role === 'audio' ? 'audio' : 'video');

/** Offers the codecs of a lecture only, in their order, with RTX. */
function prefer(transceiver) {
  const all = RTCRtpSender.getCapabilities?.('video')?.codecs ?? [];
  const order = VIDEO_CODECS.map((name) => name.toLowerCase());
  const rank = ({ mimeType }) => order.indexOf(mimeType.toLowerCase());
  const video = all.filter((codec) => rank(codec) >= 0).sort((a, b) => rank(a) - rank(b));
  const rtx = all.filter(({ mimeType }) => mimeType.toLowerCase() === 'video/rtx');
  if (video.length === 0) return;
  try {
    transceiver.setCodecPreferences?.([...video, ...rtx]);
  } catch {
    // The browser's own order includes both.
  }
}

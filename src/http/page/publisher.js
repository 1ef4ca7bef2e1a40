// The teacher's peer connection: audio, screen and camera, which it only sends, each video in two encodings.

import { BITRATES, FRAME_RATES, PRIORITIES, ROLES, change, kindOf, prefer } from './encodings.js';
import { Connection } from './peer.js';

/** Text stays whole in the low encoding, with few frames per second; a film has half the size and half the frames. */
const LOW_TEXT_FRAME_RATE = 5;
const LOW_FILM_SHARE = 2;

/** The rids of the tiers, best first. */
export const RIDS = { full: 'f', low: 'l' };

export class Publisher extends Connection {
  #content;
  #transceivers = {};
  /** The needed tiers of each video. */
  #needed = { screen: { full: true, low: true }, camera: { full: true, low: true } };

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

  /** The low encoding has a quarter of the bitrate (`Tier`). */
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
    change(this.#transceivers[role].sender, (parameters) => !this.isClosed && edit(parameters));
  }
}

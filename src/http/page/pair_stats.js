// What the statistics of a pair say: what arrives, and whether the uplink or the computer is overloaded.

/** The mean power of a second with speech: -40 dBFS. A quiet room is below. */
const SPEECH = 1e-4;

export class Measure {
  /** When something arrived last, media or an answer of ICE, by `performance.now()`. */
  at = performance.now();
  /** Bytes of media that arrived in all, and in the last second. */
  bytes = 0;
  bps = 0;
  /** Of each video: frames that were decoded and freezes in all, and the size. */
  videos = {};
  /** The sound of the other participant: its level from 0 to 1, and whether it is speech. */
  audioLevel = 0;
  isSpeaking = false;
  /** The round trip in milliseconds. */
  roundTripMs = 0;
  /** The reason for which this browser sends less video: `none`, `cpu`, `bandwidth` or `other`. */
  limitedBy = 'none';
  /** The estimate of the path's bitrate in bit/s; 0 if unknown. */
  available = 0;
  /** The share of lost packets that the other side reports, from 0 to 1. */
  lost = 0;
  #before = null;

  /** The next report of `getStats`, about a second after the last one; `media` has the received tracks. */
  update(report, media) {
    const all = [...report.values()];
    const of = (type) => all.filter((entry) => entry.type === type);
    const sum = (entries, key) => entries.reduce((total, entry) => total + (entry[key] ?? 0), 0);
    const worst = (entries, key) => Math.max(0, ...entries.map((entry) => entry[key] ?? 0));
    const inbound = of('inbound-rtp');
    const paths = of('candidate-pair');
    const now = performance.now();
    const next = { now, bytes: sum(inbound, 'bytesReceived') };
    next.signs = next.bytes + sum(paths, 'responsesReceived') + sum(paths, 'requestsReceived');
    const audio = inbound.find(({ kind }) => kind === 'audio');
    Object.assign(next, { energy: audio?.totalAudioEnergy ?? 0, duration: audio?.totalSamplesDuration ?? 0 });
    const before = this.#before ?? { ...next, signs: 0 };
    this.#before = next;
    // A new connection counts from zero.
    if (next.signs !== before.signs) this.at = now;
    this.bytes = next.bytes;
    this.bps = now > before.now ? Math.max(0, (8_000 * (next.bytes - before.bytes)) / (now - before.now)) : 0;
    const heard = next.duration - before.duration;
    this.isSpeaking = heard > 0 && (next.energy - before.energy) / heard > SPEECH;
    this.audioLevel = audio?.audioLevel ?? 0;
    this.videos = videosOf(inbound, media);
    this.roundTripMs = 1_000 * worst(paths.filter(({ nominated }) => nominated), 'currentRoundTripTime');
    this.available = worst(paths, 'availableOutgoingBitrate');
    this.lost = worst(of('remote-inbound-rtp'), 'fractionLost');
    const reasons = of('outbound-rtp').map(({ qualityLimitationReason }) => qualityLimitationReason ?? 'none');
    this.limitedBy = ['cpu', 'bandwidth', 'other'].find((reason) => reasons.includes(reason)) ?? 'none';
  }
}

function videosOf(inbound, media) {
  const videos = {};
  for (const role of ['screen', 'camera']) {
    const entry = inbound.find(({ trackIdentifier }) => trackIdentifier && trackIdentifier === media[role]?.id);
    if (!entry) continue;
    const { framesDecoded: frames = 0, freezeCount: freezes = 0, frameWidth = 0, frameHeight = 0 } = entry;
    videos[role] = { frames, freezes, width: frameWidth, height: frameHeight };
  }
  return videos;
}

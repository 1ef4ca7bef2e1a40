// The state of a teacher's uplink, as numbers and as a sentence. This file touches no element and no connection.

/** Below this share of its bitrate, a video that the browser calls limited by bandwidth has really less. */
const ENOUGH = 0.8;
/** Loss from which a sentence is worth it. */
const LOSSY = 0.05;
/** The seconds in a row for which trouble must last. */
const LASTS_S = 3;
/** A server that has not told of the ingest for this time counts as silent. */
const HEARD_MS = 4_000;

const number = (value) => (Number.isFinite(value) ? value : 0);

/**
 * Reads a report of `getStats`, whose entries with a `mid` have a role in `roles`. `before` is the last result.
 * Returns `{ at, bytes, bps, received, videos: { screen, camera }, loss, rttMs, availableBps }`. A video has
 * `{ bytes, bps, fps, width, height, limit, tiers }`; `limit` is the browser's `qualityLimitationReason` of the best
 * tier that is sent, and `tiers` has the rids of those that are sent.
 */
export function measure(report, roles, now, before) {
  const sent = report.filter((entry) => entry.type === 'outbound-rtp');
  const pair = pairOf(report);
  const seconds = before ? (now - before.at) / 1_000 : 0;
  const videos = {};
  for (const role of ['screen', 'camera']) {
    const own = sent.filter((entry) => entry.kind === 'video' && roles.get(entry.mid) === role);
    const active = own.filter((entry) => entry.active !== false && number(entry.framesPerSecond) > 0);
    const best = active.sort((a, b) => number(b.targetBitrate) - number(a.targetBitrate))[0];
    const bytes = own.reduce((sum, entry) => sum + number(entry.bytesSent), 0);
    videos[role] = {
      bytes,
      bps: rate(bytes, before?.videos[role]?.bytes, seconds),
      fps: number(best?.framesPerSecond),
      width: number(best?.frameWidth),
      height: number(best?.frameHeight),
      limit: best?.qualityLimitationReason ?? 'none',
      tiers: active.map((entry) => entry.rid),
    };
  }
  const bytes = sent.reduce((sum, entry) => sum + number(entry.bytesSent), 0);
  const reports = report.filter((entry) => entry.type === 'remote-inbound-rtp');
  const losses = reports.map((entry) => number(entry.fractionLost));
  return {
    at: now,
    bytes,
    bps: rate(bytes, before?.bytes, seconds),
    received: number(pair?.bytesReceived),
    videos,
    loss: Math.max(0, ...losses),
    rttMs: number(pair?.currentRoundTripTime) * 1_000,
    availableBps: number(pair?.availableOutgoingBitrate),
  };
}

function rate(bytes, before, seconds) {
  return seconds > 0 && before !== undefined ? (8 * Math.max(0, bytes - before)) / seconds : 0;
}

/** The candidate pair in use. Firefox calls it `selected`. */
function pairOf(report) {
  const id = report.find((entry) => entry.type === 'transport')?.selectedCandidatePairId;
  const pairs = report.filter((entry) => entry.type === 'candidate-pair');
  return pairs.find((pair) => pair.id === id) ?? pairs.find((pair) => pair.selected || pair.nominated);
}

/** Follows an uplink and finds its trouble. */
export class Uplink {
  /** The latest numbers; `null` before the first ones. */
  numbers = null;
  /**
   * What the server receives and passes on: `{ tracks: [{ track, bitrate, loss, fps }], watched: [{ track, tier,
   * students }] }`; `null` if it has not told.
   */
  ingest = null;
  #ingestAt = -Infinity;
  #found = null;
  #seconds = 0;

  /** To be called once a second with the statistics. */
  update(report, roles, now) {
    this.numbers = measure(report, roles, now, this.numbers);
    const found = this.#find(now);
    this.#seconds = found?.key === this.#found?.key ? this.#seconds + 1 : 1;
    this.#found = found;
  }

  /** The server has told what it receives. */
  told(message, now) {
    const few = (value) => (Array.isArray(value) ? value.slice(0, 8) : []);
    this.ingest = {
      tracks: few(message.tracks).map(({ track, bitrate, lossPercent, fps }) => ({
        track: String(track),
        bitrate: number(bitrate),
        loss: number(lossPercent) / 100,
        fps: number(fps),
      })),
      watched: few(message.watched).map(({ track, tier, students }) => ({
        track: String(track),
        tier: String(tier),
        students: number(students),
      })),
    };
    this.#ingestAt = now;
  }

  /** The number of students who watch a video in this tier; `null` without a report of the server. */
  watching(role, tier) {
    const entry = this.ingest?.watched.find((one) => one.track === role && one.tier === tier);
    return this.ingest ? (entry?.students ?? 0) : null;
  }

  /** Forgets the numbers of the old connection. */
  reset() {
    this.numbers = null;
    this.#found = null;
    this.#seconds = 0;
  }

  /** The bitrate that the server receives, in bit/s; without a recent report of the server, the sent bitrate. */
  bps(now) {
    const isHeard = this.ingest && now - this.#ingestAt < HEARD_MS && this.ingest.tracks.length > 0;
    if (isHeard) return this.ingest.tracks.reduce((sum, { bitrate }) => sum + bitrate, 0);
    return this.numbers?.bps ?? 0;
  }

  /** What `FilePace` has to know of the way to the server; `null` before the first numbers. */
  get path() {
    if (!this.numbers) return null;
    const { videos, loss, rttMs, availableBps } = this.numbers;
    const sent = Object.keys(videos).filter((role) => videos[role].fps > 0);
    const limitedBy = sent.some((role) => videos[role].limit === 'bandwidth') ? 'bandwidth' : 'none';
    const wantedBitrate = sent.reduce((sum, role) => sum + WANTED_BPS[role], 0);
    return { measure: { roundTripMs: rttMs, lost: loss, limitedBy, available: availableBps }, wantedBitrate };
  }

  /** The trouble that lasts, as `{ key, values }` of a sentence; `null` without one. */
  get trouble() {
    return this.#seconds >= LASTS_S ? this.#found : null;
  }

  #find(now) {
    const { videos, availableBps, loss } = this.numbers;
    const lost = now - this.#ingestAt < HEARD_MS ? Math.max(0, ...this.ingest.tracks.map((track) => track.loss)) : loss;
    const mbps = (availableBps / 1e6).toFixed(availableBps < 95_000 ? 2 : 1);
    for (const role of ['screen', 'camera']) {
      const { limit, fps } = videos[role];
      if (limit === 'bandwidth' && fps > 0 && isShort(role, videos[role], availableBps)) {
        return availableBps > 0
          ? { key: `${role}TooSlow`, values: { rate: `${mbps} Mbit/s` } }
          : { key: `${role}TooSlowSomehow`, values: {} };
      }
    }
    if (lost >= LOSSY) return { key: 'uplinkLoses', values: { share: Math.round(100 * lost) } };
    if (Object.values(videos).some((video) => video.limit === 'cpu' && video.fps > 0)) {
      return { key: 'computerTooSlow', values: {} };
    }
    return null;
  }
}

/** The browser's bitrate for each video, in bit/s (`BITRATES` of publisher.js). */
const WANTED_BPS = { screen: 2_500_000, camera: 1_200_000 };

/**
 * Whether the connection is short of what this video needs. Browsers say `bandwidth` also while they still find out
 * what the connection carries.
 */
function isShort(role, video, availableBps) {
  return availableBps > 0 ? availableBps < ENOUGH * WANTED_BPS[role] : video.bps < WANTED_BPS[role] / 4;
}

// The statistics of the connection, once a second.

import { $, Part, el } from './dom.js';
import { addWords, say } from './i18n.js';

export class Stats {
  isShown = false;
  /** The last reading, `{ peer, now }`. */
  before = null;
  #path = new Part(async () => {
    await addWords({ en: './path_english.js', zh: './path_chinese.js' });
    return import('./path.js');
  });

  toggle() {
    this.isShown = !this.isShown;
    $('stats').hidden = !this.isShown;
    if (this.isShown) this.#path.need();
  }

  /**
   * Reads the browser's statistics, shows them if wanted, and returns the summary: `bytes` of all media, `videoBytes`,
   * ...
   */
  async read(peer) {
    const report = await peer.stats();
    const now = summary(report);
    const before = this.before?.peer === peer ? this.before.now : null;
    this.before = { peer, now };
    const path = this.#path.loaded;
    if (this.isShown && path) this.#show(now, before, this.#ways(path, report, now, peer));
    return now;
  }

  /** How media comes, and the TURN servers that do not help. */
  #ways(path, report, { pair }, { pc, iceErrors }) {
    const { text, reason } = path.pathOf(report, pair, pc.getConfiguration().iceServers ?? []);
    const refused = path.refusals(report, iceErrors).map((server) => ['statTurn', say(server.reason, server)]);
    return [['statVia', text + (reason && say(reason))], ...refused];
  }

  #show(now, before, ways) {
    const videos = now.videos.map((video) => {
      const rate = say('perSecond', { n: Math.round(video.fps ?? 0) });
      return [video.width ? `${video.width} × ${video.height}` : '–', rate];
    });
    const seconds = before ? (now.at - before.at) / 1000 : 0;
    const rate = seconds > 0 ? ((now.bytes - before.bytes) * 8) / seconds : null;
    const share = now.packets + now.lost > 0 ? (100 * now.lost) / (now.packets + now.lost) : 0;
    const rows = [
      ['statPicture', videos.map(([size]) => size).join(' + ') || '–'],
      ['statFrames', videos.map(([, frames]) => frames)[0] ?? '–'],
      ['statRate', rate === null ? '–' : bits(rate)],
      ['statDropped', now.dropped],
      ['statLost', `${now.lost} (${share.toFixed(share < 10 ? 1 : 0)} %)`],
      ['statRound', now.roundTripMs === null ? '–' : `${now.roundTripMs.toFixed(now.roundTripMs < 10 ? 1 : 0)} ms`],
      ['statDelay', delay(now, before)],
      ['statCodec', now.codecs.join(', ') || '–'],
      ...ways,
    ];
    const items = rows.flatMap(([key, value]) => [el('dt', '', say(key)), el('dd', '', String(value))]);
    $('stats-list').replaceChildren(...items);
  }
}

function summary(report) {
  const all = [...report.values()];
  const inbound = all.filter((x) => x.type === 'inbound-rtp');
  const videos = inbound.filter((x) => x.kind === 'video' && x.bytesReceived > 0);
  const sum = (key, of = inbound) => of.reduce((total, x) => total + (x[key] ?? 0), 0);
  const chosen = all.find((x) => x.type === 'transport' && x.selectedCandidatePairId)?.selectedCandidatePairId;
  const isUsed = (pair) => pair.selected || (pair.nominated && pair.state === 'succeeded');
  const pair = report.get(chosen) ?? all.find((x) => x.type === 'candidate-pair' && isUsed(x));
  const codecs = inbound.map((x) => report.get(x.codecId)?.mimeType?.split('/')[1]).filter(Boolean);
  videos.sort((a, b) => (b.frameWidth ?? 0) - (a.frameWidth ?? 0));
  return {
    at: performance.now(),
    bytes: sum('bytesReceived'),
    videoBytes: sum('bytesReceived', videos),
    packets: sum('packetsReceived'),
    lost: Math.max(0, sum('packetsLost')),
    dropped: sum('framesDropped'),
    videos: videos.map((x) => ({ width: x.frameWidth, height: x.frameHeight, fps: x.framesPerSecond })),
    jitter: buffer(videos[0]),
    roundTripMs: typeof pair?.currentRoundTripTime === 'number' ? pair.currentRoundTripTime * 1000 : null,
    codecs: [...new Set(codecs)].map((name) => ({ H264: 'H.264', opus: 'Opus' })[name] ?? name),
    pair,
  };
}

/** How long a frame waits in this browser, from its last packet to the screen. */
function buffer(video) {
  if (!video) return null;
  const { jitterBufferDelay = 0, jitterBufferEmittedCount = 0, totalDecodeTime = 0, framesDecoded = 0 } = video;
  return { jitterBufferDelay, jitterBufferEmittedCount, totalDecodeTime, framesDecoded };
}

/**
 * The network delay and the waiting time since the last reading. The teacher's clock is not ours, so the encoder's
 * delay is not included.
 */
function delay(now, before) {
  if (!now.jitter || !before?.jitter) return '–';
  const frames = now.jitter.jitterBufferEmittedCount - before.jitter.jitterBufferEmittedCount;
  const decoded = now.jitter.framesDecoded - before.jitter.framesDecoded;
  if (frames <= 0) return '–';
  const waited = (now.jitter.jitterBufferDelay - before.jitter.jitterBufferDelay) / frames;
  const decoding = decoded > 0 ? (now.jitter.totalDecodeTime - before.jitter.totalDecodeTime) / decoded : 0;
  return `≈ ${Math.round((waited + decoding) * 1000 + (now.roundTripMs ?? 0) / 2)} ms`;
}

function bits(rate) {
  return rate >= 1e6 ? `${(rate / 1e6).toFixed(1)} Mbit/s` : `${Math.round(rate / 1e3)} kbit/s`;
}

// Runs in every page before its own scripts and records what a person would see and hear. The tests query it.

function install() {
  const connections = [];
  const channels = [];
  const sockets = [];
  const signalling = [];
  const violations = [];

  const Real = globalThis.RTCPeerConnection;
  globalThis.RTCPeerConnection = class RTCPeerConnection extends Real {
    constructor(...given) {
      super(...given);
      connections.push(this);
    }

    createDataChannel(...given) {
      const channel = super.createDataChannel(...given);
      channels.push(channel);
      return channel;
    }
  };
  const Socket = globalThis.WebSocket;
  globalThis.WebSocket = class WebSocket extends Socket {
    constructor(...given) {
      super(...given);
      sockets.push(this.url);
      signalling.push(this);
    }
  };
  document.addEventListener('securitypolicyviolation', (event) => {
    violations.push(`${event.violatedDirective}: ${event.blockedURI} at ${event.sourceFile}:${event.lineNumber}`);
  });

  const inbound = async (kind) => {
    const found = [];
    for (const connection of connections) {
      if (connection.connectionState === 'closed') continue;
      const report = await connection.getStats();
      report.forEach((entry) => entry.type === 'inbound-rtp' && entry.kind === kind && found.push(entry));
    }
    return found;
  };

  const shown = new WeakMap();
  const count = (video) => {
    shown.set(video, (shown.get(video) ?? -1) + 1);
    video.requestVideoFrameCallback(() => count(video));
  };

  /** The latest frames of the followed videos: when they were shown, how wide, and their RTP timestamps. */
  const followed = new WeakMap();
  const MOST_PICTURES = 4096;
  const follow = (video, pictures) =>
    video.requestVideoFrameCallback((at, { width, rtpTimestamp }) => {
      if (pictures.length === MOST_PICTURES) pictures.shift();
      pictures.push([at, width, rtpTimestamp]);
      follow(video, pictures);
    });

  /** The number in the code of a frame (`src/bench/codes`); null without one. */
  const [COLUMNS, ROWS, CELLS_ACROSS, CELL] = [16, 3, 80, 8];
  const crc = (bytes) => bytes.reduce((sum, byte) => {
    let crc = sum ^ byte;
    for (let bit = 0; bit < 8; bit += 1) crc = ((crc << 1) ^ (crc & 0x80 ? 0x07 : 0)) & 0xff;
    return crc;
  }, 0xff);
  let corner = null;
  const codeIn = (video) => {
    corner ??= Object.assign(document.createElement('canvas'), { width: COLUMNS * CELL, height: ROWS * CELL });
    const context = corner.getContext('2d', { willReadFrequently: true });
    const [width, height] = [COLUMNS, ROWS].map((cells) => (cells * video.videoWidth) / CELLS_ACROSS);
    context.drawImage(video, 0, 0, width, height, 0, 0, corner.width, corner.height);
    const { data } = context.getImageData(0, 0, corner.width, corner.height);
    const bytes = new Uint8Array((COLUMNS * ROWS) / 8);
    for (let n = 0; n < COLUMNS * ROWS; n += 1) {
      const [left, top] = [n % COLUMNS, Math.floor(n / COLUMNS)].map((cells) => cells * CELL + CELL / 4);
      let sum = 0;
      for (let pixel = 0; pixel < (CELL / 2) ** 2; pixel += 1) {
        const [x, y] = [left + (pixel % (CELL / 2)), top + Math.floor(pixel / (CELL / 2))];
        sum += data[4 * (y * corner.width + x) + 1];
      }
      bytes[n >> 3] |= Number(sum > 128 * (CELL / 2) ** 2) << (7 - (n & 7));
    }
    return crc([...bytes.slice(0, 5)]) === bytes[5] ? (bytes[0] << 8) | bytes[1] : null;
  };

  /** The frames of the videos that are read: when they were shown, and the numbers of their codes. */
  const reads = new Map();
  const read = (video, frames) =>
    video.requestVideoFrameCallback(() => {
      if (frames.length === MOST_PICTURES) frames.shift();
      frames.push([Date.now(), video.videoWidth ? codeIn(video) : null]);
      read(video, frames);
    });

  globalThis.witness = {
    connections,
    /** The addresses of the page's WebSockets. */
    sockets,
    violations,

    /** Sends a message to the server, as the page would. */
    tells: (message) => signalling.at(-1).send(JSON.stringify(message)),

    /** Sends a message over the data channel that the page opened first, as another client would. */
    sends: (message) => channels.find(({ readyState }) => readyState === 'open').send(JSON.stringify(message)),

    /** The sound of one element so far: its energy and its duration in seconds, by the statistics of its track. */
    async soundOf(selector) {
      const track = document.querySelector(selector)?.srcObject?.getAudioTracks()[0];
      for (const connection of connections) {
        const receiver = connection.getReceivers().find((one) => one.track === track);
        if (!receiver) continue;
        const entry = [...(await receiver.getStats()).values()].find(({ type }) => type === 'inbound-rtp');
        return { energy: entry?.totalAudioEnergy ?? 0, seconds: entry?.totalSamplesDuration ?? 0 };
      }
      return null;
    },

    /** A reduced frame of a video: red, green and blue of each pixel; null without a frame. */
    picture(selector, across, down) {
      const video = document.querySelector(selector);
      if (!video?.videoWidth || video.readyState < 2) return null;
      const canvas = document.createElement('canvas');
      [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
      const whole = canvas.getContext('2d', { willReadFrequently: true });
      whole.drawImage(video, 0, 0);
      const { data } = whole.getImageData(0, 0, canvas.width, canvas.height);
      const points = [];
      // The mean of each cell, because browsers scale differently.
      for (let y = 0; y < down; y += 1) {
        for (let x = 0; x < across; x += 1) {
          const [left, right] = [x, x + 1].map((n) => Math.floor((n * canvas.width) / across));
          const [top, bottom] = [y, y + 1].map((n) => Math.floor((n * canvas.height) / down));
          const sum = [0, 0, 0];
          for (let row = top; row < bottom; row += 1) {
            for (let at = 4 * (row * canvas.width + left); at < 4 * (row * canvas.width + right); at += 4) {
              for (let colour = 0; colour < 3; colour += 1) sum[colour] += data[at + colour];
            }
          }
          points.push(...sum.map((n) => Math.round(n / ((right - left) * (bottom - top)))));
        }
      }
      return points;
    },

    /** The number of frames that a video has shown since the first call, and their size. */
    video(selector) {
      const video = document.querySelector(selector);
      if (!video) return null;
      if (!shown.has(video)) count(video);
      const { videoWidth: width, videoHeight: height, paused, muted } = video;
      return { frames: shown.get(video), width, height, paused, muted };
    },

    /** The frames that a video has shown since the first call, `[ms, width, RTP timestamp]`, oldest first. */
    shown(selector) {
      const video = document.querySelector(selector);
      if (!video) return null;
      if (!followed.has(video)) {
        followed.set(video, []);
        follow(video, followed.get(video));
      }
      return { at: performance.now(), pictures: followed.get(video) };
    },

    /** The frames that a video has shown since the first call, `[ms since 1970, number of the code]`, oldest first. */
    codes(selector) {
      const video = document.querySelector(selector);
      if (!reads.has(video)) {
        reads.set(video, []);
        read(video, reads.get(video));
      }
      return reads.get(video);
    },

    /** The energy of the audio so far, its duration in seconds, and how much of it was concealed. */
    async sound() {
      const all = await inbound('audio');
      const sum = (field) => all.reduce((total, entry) => total + (entry[field] ?? 0), 0);
      return {
        at: performance.now(),
        energy: sum('totalAudioEnergy'),
        seconds: sum('totalSamplesDuration'),
        samples: sum('totalSamplesReceived'),
        concealed: sum('concealedSamples') - sum('silentConcealedSamples'),
        concealments: sum('concealmentEvents'),
      };
    },

    /**
     * Decoded and dropped frames, number and seconds of freezes; packets received, and those retransmitted; the seconds
     * that frames waited for each other and for packets, and how many waited.
     */
    async pictures() {
      const all = await inbound('video');
      const sum = (field) => all.reduce((total, entry) => total + (entry[field] ?? 0), 0);
      return {
        at: performance.now(),
        decoded: sum('framesDecoded'),
        dropped: sum('framesDropped'),
        freezes: sum('freezeCount'),
        frozenSeconds: sum('totalFreezesDuration'),
        packets: sum('packetsReceived'),
        repaired: sum('retransmittedPacketsReceived'),
        nacks: sum('nackCount'),
        plis: sum('pliCount'),
        waitedSeconds: sum('jitterBufferDelay'),
        waited: sum('jitterBufferEmittedCount'),
      };
    },

    /** The page's jitter buffer target, in milliseconds. */
    jitterBufferTarget() {
      const receivers = connections.flatMap((connection) => connection.getReceivers());
      return Math.max(...receivers.map(({ jitterBufferTarget }) => jitterBufferTarget ?? 0));
    },

    /** The negotiated codecs and header extensions of video, by the browser's names and URIs. */
    agreed() {
      const open = connections.filter((connection) => connection.connectionState === 'connected');
      const receivers = open
        .flatMap((connection) => connection.getReceivers())
        .filter(({ track }) => track.kind === 'video');
      const all = receivers.map((receiver) => receiver.getParameters());
      return {
        codecs: all.flatMap(({ codecs }) => codecs.map(({ mimeType }) => mimeType)),
        extensions: all.flatMap(({ headerExtensions }) => headerExtensions.map(({ uri }) => uri)),
      };
    },

    /** The visible text. */
    text: (selector = 'body') => document.querySelector(selector)?.innerText ?? '',

    /** Whether an element is visible. */
    sees: (element) => element?.checkVisibility({ visibilityProperty: true }) ?? false,
    visible: (selector) => globalThis.witness.sees(document.querySelector(selector)),
  };
}

export const witness = `(${install})()`;

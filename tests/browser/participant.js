// A participant of a meeting without the page's views: its camera shows a colour, and its microphone a tone, so that
// the others know whom they see and hear. The modules are those of the page.

async ({ userId, room, session, hue, tone }) => {
  const { src } = document.querySelector('script[type=module]');
  const load = (name) => import(new URL(name, src));
  const [{ Signalling }, { Mesh }, { begin, reduce }] =
    await Promise.all(['signalling.js', 'mesh.js', 'conference.js'].map(load));

  // With a camera and a microphone, the browser tells its addresses; without, only names that mDNS resolves.
  await navigator.mediaDevices.getUserMedia({ audio: true, video: true });
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [160, 120];
  const paint = canvas.getContext('2d');
  let frames = 0;
  setInterval(() => {
    paint.fillStyle = `hsl(${hue} 100% 50%)`;
    paint.fillRect(0, 0, canvas.width, canvas.height);
    paint.fillStyle = 'black';
    paint.fillRect((frames += 1) % canvas.width, 0, 8, 8);
  }, 100);
  const context = new AudioContext();
  await context.resume();
  const voice = new OscillatorNode(context, { frequency: tone });
  const microphone = context.createMediaStreamDestination();
  voice.connect(microphone);
  voice.start();
  const picture = canvas.captureStream(10).getVideoTracks()[0];
  const tracks = { audio: microphone.stream.getAudioTracks()[0], screen: null, camera: picture };

  const sends = () => Object.keys(tracks).filter((role) => tracks[role]);
  let state = begin(userId, 'meeting');
  const happens = (event) => {
    const next = reduce(state, { now: performance.now(), ...event });
    state = next.state;
    for (const { do: what, message } of next.commands) {
      if (what === 'send') signalling.send(message);
      else if (what === 'participants') mesh.participants(message);
      else mesh.end();
    }
  };
  const hear = (message) => {
    if (['offer', 'answer', 'candidate'].includes(message.type)) return mesh.signalled(message);
    const isFirst = message.type === 'joined' && state.phase === 'outside';
    happens({ type: 'message', message });
    if (isFirst) happens({ type: 'enter', sends: sends() });
  };
  const query = { roomId: room, userId, nickname: `N-${userId}`, kind: 'meeting', epoch: Date.now() % 2 ** 31 };
  const signalling = new Signalling(query, { session }, {
    message: hear,
    lost: () => happens({ type: 'lost' }),
    refused: ({ code }) => happens({ type: 'refused', code }),
  });
  const mesh = new Mesh({ userId, iceServers: [], signalling, tracks: () => tracks }, {
    changed() {
      const states = Object.fromEntries([...mesh.peers].map(([id, pair]) => [id, pair.state]));
      happens({ type: 'media', states });
    },
  });
  setInterval(() => mesh.second(), 1_000);
  signalling.open();

  /** The element that plays a track, and the analyser of its sound. A new connection may repeat the id of a track. */
  const players = new Map();
  const playerOf = (track) => {
    if (!players.has(track)) {
      const stream = new MediaStream([track]);
      const element = document.createElement('video');
      Object.assign(element, { srcObject: stream, muted: true });
      element.play().catch(() => {});
      let analyser = null;
      if (track.kind === 'audio') {
        analyser = new AnalyserNode(context, { fftSize: 8_192 });
        context.createMediaStreamSource(stream).connect(analyser);
      }
      players.set(track, { element, analyser });
    }
    return players.get(track);
  };

  globalThis.participant = {
    mesh,
    get phase() {
      return state.phase;
    },
    /** The decoded frames of a participant's picture. */
    framesOf(other, role = 'camera') {
      const track = mesh.source(other).media[role];
      return track ? playerOf(track).element.getVideoPlaybackQuality().totalVideoFrames : 0;
    },
    /** The loudest frequency of a participant's sound, in Hz; `null` in silence. */
    toneOf(other) {
      const track = mesh.source(other).media.audio;
      if (!track) return null;
      const { analyser } = playerOf(track);
      const levels = new Float32Array(analyser.frequencyBinCount);
      analyser.getFloatFrequencyData(levels);
      const loudest = levels.indexOf(Math.max(...levels));
      return levels[loudest] > -60 ? Math.round((loudest * context.sampleRate) / analyser.fftSize) : null;
    },
    leave() {
      happens({ type: 'leave' });
      signalling.leave();
    },
  };
  return true;
}

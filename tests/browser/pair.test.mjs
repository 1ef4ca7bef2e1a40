// Parts of the connection of two participants, in Node.js: what is sent in which order, late answers, statistics, and
// overload.

import assert from 'node:assert/strict';
import test from 'node:test';

import { Overload } from '../../src/http/page/overload.js';
import { Measure } from '../../src/http/page/pair_stats.js';
import { PerfectNegotiation, isOfParticipant, withoutLeftovers } from '../../src/http/page/perfect_negotiation.js';

const sdpOf = (ufrag) => `v=0\r\na=fingerprint:sha-256 AB\r\na=ice-ufrag:${ufrag}\r\n`;

/** A negotiation with a connection that does what the test says. */
function negotiation() {
  const sent = [];
  const pc = { signalingState: 'stable', applied: [], setRemoteDescription: async ({ sdp }) => pc.applied.push(sdp) };
  const on = { offered() {}, send: ({ type }) => sent.push(type) };
  return { pc, sent, one: new PerfectNegotiation(pc, true, on) };
}

test('candidates follow their description, however early they are found', async () => {
  const { pc, sent } = negotiation();
  const found = () => pc.onicecandidate({ candidate: { toJSON: () => ({ candidate: 'a' }) } });
  pc.setLocalDescription = async () => {
    found();
    pc.localDescription = { type: 'offer', sdp: sdpOf('a') };
  };
  await pc.onnegotiationneeded();
  found();
  pc.onicecandidate({ candidate: null });
  assert.deepEqual(sent, ['offer', 'candidate', 'candidate', 'candidate']);
});

test('no description of Firefox has feedback of codecs that it does not list', async () => {
  const sections = (...more) => [
    'v=0', 'm=audio 9 UDP/TLS/RTP/SAVPF 109', 'a=rtpmap:109 opus/48000/2', 'a=rtcp-fb:109 transport-cc',
    'm=video 0 UDP/TLS/RTP/SAVPF 120 124', 'a=rtcp-fb:120 nack pli', ...more, 'a=rtpmap:120 VP8/90000',
    'a=rtcp-fb:* ccm fir', 'a=fmtp:124 apt=120', 'm=application 0 UDP/DTLS/SCTP webrtc-datachannel', '',
  ].join('\r\n');
  const left = ['a=rtcp-fb:121 nack', 'a=rtcp-fb:12 nack', 'a=rtcp-fb:109 nack'];
  assert.equal(withoutLeftovers(sections(...left)), sections());
  const { pc, one } = negotiation();
  pc.signalingState = 'have-local-offer';
  await one.answer(sections(...left));
  assert.deepEqual(pc.applied, [sections()]);
});

test('the repeated answer to an earlier offer is ignored', async () => {
  const { pc, one } = negotiation();
  Object.assign(pc, {
    signalingState: 'have-local-offer',
    currentLocalDescription: { sdp: sdpOf('mine') },
    pendingLocalDescription: { sdp: sdpOf('mine-again') },
    currentRemoteDescription: { sdp: sdpOf('theirs') },
  });
  await one.answer(sdpOf('theirs'));
  assert.deepEqual(pc.applied, []);
  await one.answer(sdpOf('theirs-again'));
  assert.deepEqual(pc.applied, [sdpOf('theirs-again')]);
  pc.signalingState = 'stable';
  await one.answer(sdpOf('theirs-again'));
  assert.equal(pc.applied.length, 1);
});

test('only a description of audio, two videos and a data channel is taken', () => {
  const sections = (...kinds) => kinds.map((kind) => `m=${kind} 9 UDP/TLS/RTP/SAVPF 111\r\n`).join('');
  assert.ok(isOfParticipant(sections('audio', 'video', 'video', 'application')));
  assert.ok(isOfParticipant(sections('application', 'audio', 'video', 'video')));
  for (const wrong of [[], ['audio'], ['video', 'audio', 'video'], ['audio', 'video', 'video', 'video'],
    ['audio', 'video', 'video', 'application', 'application']]) {
    assert.ok(!isOfParticipant(sections(...wrong)), wrong.join());
  }
});

test('statistics tell what arrives, and who speaks', () => {
  let now = 0;
  Object.defineProperty(globalThis, 'performance', { value: { now: () => now } });
  const measure = new Measure();
  const media = { screen: { id: 'S' }, camera: { id: 'C' } };
  const second = ({ bytes, energy = 0, responses = 0, ...more }) => {
    now += 1_000;
    const camera = { framesDecoded: 30, freezeCount: 1, frameWidth: 320, frameHeight: 240 };
    const sound = { totalAudioEnergy: energy, totalSamplesDuration: now / 1_000 };
    const entries = [
      { type: 'inbound-rtp', kind: 'audio', bytesReceived: bytes, ...sound },
      { type: 'inbound-rtp', kind: 'video', bytesReceived: 0, trackIdentifier: 'C', ...camera },
      { type: 'candidate-pair', nominated: true, currentRoundTripTime: 0.02, responsesReceived: responses },
      { type: 'remote-inbound-rtp', fractionLost: 0.25 },
      { type: 'outbound-rtp', qualityLimitationReason: 'bandwidth' },
      { type: 'outbound-rtp', qualityLimitationReason: 'none', ...more },
    ];
    measure.update(new Map(entries.map((entry, n) => [n, entry])), media);
  };
  second({ bytes: 1_000 });
  second({ bytes: 3_000, energy: 0.01 });
  assert.deepEqual([measure.bps, measure.isSpeaking, measure.at], [16_000, true, 2_000]);
  assert.deepEqual(measure.videos, { camera: { frames: 30, freezes: 1, width: 320, height: 240 } });
  assert.deepEqual([measure.roundTripMs, measure.lost, measure.limitedBy], [20, 0.25, 'bandwidth']);
  second({ bytes: 3_000, energy: 0.01, responses: 1 });
  assert.deepEqual([measure.bps, measure.isSpeaking, measure.at], [0, false, 3_000], 'ICE has answered');
  second({ bytes: 3_000, responses: 1, qualityLimitationReason: 'cpu' });
  assert.deepEqual([measure.at, measure.limitedBy], [3_000, 'cpu']);
  second({ bytes: 0 });
  assert.equal(measure.bps, 0, 'a new connection counts from zero');
});

/** Whether so many seconds with these pairs are an overload. */
function overloaded(seconds, ...pairs) {
  const overload = new Overload();
  let is = false;
  for (let s = 0; s < seconds; s += 1) is = overload.update(pairs);
  return is;
}

test('ten bad seconds are an overload, if the fault is not that of one other participant', () => {
  const calm = { lost: 0, limitedBy: 'none', available: 0 };
  const pair = (measure) => ({ wantedBitrate: 600_000, measure: { ...calm, ...measure } });
  const fine = pair({});
  const busy = pair({ limitedBy: 'cpu' });
  const lossy = pair({ lost: 0.2 });
  const narrow = pair({ limitedBy: 'bandwidth', available: 300_000 });
  const wide = pair({ limitedBy: 'bandwidth', available: 2_000_000 });
  assert.equal(overloaded(9, busy, fine), false);
  assert.equal(overloaded(10, busy, fine), true);
  assert.equal(overloaded(20, lossy, fine, fine), false, 'the line of one other participant');
  assert.equal(overloaded(10, lossy, narrow, fine), true);
  assert.equal(overloaded(20, wide, wide), false, 'the limit is our own');
  assert.equal(overloaded(20, busy), false, 'two alone');
  const overload = new Overload();
  for (let s = 0; s < 60; s += 1) assert.equal(overload.update(s % 2 ? [busy, fine] : [fine, fine]), false);
});

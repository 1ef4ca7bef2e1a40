// The stage as a receiver sees it, in Node.js: the modules of the page with the few parts of a browser that they use.

import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';

const open = new Set();

/** A peer connection that connects when the test says so. */
globalThis.RTCPeerConnection = class {
  connectionState = 'new';
  constructor() {
    open.add(this);
  }
  createDataChannel() {
    return {};
  }
  addTransceiver() {}
  getTransceivers() {
    return [];
  }
  getConfiguration() {
    return {};
  }
  async createOffer() {
    return { type: 'offer', sdp: 'v=0' };
  }
  async setLocalDescription(description) {
    this.localDescription = description;
  }
  async setRemoteDescription({ sdp }) {
    this.answer = sdp;
  }
  becomes(state) {
    this.connectionState = state;
    this.onconnectionstatechange();
  }
  close() {
    open.delete(this);
  }
};

const { Stage } = await import('../../src/http/page/stage.js');

/** The stage of user 1001, and what it sends. */
function made() {
  const sent = [];
  const signalling = { isSure: true, check() {}, send: (message) => sent.push(message) };
  const stage = new Stage({ signalling, iceServers: [], userId: '1001', changed() {} });
  return { stage, sent, targets: () => sent.map(({ targetUid }) => targetUid) };
}

const speaker = (n, id = n) => ({ userId: String(n), nickname: `S-${n}`, id, tracks: ['audio', 'camera'] });
const list = (...speakers) => ({ type: 'stage', speakers, most: 4 });
/** Lets promises that are kept do their work. */
const settle = async () => {
  for (let n = 0; n < 10; n += 1) await Promise.resolve();
};
/** Lets this time pass. */
const pass = async (ms) => {
  mock.timers.tick(ms);
  await settle();
};

beforeEach(() => mock.timers.enable({ apis: ['setTimeout', 'Date'] }));
afterEach(() => {
  mock.timers.reset();
  open.clear();
});

test('each speaker has one connection, and nobody has one to itself', async () => {
  const { stage, sent, targets } = made();
  stage.told(list(speaker(1001), speaker(1002), speaker(1003)));
  await settle();
  assert.deepEqual(targets(), ['1002', '1003']);
  assert.deepEqual(sent[0], { type: 'offer', targetUid: '1002', sdp: 'v=0' });
  assert.deepEqual(stage.speakers.map(({ isMe }) => isMe), [true, false, false]);
  // The same speakers with other tracks need no other connection.
  stage.told(list(speaker(1003), { ...speaker(1002), silent: ['audio'], lost: true }));
  await settle();
  assert.equal(sent.length, 2);
  assert.deepEqual(stage.speaker('1002').silent, ['audio']);
  assert.deepEqual(stage.speakers.map(({ isLost }) => isLost), [false, true]);
  // A user who comes to the stage again is another speaker.
  const [first] = open;
  stage.told(list(speaker(1002, 77), speaker(1003)));
  await settle();
  assert.deepEqual(targets(), ['1002', '1003', '1002']);
  assert.ok(!open.has(first));
  stage.told(list());
  assert.equal(open.size, 0);
});

test('answers reach the connection of their speaker', async () => {
  const { stage } = made();
  stage.told(list(speaker(1002), speaker(1003)));
  await settle();
  assert.equal(stage.signalled({ type: 'answer', userId: '1003', sdp: 'three' }), true);
  assert.equal(stage.signalled({ type: 'answer', userId: '1004', sdp: 'four' }), false);
  await settle();
  assert.deepEqual([...open].map(({ answer }) => answer), [undefined, 'three']);
});

test('a lost connection is made again while its speaker is listed', async () => {
  const { stage, sent } = made();
  stage.told(list(speaker(1002)));
  await settle();
  [...open][0].becomes('connected');
  assert.equal(stage.speaker('1002').isConnected, true);
  for (let times = 2; times < 5; times += 1) {
    [...open][0].becomes('failed');
    await pass(2_000);
    assert.equal(sent.length, times);
  }
  [...open][0].becomes('failed');
  stage.told(list());
  await pass(60_000);
  assert.equal(sent.length, 4);
});

test('an offer without an answer is repeated, and a refused one only if that has a point', async () => {
  const { stage, sent } = made();
  stage.told(list(speaker(1002), speaker(1003)));
  await settle();
  assert.equal(stage.failed({ code: 'notOnStage', userId: '1002' }), true);
  assert.equal(stage.failed({ code: 'targetBusy', userId: '1003', retryAfterMs: 1_000 }), true);
  assert.equal(stage.failed({ code: 'noCommonCodec', userId: '9999' }), false);
  await pass(1_500);
  assert.deepEqual(sent.slice(2).map(({ targetUid }) => targetUid), ['1003']);
  for (let s = 0; s < 30; s += 1) await pass(1_000);
  assert.ok(sent.length > 3);
  assert.ok(sent.slice(2).every(({ targetUid }) => targetUid === '1003'));
});

test('on a dead path an offer waits until the server answers', async () => {
  const { stage, sent } = made();
  const dead = { isSure: false, check() {}, send: () => assert.fail('sent on a dead path') };
  const room = { signalling: dead, iceServers: [], userId: '1001', changed() {} };
  const late = new Stage(room);
  late.told(list(speaker(1002)));
  await settle();
  room.signalling = { isSure: true, check() {}, send: (message) => sent.push(message) };
  late.offerNow();
  await settle();
  assert.equal(sent.length, 1);
  assert.equal(stage.speakers.length, 0);
});

test('a newcomer without a list sees an empty stage', async () => {
  const { stage } = made();
  stage.told(list(speaker(1002)));
  stage.welcomed();
  await pass(1_000);
  assert.equal(stage.speakers.length, 1, 'the list may still come');
  stage.told(list(speaker(1002)));
  await pass(10_000);
  assert.equal(stage.speakers.length, 1);
  stage.welcomed();
  await pass(2_000);
  assert.deepEqual([stage.speakers.length, open.size], [0, 0]);
});

test('a list from outside has bounds', async () => {
  const { stage, sent } = made();
  stage.told({ speakers: 'all', spotlight: 7, invited: null, most: 'x' });
  assert.deepEqual([stage.speakers, stage.spotlight, stage.invited, stage.most], [[], null, [], 0]);
  const long = { userId: 'x'.repeat(1_000), nickname: 'y'.repeat(1_000), id: 'z', tracks: ['audio', '<b>'], silent: 1 };
  stage.told({ ...list(long, null, { id: 1 }, long), spotlight: 'nobody' });
  await settle();
  const [only] = stage.speakers;
  assert.equal(stage.speakers.length, 1);
  assert.deepEqual([only.userId.length, only.nickname.length, only.id], [64, 40, 0]);
  assert.deepEqual([only.tracks, only.silent, stage.spotlight], [['audio'], [], null]);
  stage.told(list(...Array.from({ length: 99 }, (_, n) => speaker(2000 + n))));
  await settle();
  assert.ok(sent.length <= 5, `${sent.length} offers`);
  assert.equal(open.size, 4);
});

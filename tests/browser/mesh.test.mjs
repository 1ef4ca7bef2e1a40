// The connections of calls and meetings, in Node.js: the modules of the page in virtual time, with peer connections
// that follow the rules of W3C webrtc-pc.

import assert from 'node:assert/strict';
import test from 'node:test';

import { FakeNetwork, install } from './fake_network.mjs';
import { VirtualTime } from './virtual_time.mjs';

const { Mesh } = await import('../../src/http/page/mesh.js');

const time = new VirtualTime().install();
let network;
let owner;

/** Participants whose signalling takes 20 ms; `lose(message)` says which messages are lost. */
class Meeting {
  pages = new Map();
  sent = [];
  lose = () => false;

  constructor() {
    network = new FakeNetwork(time, 7);
    install(network, () => owner);
  }

  add(userId, on = {}) {
    const page = { userId, entry: 0, messages: [], isSure: true, tracks: {} };
    const signalling = {
      get isSure() {
        return page.isSure;
      },
      check() {},
      send: (message) => this.#carry(page, message),
    };
    const room = { userId, iceServers: [], signalling, tracks: () => page.tracks };
    page.mesh = new Mesh(room, { message: (from, data) => page.messages.push([from, data]), ...on });
    this.pages.set(userId, page);
    return page;
  }

  /** The server lists these, `{ userId: entry }`, in the order of their entries, for all of them. */
  list(entries, { silent = [], ...more } = {}) {
    const sendsOf = (userId) => (silent.includes(userId) ? {} : { sends: ['audio'] });
    const participants = Object.entries(entries).map(([userId, entry]) => ({ userId, entry, ...sendsOf(userId) }));
    participants.sort((a, b) => a.entry - b.entry);
    for (const page of this.pages.values()) {
      page.entry = entries[page.userId] ?? 0;
      owner = page.userId;
      page.mesh.participants({ participants, ...more });
    }
  }

  #carry(from, message) {
    this.sent.push({ from: from.userId, ...message });
    if (this.lose(message, from)) return true;
    time.sleep(20).then(() => {
      const target = this.pages.get(message.targetUid);
      const { targetUid, entry, ...rest } = message;
      if (target?.entry !== entry) return;
      owner = target.userId;
      target.mesh.signalled({ ...rest, userId: from.userId, entry: from.entry });
    });
    return true;
  }

  /** Every two have one connection, to each other, with the tracks of the sections in their order. */
  assertWhole() {
    const listed = [...this.pages.values()].filter(({ entry }) => entry > 0);
    assert.equal(network.open.size, listed.length * (listed.length - 1));
    for (const page of listed) {
      for (const other of listed.filter((one) => one !== page)) {
        const pair = page.mesh.peers.get(other.userId);
        assert.equal(pair?.state, 'connected', `${page.userId} to ${other.userId}`);
        assert.deepEqual(Object.values(pair.media).map(({ kind }) => kind), ['audio', 'video', 'video']);
      }
    }
    for (const pc of network.open) {
      assert.equal(network.otherOf(network.otherOf(pc)), pc);
      assert.deepEqual(pc.getTransceivers().map(({ direction }) => direction), Array(3).fill('sendrecv'));
    }
  }

  offers(userId) {
    return this.sent.filter(({ type, from }) => type === 'offer' && from === userId).length;
  }

  end() {
    for (const { mesh } of this.pages.values()) mesh.end();
    assert.equal(network.open.size, 0);
  }
}

function meetingOf(count) {
  const meeting = new Meeting();
  const entries = {};
  for (let n = 1; n <= count; n += 1) {
    meeting.add(String(1000 + n));
    entries[1000 + n] = n;
  }
  meeting.list(entries);
  return { meeting, entries };
}

test('those who come later offer to those who are there, once each', async () => {
  const { meeting } = meetingOf(4);
  await time.pass(1_000);
  meeting.assertWhole();
  assert.deepEqual(['1001', '1002', '1003', '1004'].map((id) => meeting.offers(id)), [0, 1, 2, 3]);
  assert.ok(meeting.pages.get('1003').mesh.say('1001', 'hello'));
  await time.pass(100);
  assert.deepEqual(meeting.pages.get('1001').messages, [['1003', 'hello']]);
  meeting.end();
});

test('who enters again gets new connections, and who has left has none', async () => {
  const { meeting, entries } = meetingOf(3);
  await time.pass(1_000);
  const kept = meeting.pages.get('1001').mesh.peers.get('1002');
  meeting.list({ ...entries, 1003: 9 });
  await time.pass(1_000);
  meeting.assertWhole();
  assert.equal(meeting.pages.get('1001').mesh.peers.get('1002'), kept);
  meeting.list({ 1001: 1, 1002: 2 });
  assert.equal(network.open.size, 2);
  meeting.end();
});

test('a message for another entry is dropped', async () => {
  const { meeting } = meetingOf(2);
  const { mesh } = meeting.pages.get('1001');
  assert.equal(mesh.signalled({ type: 'offer', userId: '1002', entry: 8, sdp: 'v=0' }), false);
  assert.equal(mesh.signalled({ type: 'offer', userId: '1003', entry: 2, sdp: 'v=0' }), false);
  assert.equal(mesh.signalled({ type: 'offer', userId: '1002', entry: 2, sdp: 'm=video 9\r\n'.repeat(100) }), true);
  await time.pass(1_000);
  meeting.assertWhole();
  meeting.end();
});

for (const lost of ['offer', 'answer', 'candidate']) {
  test(`the first ${lost} is lost, and the connection comes about within five seconds`, async () => {
    const { meeting } = meetingOf(3);
    const seen = new Set();
    meeting.lose = ({ type, targetUid }, { userId }) => {
      const key = `${userId} ${targetUid}`;
      if (type !== lost || seen.has(key)) return false;
      seen.add(key);
      return true;
    };
    await time.pass(5_000);
    meeting.assertWhole();
    meeting.end();
  });
}

test('a dead path is replaced by an ICE restart of both sides at once', async () => {
  const { meeting } = meetingOf(2);
  await time.pass(1_000);
  const [pc] = network.open;
  network.silence(network.ways[0], 0, true);
  await time.pass(4_500);
  const { mesh } = meeting.pages.get('1001');
  assert.equal(mesh.source('1002').state, 'reconnecting');
  await time.pass(2_500);
  meeting.assertWhole();
  assert.ok(network.open.has(pc), 'it is the same connection');
  meeting.end();
});

test('a silence of two seconds changes nothing', async () => {
  const { meeting } = meetingOf(2);
  await time.pass(1_000);
  const { length } = meeting.sent;
  network.silence(network.ways[0], 2_000, false);
  await time.pass(10_000);
  assert.equal(meeting.sent.length, length);
  meeting.assertWhole();
  meeting.end();
});

test('a connection that stays dead is lost after ten seconds, and replaced', async () => {
  const { meeting } = meetingOf(2);
  await time.pass(1_000);
  meeting.lose = () => true;
  network.silence(network.ways[0], 0, true);
  await time.pass(12_000);
  const { mesh } = meeting.pages.get('1002');
  assert.equal(mesh.source('1001').state, 'reconnecting');
  await time.pass(2_000);
  assert.equal(mesh.source('1001').state, 'lost');
  meeting.lose = () => false;
  await time.pass(5_000);
  meeting.assertWhole();
  meeting.end();
});

test('one side replaces its connection while the other side takes its own for good', async () => {
  for (const userId of ['1001', '1002']) {
    const { meeting } = meetingOf(2);
    await time.pass(1_000);
    const { mesh } = meeting.pages.get(userId);
    owner = userId;
    // As after a crash of the browser's media process.
    [...network.open].find((pc) => pc.owner === userId).becomes('failed');
    meeting.lose = (message, from) => from.userId !== userId;
    await time.pass(11_000);
    assert.equal([...mesh.peers.values()][0].state, 'lost');
    meeting.lose = () => false;
    await time.pass(5_000);
    meeting.assertWhole();
    meeting.end();
  }
});

test('on a dead path, offers wait until signalling works', async () => {
  const { meeting } = meetingOf(2);
  await time.pass(1_000);
  for (const page of meeting.pages.values()) page.isSure = false;
  network.silence(network.ways[0], 0, true);
  const { length } = meeting.sent;
  await time.pass(8_000);
  assert.equal(meeting.sent.length, length);
  for (const page of meeting.pages.values()) {
    page.isSure = true;
    page.mesh.mend();
  }
  await time.pass(1_000);
  meeting.assertWhole();
  meeting.end();
});

test('tracks are replaced without a negotiation, and the uplink is shared', async () => {
  const { meeting } = meetingOf(5);
  await time.pass(1_000);
  const { length } = meeting.sent;
  const page = meeting.pages.get('1003');
  page.tracks = { camera: { kind: 'video', id: 'face' } };
  page.mesh.replace('camera');
  await time.pass(1_000);
  assert.equal(meeting.sent.length, length);
  const mine = [...network.open].filter((pc) => pc.owner === '1003');
  assert.equal(mine.length, 4);
  for (const pc of mine) {
    const { sender } = pc.getTransceivers()[2];
    assert.equal(sender.track.id, 'face');
    const [{ maxBitrate, scaleResolutionDownBy }] = sender.parameters.encodings;
    assert.deepEqual([maxBitrate, scaleResolutionDownBy], [300_000, 2]);
  }
  meeting.end();
});

test('a pair ends once both receive from the server, and comes back when the server fails', async () => {
  const { meeting, entries } = meetingOf(2);
  await time.pass(1_000);
  meeting.list(entries, { media: 'server' });
  const [one, two] = [...meeting.pages.values()].map(({ mesh }) => mesh);
  const server = { media: { audio: 'served' }, state: 'connected', close: () => (server.isClosed = true) };
  one.set('1002', server);
  one.arrived('1002');
  await time.pass(100);
  assert.deepEqual([one.source('1002').media.audio, one.peers.size, two.peers.size], ['served', 1, 1]);
  two.set('1001', { media: {}, state: 'connected', close() {} });
  two.arrived('1001');
  await time.pass(100);
  assert.deepEqual([one.peers.size, two.peers.size, network.open.size], [0, 0, 0]);
  assert.deepEqual(meeting.pages.get('1001').messages, [], 'the word is the mesh\'s own');
  meeting.list(entries, { media: 'server' });
  assert.equal(network.open.size, 0);
  meeting.list(entries, { media: 'publisher', moved: 'failure' });
  one.unset('1002');
  assert.ok(server.isClosed);
  await time.pass(1_000);
  meeting.assertWhole();
  meeting.end();
});

test('a pair with somebody who sends nothing ends as soon as that one receives from the server', async () => {
  const { meeting, entries } = meetingOf(3);
  await time.pass(1_000);
  const [speaker, silent, watcher] = [...meeting.pages.values()].map(({ mesh }) => mesh);
  const { sender } = [...network.open].find((pc) => pc.owner === '1001').getTransceivers()[2];
  meeting.pages.get('1001').tracks = { camera: { kind: 'video', id: 'face' } };
  speaker.replace('camera');
  meeting.list(entries, { media: 'server', silent: ['1002', '1003'] });
  await time.pass(100);
  assert.deepEqual([silent.peers.has('1003'), watcher.peers.has('1002')], [false, false], 'neither sends');
  assert.deepEqual([speaker.peers.size, silent.peers.size], [2, 1], 'the picture still comes this way');
  assert.equal(sender.track.id, 'face');
  assert.equal(silent.source('1003').state, 'connected', 'nothing is missing');
  silent.set('1001', { media: {}, state: 'connected', close() {} });
  silent.arrived('1001');
  await time.pass(100);
  assert.deepEqual([speaker.peers.has('1002'), silent.peers.size], [false, 0]);
  // This one's side vanishes before its word arrives.
  owner = '1003';
  watcher.end();
  await time.pass(30_000);
  await speaker.second();
  assert.equal(speaker.peers.size, 0);
  meeting.end();
});

test('who needs no more before the data channel opens says so when it opens', async () => {
  const meeting = new Meeting();
  meeting.lose = () => true;
  for (const userId of ['1001', '1002']) meeting.add(userId);
  const entries = { 1001: 1, 1002: 2 };
  meeting.list(entries);
  await time.pass(1_000);
  const { mesh } = meeting.pages.get('1002');
  const pair = mesh.peers.get('1001');
  pair.state = 'connected';
  meeting.list(entries, { media: 'server', silent: ['1001'] });
  assert.equal(mesh.peers.size, 1, 'media may still be on its way');
  const said = [];
  pair.channel.send = (text) => said.push(text);
  [...network.open].find((pc) => pc.owner === '1002').openChannel();
  meeting.list(entries, { media: 'server', silent: ['1001'] });
  assert.deepEqual(said, ['{"type":"moved"}'], 'once');
  meeting.end();
});

test('a file on its way keeps its pair without media until the last word is there', async () => {
  const meeting = new Meeting();
  let isNeeded = true;
  for (const userId of ['1001', '1002']) meeting.add(userId, { needs: () => isNeeded });
  const entries = { 1001: 1, 1002: 2 };
  meeting.pages.get('1001').tracks = { camera: { kind: 'video', id: 'face' } };
  meeting.list(entries);
  await time.pass(1_000);
  meeting.list(entries, { media: 'server' });
  const meshes = [...meeting.pages.values()].map(({ mesh }) => mesh);
  const others = ['1002', '1001'];
  meshes.forEach((mesh, n) => {
    mesh.set(others[n], { media: { audio: 'served' }, state: 'reconnecting', close() {} });
    mesh.arrived(others[n]);
  });
  await time.pass(100);
  assert.deepEqual(meshes.map(({ peers }) => peers.size), [1, 1]);
  const senders = [...network.open].flatMap((pc) => pc.getTransceivers().map(({ sender }) => sender.track));
  assert.ok(senders.every((track) => track === null), 'the pair carries no media');
  assert.equal(meshes[0].source('1002').media.audio, 'served');
  assert.ok(meshes[0].say('1002', 'still there'));
  isNeeded = false;
  await Promise.all(meshes.map((mesh) => mesh.second()));
  assert.deepEqual([...meshes.map(({ peers }) => peers.size), network.open.size], [0, 0, 0]);
  meeting.end();
});

test('pairs that carry no media any more carry it again when the server fails', async () => {
  const meeting = new Meeting();
  for (const userId of ['1001', '1002']) meeting.add(userId, { needs: () => true });
  const entries = { 1001: 1, 1002: 2 };
  meeting.pages.get('1001').tracks = { camera: { kind: 'video', id: 'face' } };
  meeting.list(entries);
  await time.pass(1_000);
  meeting.list(entries, { media: 'server' });
  meeting.pages.get('1002').mesh.arrived('1001');
  await time.pass(100);
  const [, , { sender }] = [...network.open].find((pc) => pc.owner === '1001').getTransceivers();
  assert.equal(sender.track, null);
  meeting.list(entries, { media: 'publisher', moved: 'failure' });
  await time.pass(100);
  assert.equal(sender.track.id, 'face');
  meeting.assertWhole();
  meeting.end();
});

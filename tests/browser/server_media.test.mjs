// A meeting over the server, in Node.js: the modules of the page in virtual time, with a server that answers each offer
// and tells whose media it has.

import assert from 'node:assert/strict';
import test from 'node:test';

import { VirtualTime } from './virtual_time.mjs';

const time = new VirtualTime().install();
/** The connections that are not closed, by their descriptions. */
const open = new Map();
let made = 0;

const sender = () => ({
  getParameters: () => ({ encodings: [{}] }), setParameters: async () => {}, replaceTrack: async () => {},
});

/** A peer connection that connects when the server of the test has answered. */
globalThis.RTCPeerConnection = class {
  connectionState = 'new';
  sdp = `v=0 ${(made += 1)}`;
  constructor() {
    open.set(this.sdp, this);
  }
  createDataChannel() {
    return { readyState: 'connecting', send() {} };
  }
  addTransceiver(kind) {
    return { mid: null, sender: sender(), receiver: { track: { kind } } };
  }
  getTransceivers() {
    return [];
  }
  async createOffer() {
    return { type: 'offer', sdp: this.sdp };
  }
  async setLocalDescription(description) {
    this.localDescription = description;
  }
  async setRemoteDescription() {}
  async getStats() {
    return new Map();
  }
  becomes(state) {
    this.connectionState = state;
    this.onconnectionstatechange?.();
  }
  close() {
    open.delete(this.sdp);
  }
};
globalThis.RTCRtpSender = { getCapabilities: () => ({ codecs: [] }) };

const { Mesh } = await import('../../src/http/page/mesh.js');
const { ServerMedia } = await import('../../src/http/page/server_media.js');

class Meeting {
  pages = new Map();
  entries = {};
  media = 'server';
  /** The entries whose media the server has. */
  #published = new Set();
  #isUp = true;

  add(userId) {
    const signalling = { check() {}, send: (message) => this.#carry(userId, message) };
    Object.defineProperty(signalling, 'isSure', { get: () => this.#isUp });
    const room = {
      userId, iceServers: [], signalling, content: 'text', changed() {},
      tracks: () => ({ audio: { kind: 'audio' }, screen: null, camera: null }),
    };
    const mesh = new Mesh(room, {});
    this.pages.set(userId, { mesh, server: new ServerMedia(room, mesh) });
  }

  /** The server lists these, `{ userId: entry }`, for everybody. */
  list(entries = this.entries) {
    this.entries = entries;
    const listed = Object.entries(entries).sort(([, a], [, b]) => a - b);
    const participants = listed.map(([userId, entry]) => {
      return { userId, entry, sends: ['audio'], published: this.#published.has(entry) };
    });
    for (const { mesh, server } of this.pages.values()) {
      const message = { participants, media: this.media };
      mesh.participants(message);
      server.participants(message);
    }
  }

  /** The server ends, with all that it knew; each connection to it dies. */
  ends() {
    this.#isUp = false;
    this.#published.clear();
    for (const pc of open.values()) pc.becomes('failed');
  }

  /** Another server is there. */
  begins() {
    this.#isUp = true;
  }

  #carry(userId, { type, targetUid, sdp, entry }) {
    if (!this.#isUp) return false;
    if (type !== 'offer' || entry !== undefined) return true;
    const pc = open.get(sdp);
    Object.assign(pc, { owner: userId, target: targetUid });
    time.sleep(20).then(() => this.#answer(pc));
    return true;
  }

  /** Only media that is there is given to others, and only to those who take part. */
  #answer(pc) {
    const own = this.entries[pc.owner];
    const { server } = this.pages.get(pc.owner);
    if (!this.#isUp || own === undefined) return;
    if (pc.target !== pc.owner && !this.#published.has(this.entries[pc.target])) {
      return server.failed({ type: 'error', userId: pc.target, code: 'notOnStage', retryAfterMs: 500 });
    }
    server.signalled({ type: 'answer', userId: pc.target, sdp: 'v=0' });
    time.sleep(50).then(() => {
      if (!open.has(pc.sdp) || !this.#isUp) return;
      pc.becomes('connected');
      if (pc.target !== pc.owner || this.entries[pc.owner] !== own) return;
      this.#published.add(own);
      this.list();
    });
  }

  /** Each sends once, and receives each other one once; nothing else is open. */
  assertWhole() {
    const users = Object.keys(this.entries).sort();
    const ways = [...open.values()].map(({ owner, target }) => `${owner} ${target}`).sort();
    assert.deepEqual(ways, users.flatMap((one) => users.map((other) => `${one} ${other}`)));
    for (const one of users) {
      const { mesh, server } = this.pages.get(one);
      assert.ok(server.isConnected, `${one} sends`);
      const others = users.filter((other) => other !== one);
      for (const other of others) assert.equal(mesh.source(other).state, 'connected', `${one} receives ${other}`);
      assert.equal(mesh.peers.size, 0, 'no pair');
    }
  }

  end() {
    for (const { mesh, server } of this.pages.values()) {
      server.end();
      mesh.end();
    }
    assert.equal(open.size, 0);
  }
}

function meetingOf(count) {
  const meeting = new Meeting();
  const users = Array.from({ length: count }, (_, n) => String(1001 + n));
  for (const userId of users) meeting.add(userId);
  meeting.list(Object.fromEntries(users.map((userId, n) => [userId, n + 1])));
  return meeting;
}

test('two that come over the server in the same instant have one connection each way', async () => {
  const meeting = meetingOf(2);
  await time.pass(1_000);
  meeting.assertWhole();
  for (const userId of ['1003', '1004']) meeting.add(userId);
  const entries = { ...meeting.entries, 1003: 3 };
  // Each hears of the other while its own offer is on its way, and more than once.
  meeting.list(entries);
  meeting.list({ ...entries, 1004: 4 });
  await time.pass(10);
  meeting.list();
  await time.pass(2_000);
  meeting.assertWhole();
  // Both are loaded again in the same instant.
  meeting.list({ 1001: 1, 1002: 2 });
  meeting.list({ 1001: 1, 1002: 2, 1004: 5, 1003: 6 });
  await time.pass(2_000);
  meeting.assertWhole();
  meeting.end();
});

test('after a server has restarted, everybody sends and receives once again', async () => {
  const meeting = meetingOf(3);
  await time.pass(1_000);
  meeting.assertWhole();
  meeting.ends();
  await time.pass(20_000);
  const before = made;
  assert.ok(before < 50, 'nobody offers to a server that does not answer');
  // The next one knows of nobody; all enter again, and the meeting moves there once more.
  meeting.begins();
  meeting.media = 'publisher';
  meeting.list({});
  assert.equal(open.size, 0, 'nothing is left of the last server');
  meeting.list({ 1002: 101 });
  meeting.list({ 1002: 101, 1001: 102 });
  meeting.media = 'server';
  meeting.list({ 1002: 101, 1001: 102, 1003: 103 });
  await time.pass(2_000);
  meeting.assertWhole();
  meeting.end();
});

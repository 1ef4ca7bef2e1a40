// The negotiation of a peer connection, in Node.js, with connections that do what the test says.

import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';

import { Negotiation } from '../../src/http/page/negotiation.js';

const USER = { userId: '9999', epoch: 1 };

/** A negotiation with its `room`, all `connections` that it made, and the `sent` messages. */
function made(on = {}) {
  const connections = [];
  const sent = [];
  const room = { iceServers: [], signalling: { isSure: true, check() {}, send: (message) => sent.push(message) } };
  const make = (callbacks) => {
    const connection = {
      ...callbacks,
      answers: [],
      isConnected: false,
      wasConnected: false,
      offer: async () => ({ sdp: `offer ${connections.length}` }),
      offered() {},
      answer: async (sdp) => void connection.answers.push(sdp),
      close: () => (connection.isClosed = true),
      works() {
        connection.isConnected = true;
        connection.wasConnected = true;
        connection.connected();
      },
    };
    connections.push(connection);
    return connection;
  };
  const negotiation = new Negotiation(room, make, on);
  return { negotiation, room, connections, sent };
}

/** Lets promises that are kept do their work. */
const settle = async () => {
  for (let n = 0; n < 10; n += 1) await Promise.resolve();
};
const pass = async (ms) => {
  mock.timers.tick(ms);
  await settle();
};

beforeEach(() => mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1_000 }));
afterEach(() => mock.timers.reset());

test('a user that is announced again during an offer still gets this offer', async () => {
  const { negotiation, sent } = made();
  negotiation.lesson.publisherIs(USER);
  negotiation.lesson.publisherIs({ ...USER, nickname: 'another object' });
  await settle();
  assert.deepEqual(sent, [{ type: 'offer', targetUid: '9999', sdp: 'offer 1' }]);
});

test('a user that leaves during an offer gets none', async () => {
  const { negotiation, sent } = made();
  negotiation.lesson.publisherIs(USER);
  negotiation.lesson.publisherLeft('left');
  await settle();
  assert.deepEqual(sent, []);
});

test('only the present connection is heard', async () => {
  const tracks = [];
  const { negotiation, connections, sent } = made({ tracks: (news) => tracks.push(news) });
  negotiation.lesson.publisherIs(USER);
  await settle();
  negotiation.lesson.now();
  await settle();
  const [first, second] = connections;
  assert.ok(first.isClosed && !second.isClosed);
  for (const connection of connections) {
    connection.tracks(connection);
    connection.candidate({ candidate: connection === first ? 'old' : 'new' });
  }
  assert.deepEqual(tracks, [second]);
  assert.deepEqual(sent.slice(2), [{ type: 'candidate', targetUid: '9999', candidate: { candidate: 'new' } }]);
  first.works();
  assert.ok(negotiation.lesson.since > 0, 'still connecting');
  first.gone();
  await pass(1_000);
  assert.equal(connections.length, 2);
});

test('a connection that is made in advance is used once', async () => {
  const { negotiation, connections } = made();
  negotiation.prepare();
  negotiation.prepare();
  negotiation.lesson.publisherIs(USER);
  await settle();
  assert.equal(connections.length, 1);
  connections[0].gone();
  await pass(1_000);
  assert.equal(connections.length, 2);
});

test('after a dead path, a stalled connection has some time to resume', async () => {
  const { negotiation, connections } = made();
  negotiation.lesson.publisherIs(USER);
  await settle();
  negotiation.mend(false);
  await settle();
  assert.equal(connections.length, 2, 'the answer may have been lost');
  connections[1].works();
  negotiation.mend(false);
  let looks = 0;
  const mended = negotiation.mend(true, async () => (looks += 1) === 2, 3);
  for (let look = 0; look < 3; look += 1) await pass(250);
  await mended;
  assert.deepEqual([looks, connections.length], [2, 2]);
  const again = negotiation.mend(true, async () => false, 3);
  for (let look = 0; look < 3; look += 1) await pass(250);
  await again;
  assert.equal(connections.length, 3);
});

test('a hangup ends a connection that works, and none that is being made', async () => {
  const { negotiation, connections } = made();
  negotiation.lesson.publisherIs(USER);
  await settle();
  await negotiation.signalled({ type: 'hangup' });
  await pass(100);
  assert.equal(connections.length, 1, 'it is about an earlier connection');
  connections[0].works();
  await negotiation.signalled({ type: 'hangup' });
  await pass(1);
  assert.equal(connections.length, 2, 'at once');
});

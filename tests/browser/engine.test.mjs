// A student at an engine, in Node.js: the engine's offer, and the talk without a data channel.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { told } from '../../src/http/page/engine.js';

const OFFER = { type: 'offer', userId: '9999', sdp: 'engine', tracks: { 0: 'screen', 1: 'audio', 2: 'nonsense' } };

/** A negotiation that has offered, its `room`, and what happened. */
function made({ fails = false } = {}) {
  const did = [];
  const sent = [];
  const pc = {
    signalingState: 'have-local-offer',
    async setRemoteDescription({ type, sdp }) {
      if (fails) throw new Error('no codec');
      did.push(`${type} ${sdp}`);
      pc.signalingState = 'have-remote-offer';
    },
    async setLocalDescription() {
      pc.localDescription = { sdp: 'answer' };
      pc.signalingState = 'stable';
    },
  };
  const connection = {
    pc,
    channel: { close: () => did.push('channel closed') },
    received: (roles) => did.push(JSON.stringify([...roles])),
  };
  const lesson = { publisher: { userId: '9999' }, failed: () => did.push('failed') };
  const negotiation = { connection, lesson };
  const room = { signalling: { send: (message) => sent.push(message) }, chat: { attach() {} } };
  return { negotiation, room, connection, did, sent };
}

test('the offer of an engine is answered in place of the own one', async () => {
  const { negotiation, room, did, sent } = made();
  await told(negotiation, room, OFFER);
  assert.deepEqual(did, ['channel closed', 'offer engine', '[["0","screen"],["1","audio"]]']);
  assert.deepEqual(sent, [{ type: 'answer', targetUid: '9999', sdp: 'answer' }]);
  await told(negotiation, room, OFFER);
  assert.equal(sent.length, 1, 'a connection answers once');
});

test('messages travel by signalling', async () => {
  const { negotiation, room, connection, sent } = made();
  await told(negotiation, room, { type: 'talk', message: { type: 'cleared' } });
  await told(negotiation, room, OFFER);
  const heard = [];
  connection.channel.onmessage = ({ data }) => heard.push(data);
  await told(negotiation, room, { type: 'talk', message: { type: 'hands', hands: [] } });
  assert.deepEqual(heard, ['{"type":"hands","hands":[]}'], 'what came before the offer was for nobody');
  connection.channel.send('{"type":"hand","raised":true}');
  assert.deepEqual(sent[1], { type: 'talk', message: { type: 'hand', raised: true } });
});

test('messages travel by signalling, too, where an engine has answered without a data channel', async () => {
  const { negotiation, room, connection, did } = made();
  const talk = { type: 'talk', message: { type: 'cleared' } };
  connection.pc.currentRemoteDescription = { sdp: 'v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n' };
  await told(negotiation, room, talk);
  assert.deepEqual(did, [], 'a student of an SFU has a data channel, and this message is late');
  connection.pc.currentRemoteDescription.sdp = 'v=0\r\nm=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\n';
  const heard = [];
  room.chat.attach = (channel) => (channel.onmessage = ({ data }) => heard.push(data));
  await told(negotiation, room, talk);
  await told(negotiation, room, talk);
  assert.deepEqual([did, heard.length], [['channel closed'], 2]);
});

test('an offer that cannot be answered is followed by another connection', async () => {
  const { negotiation, room, did, sent } = made({ fails: true });
  await told(negotiation, room, OFFER);
  assert.deepEqual([did.at(-1), sent], ['failed', []]);
});

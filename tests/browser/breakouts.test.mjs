// What the page knows of breakout rooms: `node --test breakouts.test.mjs`.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { conferenceRoom, toConference } from '../../src/http/page/conference_signalling.js';
import { breakoutsOf, groupsOf, leftOf, roomsFor, splitOrder, whereKey } from '../../src/http/page/breakout_rules.js';

// A breakout room's chat in the place of that of a lecture needs nothing else of a browser.
globalThis.location = { pathname: '/room/1', search: '', hash: '' };
const { LectureChat } = await import('../../src/http/page/lecture_chat.js');

const NOW = 1_000_000;

test('a message is checked, whatever the server sends', () => {
  const places = { 1001: 0, 1002: 2, 1003: 7, 1004: 'x' };
  const seen = breakoutsOf({ rooms: 2, at: 1, own: 2, endsInMs: 65_000, isRecalled: true, places }, NOW);
  assert.deepEqual([seen.rooms, seen.at, seen.own, seen.isRecalled], [2, 1, 2, true]);
  assert.deepEqual([...seen.places.values()], [0, 2, 0, 0]);
  for (const message of [{}, { rooms: 21 }, { rooms: -1 }, { rooms: 'two' }, { rooms: null, at: 3 }]) {
    assert.deepEqual(breakoutsOf(message, NOW), breakoutsOf({}, NOW));
  }
  const odd = breakoutsOf({ rooms: 2, at: 9, own: 'x', endsInMs: 'soon', places: 'here' }, NOW);
  assert.deepEqual([odd.at, odd.own, odd.endsAt], [0, null, 0]);
  const many = Object.fromEntries(Array.from({ length: 10_000 }, (_, n) => [n, 1]));
  assert.equal(breakoutsOf({ rooms: 2, places: many }, NOW).places.size, 500);
});

test('people read where they are, and how long', () => {
  const seen = (more) => breakoutsOf({ rooms: 3, ...more }, NOW);
  assert.equal(whereKey(seen({ at: 2, own: 2 }), false), 'breakoutHere');
  assert.equal(whereKey(seen({ own: 2 }), false), 'breakoutYours');
  assert.equal(whereKey(seen({}), false), 'breakoutsOpen');
  assert.equal(whereKey(seen({ at: 1 }), true), 'breakoutVisit');
  assert.equal(whereKey(seen({}), true), 'breakoutsOpen');
  const ends = seen({ endsInMs: 65_000 });
  const left = [0, 5_500, 65_000, 99_000].map((later) => leftOf(ends, NOW + later));
  assert.deepEqual(left, ['1:05', '1:00', '0:00', '0:00']);
  assert.equal(leftOf(seen({}), NOW), '');
});

test('the owner sees who is where', () => {
  const users = ['1001', '1002', '1003', '1009'].map((userId) => ({ userId }));
  const seen = breakoutsOf({ rooms: 2, places: { 1001: 0, 1002: 2, 1003: 2 } }, NOW);
  const groups = groupsOf(seen, users).map((group) => group.map(({ userId }) => userId));
  assert.deepEqual(groups, [['1001'], [], ['1002', '1003']]);
});

test('names and those who are here are checked, and last as long as the message', () => {
  const names = [null, 'Algebra', 'far'];
  const seen = breakoutsOf({ rooms: 2, at: 1, names, here: ['1001', '1002'] }, NOW);
  assert.deepEqual([...seen.names], [[2, 'Algebra']]);
  assert.deepEqual([...seen.here], ['1001', '1002']);
  const odd = breakoutsOf({ rooms: 2, names: 'Algebra', here: 'all' }, NOW);
  assert.deepEqual([odd.names.size, odd.here], [0, null]);
  assert.equal(breakoutsOf({ rooms: 2, here: Array(9_000).fill('1001') }, NOW).here.size, 1);
});

test('the students of a lecture need rooms of six, but for the 24 that the server carries', () => {
  assert.deepEqual(roomsFor(2), { least: 2, most: 2 });
  assert.deepEqual(roomsFor(25, 24), { least: 2, most: 20 });
  assert.deepEqual(roomsFor(31, 30), { least: 5, most: 20 });
  assert.deepEqual(roomsFor(28, 27).least, 4, 'three of seven, and one of six');
  assert.deepEqual(roomsFor(500, 499).least, 83);
});

test('in a lecture, what is for the media at the server goes and comes in an envelope', () => {
  const sent = [];
  const signalling = { isSure: true, check() {}, send: (message) => sent.push(message) > 0 };
  const room = conferenceRoom({ userId: '1001', iceServers: [], signalling });
  const offer = { type: 'offer', targetUid: '1002', sdp: 'v=0' };
  for (const message of [offer, { ...offer, entry: 7 }, { type: 'hangup', targetUid: '1001' }]) {
    assert.ok(room.signalling.send(message));
  }
  assert.deepEqual(sent[0], { type: 'conference', message: offer });
  assert.deepEqual(sent.slice(1), [{ ...offer, entry: 7 }, { type: 'hangup', targetUid: '1001' }]);
  // The answer of the teacher's lecture is not that of the teacher as a visitor.
  const answer = { type: 'answer', userId: '9999', sdp: 'v=0' };
  assert.equal(toConference(answer), null);
  assert.equal(toConference({ type: 'conference', message: answer }), answer);
  assert.equal(toConference({ type: 'conference' }), null);
  assert.equal(toConference({ ...answer, entry: 3 }).entry, 3);
  assert.equal(toConference({ type: 'error', code: 'targetBusy', userId: '9999' }), null);
  assert.equal(toConference({ type: 'error', code: 'targetBusy' }).code, 'targetBusy');
});

test('a form becomes an order, or is refused', () => {
  const five = roomsFor(5);
  const form = { rooms: 2, minutes: 0, byHand: false, choices: new Map([['1002', 1], ['1003', 0], ['1004', 3]]) };
  assert.deepEqual(splitOrder(form, five), { order: 'split', rooms: 2 });
  assert.deepEqual(splitOrder({ ...form, minutes: 1.5 }, five).limitS, 90);
  assert.deepEqual(splitOrder({ ...form, byHand: true }, five).assign, { 1002: 1, 1003: 0 });
  for (const wrong of [{ rooms: 1 }, { rooms: 6 }, { rooms: 2.5 }, { rooms: NaN }, { minutes: -1 }, { minutes: 1e9 }]) {
    assert.equal(splitOrder({ ...form, ...wrong }, five), null, JSON.stringify(wrong));
  }
  assert.equal(splitOrder({ ...form, rooms: 21 }, roomsFor(100)), null);
  assert.equal(splitOrder({ ...form, rooms: 4 }, roomsFor(31, 30)), null, 'not enough for 30 students');
});

/** A chat that notes what it hears over its channel. */
class FakeChat {
  heard = [];
  channel = null;
  lender = null;

  attach(channel) {
    if (this.lender) return this.lender(channel);
    this.use(channel);
  }

  use(channel) {
    this.channel = channel;
    if (channel) channel.onmessage = ({ data }) => channel === this.channel && this.heard.push(JSON.parse(data));
  }

  leave(channel) {
    const kept = { channel: this.channel };
    this.use(channel);
    return kept;
  }

  back(kept, channel) {
    this.use(channel);
  }

  clear() {
    this.heard.push('cleared');
  }

  take() {
    return this.heard.splice(0).map(({ type, text }) => text ?? type);
  }
}

test('a breakout room has a chat of its own, and what the lecture says meanwhile is read afterwards', () => {
  const chat = new FakeChat();
  const lecture = { name: 'lecture' };
  const says = (channel, message) => channel.onmessage({ data: JSON.stringify(message) });
  chat.attach(lecture);
  const sent = [];
  const joined = [];
  const talk = new LectureChat({ chat, people: { handsUp: [{ userId: '1003' }] } }, {
    send: (message) => sent.push(message),
    joined: (channel) => joined.push(channel.name),
  });
  talk.heard({ type: 'msg', text: 'too early' });
  talk.leave();
  talk.heard({ type: 'msg', text: 'in the group' });
  says(lecture, { type: 'msg', text: 'in the lecture' });
  says(lecture, { type: 'tier' });
  says(lecture, { type: 'reaction' });
  says(lecture, 7);
  assert.deepEqual(chat.take(), ['in the group', 'tier'], 'the tiers of the videos are no conversation');
  chat.channel.send(JSON.stringify({ type: 'msg', text: 'hello' }));
  assert.deepEqual(sent, [{ type: 'channel', message: { type: 'msg', text: 'hello' } }]);
  // The lecture connects anew meanwhile, and repeats its history.
  const next = { name: 'next' };
  chat.attach(next);
  says(lecture, { type: 'msg', text: 'over a connection that is gone' });
  says(next, { type: 'welcome', history: [] });
  says(next, { type: 'allows' });
  says(next, { type: 'allows' });
  for (let n = 0; n < 600; n += 1) says(next, { type: 'msg', text: `line ${n}` });
  assert.deepEqual(chat.take(), []);
  talk.back();
  const read = chat.take();
  assert.deepEqual([read.length, read[0], read[1], read.at(-1)], [502, 'welcome', 'line 100', 'allows']);
  assert.equal(chat.channel, next);
  assert.deepEqual(joined, ['lecture', 'next']);
  says(next, { type: 'msg', text: 'live again' });
  talk.heard({ type: 'msg', text: 'too late' });
  assert.deepEqual(chat.take(), ['live again']);
  // Without another connection, the hands of the lecture are up as before.
  talk.leave();
  talk.back();
  assert.deepEqual(chat.take(), ['hands']);
});

// What the page knows of breakout rooms: `node --test breakouts.test.mjs`.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { breakoutsOf, groupsOf, leftOf, splitOrder, whereKey } from '../../src/http/page/breakout_rules.js';

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

test('a form becomes an order, or is refused', () => {
  const form = { rooms: 2, minutes: 0, byHand: false, choices: new Map([['1002', 1], ['1003', 0], ['1004', 3]]) };
  assert.deepEqual(splitOrder(form, 5), { order: 'split', rooms: 2 });
  assert.deepEqual(splitOrder({ ...form, minutes: 1.5 }, 5).limitS, 90);
  assert.deepEqual(splitOrder({ ...form, byHand: true }, 5).assign, { 1002: 1, 1003: 0 });
  for (const wrong of [{ rooms: 1 }, { rooms: 6 }, { rooms: 2.5 }, { rooms: NaN }, { minutes: -1 }, { minutes: 1e9 }]) {
    assert.equal(splitOrder({ ...form, ...wrong }, 5), null, JSON.stringify(wrong));
  }
  assert.equal(splitOrder({ ...form, rooms: 21 }, 100), null);
});

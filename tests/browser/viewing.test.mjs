// What a student's page reports to have seen, in virtual time.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { ViewingCounter } from '../../src/http/page/viewing.js';

const video = (framesDecoded, freezeCount = 0) => [{ framesDecoded, freezeCount }];

test('time counts while pictures are decoded, and hidden time is known', () => {
  const counter = new ViewingCounter();
  counter.second(0, false, []);
  counter.second(1_000, false, []);
  assert.equal(counter.message().seenMs, 0, 'no picture yet');
  counter.second(2_000, false, video(30));
  counter.second(3_000, true, video(60, 1));
  assert.deepEqual(counter.message(), { type: 'viewing', seenMs: 2_000, awayMs: 1_000, freezes: 1 });
  // A slide comes once a second; a lost lecture does not.
  for (const at of [4_000, 5_000, 6_000, 7_000, 8_000]) counter.second(at, false, video(60, 1));
  assert.deepEqual(counter.message(), { type: 'viewing', seenMs: 4_000, awayMs: 1_000, freezes: 1 });
});

test('a new connection counts from 0, and the timer of a hidden tab comes seldom', () => {
  const counter = new ViewingCounter();
  counter.second(0, false, video(300, 5));
  counter.second(60_000, true, video(2_000, 6));
  counter.second(61_000, false, video(20, 1));
  assert.deepEqual(counter.message(), { type: 'viewing', seenMs: 61_000, awayMs: 60_000, freezes: 7 });
});

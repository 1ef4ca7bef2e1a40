// The target of a student's jitter buffer, second by second.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { JitterBufferTarget } from '../../src/http/page/peer.js';

/** The targets of `seconds` seconds with 100 packets each, of which `nacks` were asked for again. */
function run(target, seconds, roundTripMs, nacks = 0) {
  const targets = [];
  for (let second = 0; second < seconds; second += 1) {
    target.packets = (target.packets ?? 0) + 100;
    target.nacks = (target.nacks ?? 0) + nacks;
    targets.push(target.update(target.packets, target.nacks, roundTripMs));
  }
  return targets;
}

test('a short path without losses needs no margin after a while', () => {
  const target = new JitterBufferTarget();
  assert.deepEqual(run(target, 12, 2), [...Array(10).fill(50), 0, 0]);
  assert.deepEqual(run(target, 1, 30), [50], 'the path is longer now');
  assert.deepEqual(run(new JitterBufferTarget(), 30, 30), Array(30).fill(50), 'it always was');
});

test('after a loss there is room for a second retransmission, and then the usual margin', () => {
  const target = new JitterBufferTarget();
  run(target, 20, 2);
  assert.deepEqual(run(target, 1, 40, 5), [200]);
  assert.deepEqual(run(target, 10, 40), [...Array(9).fill(200), 50]);
  assert.deepEqual(run(target, 12, 2), [...Array(10).fill(50), 0, 0]);
});

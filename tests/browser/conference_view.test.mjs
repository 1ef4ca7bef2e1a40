// Modules of meetings and calls that touch no element: `node --test conference_view.test.mjs`.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { call, rows, stage } from '../../src/http/page/arrange.js';
import { awaitsPicture } from '../../src/http/page/server_media.js';
import { blurOf, keepBlur, setBlur } from '../../src/http/page/camera_blur.js';
import { Spotlight } from '../../src/http/page/spotlight.js';
import { CallChannel, SignallingChannel } from '../../src/http/page/talk_channel.js';

const GAP = 8;
/** A phone, a tablet, a window, a wall. */
const SPACES = [[374, 420], [800, 640], [1248, 560], [3800, 1900]].map(([width, height]) =>
  ({ left: GAP, top: GAP, width, height }));

function assertApart(boxes, space, what) {
  const isInside = ({ left, top, width, height }) =>
    left >= space.left - 0.01 && top >= space.top - 0.01 &&
    left + width <= space.left + space.width + 0.01 && top + height <= space.top + space.height + 0.01;
  assert.ok(boxes.every(isInside), `${what}: ${JSON.stringify(boxes)}`);
  const overlap = (a, b) =>
    Math.min(a.left + a.width, b.left + b.width) - Math.max(a.left, b.left) > 0.01 &&
    Math.min(a.top + a.height, b.top + b.height) - Math.max(a.top, b.top) > 0.01;
  boxes.forEach((a, n) => boxes.slice(n + 1).forEach((b) => assert.ok(!overlap(a, b), what)));
}

test('pictures in rows fit any window, do not overlap, and are no strips', () => {
  for (const space of SPACES) {
    for (let n = 1; n <= 25; n += 1) {
      const boxes = rows(n, space, GAP);
      const what = `${n} in ${space.width}x${space.height}`;
      assert.equal(boxes.length, n);
      assertApart(boxes, space, what);
      for (const { width, height } of boxes) {
        assert.ok(width / height <= 16 / 9 + 0.01 && width / height >= 0.99 && width > 50, what);
      }
      const area = boxes.reduce((sum, { width, height }) => sum + width * height, 0);
      assert.ok(area > 0.4 * space.width * space.height, `${what} leaves ${area}`);
    }
  }
});

test('one picture in the middle of an incomplete row is centred', () => {
  const boxes = rows(3, { left: 0, top: 0, width: 1000, height: 1000 }, 0);
  assert.equal(boxes[2].left + boxes[2].width / 2, 500);
});

test('a large picture has most of the space, and the small ones stand beside or below it', () => {
  for (const space of SPACES) {
    for (let n = 1; n <= 24; n += 1) {
      const { large, small } = stage(n, space, GAP);
      assertApart([large, ...small], space, `${n} beside a large one`);
      assert.ok(large.width * large.height > 0.55 * space.width * space.height, `${n}`);
    }
    const { small: [own] } = call(space, GAP);
    assertApart([own], space, 'the own picture in a call');
    assert.ok(own.width < space.width / 2);
  }
});

test('in a call, nobody can write for somebody else, and own messages come back', () => {
  const sent = [];
  let isOpen = false;
  const pair = { isOpen: () => isOpen, say: (text) => isOpen && Boolean(sent.push(text)) };
  const ada = { userId: '1001', nickname: 'Ada' };
  const channel = new CallChannel(ada, { userId: '1002', nickname: 'Ben' }, pair);
  const got = [];
  channel.onmessage = ({ data }) => got.push(JSON.parse(data));
  channel.look();
  channel.send('{"type":"msg","text":"too early"}');
  assert.deepEqual(got, []);
  isOpen = true;
  channel.look();
  channel.look();
  assert.deepEqual(got.map(({ type }) => type), ['welcome']);
  channel.send('{"type":"msg","text":"hello"}');
  assert.deepEqual(sent, ['{"type":"msg","text":"hello"}']);
  channel.heard('{"type":"msg","text":"hi","userId":"1001","nickname":"Ada","pub":"pub","id":1}');
  const lines = got.filter(({ type }) => type === 'msg');
  assert.deepEqual(lines.map(({ userId, text, pub }) => [userId, text, pub]), [
    ['1001', 'hello', 'no'],
    ['1002', 'hi', 'no'],
  ]);
  assert.ok(lines[1].id > lines[0].id);
  const others = ['', 'null', '[]', '7', '{"type":"msg"}', '{"type":"msg","text":7}', '{"type":"cleared","upTo":9e99}'];
  for (const text of others) channel.heard(text);
  channel.heard(JSON.stringify({ type: 'msg', text: 'x'.repeat(100_000) }));
  assert.equal(got.filter(({ type }) => type !== 'msg').length, 1, 'only messages and reactions pass');
  assert.equal(got.at(-1).text.length, 1_000);
});

test('in a meeting, the messages travel by signalling', () => {
  const sent = [];
  const channel = new SignallingChannel((message) => sent.push(message));
  const got = [];
  channel.onmessage = ({ data }) => got.push(data);
  channel.send('{"type":"hand","raised":true}');
  channel.heard({ type: 'hands', hands: [] });
  assert.deepEqual(sent, [{ type: 'channel', message: { type: 'hand', raised: true } }]);
  assert.deepEqual(got, ['{"type":"hands","hands":[]}']);
});

test('a participant is large once its picture is there, and until then the one before', () => {
  const spotlight = new Spotlight(() => '1001');
  const all = ['1001', '1002', '1003'];
  const is = (shown, awaited) => assert.deepEqual([spotlight.shown, spotlight.awaited], [shown, awaited]);
  spotlight.listed('', all);
  is(null, null);
  spotlight.listed('1002', all);
  is(null, '1002');
  assert.ok(!spotlight.arrived('1003') && spotlight.arrived('1002') && !spotlight.arrived('1002'));
  is('1002', null);
  spotlight.listed('1003', all);
  is('1002', '1003');
  spotlight.listed('1003', ['1001', '1003']);
  is(null, '1003');
  assert.ok(spotlight.arrived('1003'));
  spotlight.listed('1001', all);
  is(null, null);
  assert.ok(spotlight.isMine && !spotlight.arrived('1001'), 'nobody sees itself large');
  spotlight.listed('1002', all);
  spotlight.listed('', all);
  assert.ok(!spotlight.arrived('1002'), 'it came too late');
  spotlight.listed('1009', all);
  is(null, null);
  assert.equal(spotlight.named, null, 'somebody who takes no part');
});

test('media from the server has arrived without a picture where none is shown', () => {
  const [shown, hidden] = ['low', 'none'].map((tier) => ({ screen: tier, camera: tier }));
  assert.ok(awaitsPicture(['audio', 'camera'], shown));
  assert.ok(!awaitsPicture(['audio', 'camera'], hidden), 'in a hidden window');
  assert.ok(!awaitsPicture(['audio'], shown) && !awaitsPicture([], shown));
});

/** A camera whose system can blur what is behind a person, as far as `choices` say. */
function blurrable(choices) {
  let constraints = { width: 640 };
  return {
    getCapabilities: () => ({ backgroundBlur: choices }),
    getSettings: () => ({ backgroundBlur: constraints.backgroundBlur ?? false }),
    getConstraints: () => constraints,
    applyConstraints: async (next) => void (constraints = next),
  };
}

const stored = new Map();
globalThis.window = {
  localStorage: { getItem: (key) => stored.get(key) ?? null, setItem: (key, text) => stored.set(key, text) },
};

test('a camera blurs what is behind a person where it can, and the next one as well', async () => {
  for (const track of [null, {}, blurrable(undefined), blurrable([false]), blurrable([true])]) {
    assert.equal(blurOf(track), null, 'there is nothing to choose');
  }
  const camera = blurrable([true, false]);
  await keepBlur(camera);
  assert.equal(blurOf(camera), false, 'nobody wants it so far');
  await setBlur(camera, true);
  assert.deepEqual([blurOf(camera), camera.getConstraints().width], [true, 640]);
  const next = blurrable([true, false]);
  await keepBlur(next);
  assert.equal(blurOf(next), true);
  const refuses = { ...blurrable([true, false]), applyConstraints: () => Promise.reject(new Error('busy')) };
  await setBlur(refuses, true);
  await setBlur(camera, false);
  assert.equal(blurOf(camera), false);
});

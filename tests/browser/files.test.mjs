// Files between participants and over the server, in Node.js: honest and hostile sides, and lines that break.

import assert from 'node:assert/strict';
import test from 'node:test';

import { FilePace } from '../../src/http/page/file_pace.js';
import { CHUNK_BYTES, digestOf, readMessage, safeName, sizeOf } from '../../src/http/page/file_rules.js';
import { Download, Upload } from '../../src/http/page/file_server.js';
import { Receiving, Sending } from '../../src/http/page/file_transfer.js';
import { Files } from '../../src/http/page/files.js';
import { Uplink } from '../../src/http/page/uplink.js';

const [ada, ben] = [{ userId: '1001', nickname: 'Ada', entry: 1 }, { userId: '1002', nickname: 'Ben', entry: 2 }];
const EVERYTHING = { take: () => true };
const nothing = () => {};
const turn = () => new Promise((done) => setImmediate(done));

async function until(is) {
  for (let n = 0; n < 20_000 && !is(); n += 1) await turn();
  assert.ok(is(), String(is));
}

const bytesOf = (length) => Uint8Array.from({ length }, (_, n) => (n * 31 + (n >> 8)) & 255);
const fileOf = (bytes, name = 'notes.pdf') => new File([bytes], name, { type: 'application/pdf' });

/** Two ends of a data channel with a queue in between, as of a browser. */
function channels(id) {
  const made = [0, 1].map(() => ({ readyState: 'open', protocol: id, bufferedAmount: 0, most: 0 }));
  made.forEach((end, n) => {
    const other = made[1 - n];
    end.send = (data) => {
      assert.equal(end.readyState, 'open');
      const copy = typeof data === 'string' ? data : data.slice().buffer;
      const length = typeof data === 'string' ? data.length : data.length;
      end.bufferedAmount += length;
      end.most = Math.max(end.most, end.bufferedAmount);
      setImmediate(() => {
        end.bufferedAmount -= length;
        other.onmessage?.({ data: copy });
        if (end.bufferedAmount <= end.bufferedAmountLowThreshold) end.onbufferedamountlow?.();
      });
    };
    end.close = () => setImmediate(() => {
      for (const one of made) {
        if (one.readyState === 'closed') continue;
        one.readyState = 'closed';
        one.onclose?.();
      }
    });
  });
  return made;
}

/** A sender and a receiver, whose messages arrive at once. */
function pair(file, { pace = EVERYTHING } = {}) {
  let now = 0;
  const on = { changed: nothing, now: () => now };
  const said = [];
  const made = { said, pass: (ms) => (now += ms) };
  const toSender = { say: (message) => {
    said.push(message);
    if (message.type === 'fileAnswer') made.sender.answered(message);
    if (message.type === 'fileCancel') made.sender.cancelled();
    return true;
  } };
  const toReceiver = {
    say: (message) => {
      said.push(message);
      if (message.type === 'file') {
        const offer = readMessage(JSON.stringify(message));
        made.receiver = new Receiving({ ...offer, user: ada }, toSender, on);
      }
      if (message.type === 'fileCancel') made.receiver.cancelled();
      return true;
    },
    open: (id) => {
      made.ends = channels(id);
      setImmediate(() => {
        if (!made.receiver.take(made.ends[1])) made.ends[1].close();
        made.ends[0].onopen?.();
      });
      return made.ends[0];
    },
  };
  const what = { id: 'f1', user: ben, name: file.name };
  made.sender = new Sending(what, file, { link: toReceiver, pace, digest: digestOf(file) }, on);
  return made;
}

test('a file arrives byte for byte, and little waits in the browser', async () => {
  const bytes = bytesOf(3_000_001);
  const { sender, receiver, ends, ...rest } = pair(fileOf(bytes));
  assert.deepEqual([sender.state, receiver.state, ends], ['offered', 'offered', undefined]);
  receiver.accept();
  await until(() => sender.isOver && receiver.isOver);
  assert.deepEqual([sender.state, receiver.state], ['done', 'done']);
  assert.deepEqual(new Uint8Array(await receiver.blob.arrayBuffer()), bytes);
  assert.equal(receiver.blob.type, '', 'a browser shows no page of it');
  assert.equal(rest.said.filter(({ type }) => type === 'fileCancel').length, 0);
});

test('the sender waits for the channel and for the pace', async () => {
  let allowed = 0;
  const pace = { take: (bytes) => allowed >= bytes && Boolean((allowed -= bytes) + 1) };
  const made = pair(fileOf(bytesOf(600_000)), { pace });
  made.receiver.accept();
  for (let n = 0; n < 50; n += 1) await turn();
  assert.equal(made.receiver.done, 0);
  allowed = 100_000;
  made.sender.look();
  await until(() => made.receiver.done > 0 && made.ends[0].bufferedAmount === 0);
  assert.ok(made.receiver.done <= 100_000 && made.sender.state === 'running');
  allowed = Infinity;
  made.sender.look();
  await until(() => made.receiver.state === 'done');
  assert.ok(made.ends[0].most <= 256 * 1024 + CHUNK_BYTES + 100, `${made.ends[0].most}`);
});

test('both sides may decline, cancel, and lose each other', async () => {
  const declined = pair(fileOf(bytesOf(9)));
  declined.receiver.decline();
  assert.deepEqual([declined.sender.state, declined.sender.reason], ['declined', 'declined']);
  const sent = pair(fileOf(bytesOf(9)));
  sent.sender.cancel();
  assert.deepEqual([sent.receiver.state, sent.receiver.reason], ['cancelled', 'there']);
  for (const side of ['sender', 'receiver']) {
    const made = pair(fileOf(bytesOf(4_000_000)));
    made.receiver.accept();
    await until(() => made.receiver.done > 100_000);
    made[side].cancel();
    await until(() => made.sender.isOver && made.receiver.isOver);
    assert.deepEqual([made.sender.state, made.receiver.state, made.receiver.blob], ['cancelled', 'cancelled', null]);
    await until(() => made.ends.every(({ readyState }) => readyState === 'closed'));
  }
  const lost = pair(fileOf(bytesOf(4_000_000)));
  lost.receiver.accept();
  await until(() => lost.receiver.done > 100_000);
  for (const end of lost.ends) end.readyState = 'closed';
  lost.sender.look();
  lost.receiver.look();
  assert.deepEqual([lost.sender.state, lost.receiver.state], ['lost', 'lost']);
});

test('a file that changes on the disk while it is sent is not sent on', async () => {
  const bytes = bytesOf(2_000_000);
  const file = { name: 'a', size: 3_000_000, type: '', slice: (from, to) => new Blob([bytes.slice(from, to)]) };
  file.arrayBuffer = async () => bytes.buffer;
  const { sender, receiver } = pair(file);
  receiver.accept();
  await until(() => sender.isOver && receiver.isOver);
  assert.deepEqual([sender.state, sender.reason, receiver.blob], ['failed', 'unreadable', null]);
});

/** A receiver that has accepted, with the hostile end of its channel. */
function hostile(size) {
  const said = [];
  const link = { say: (message) => Boolean(said.push(message)) };
  const receiver = new Receiving({ id: 'f1', user: ada, name: 'a', size }, link, { changed: nothing, now: () => 0 });
  const [theirs, mine] = channels('f1');
  return { said, receiver, theirs, mine };
}

test('a sender that breaks the rules is stopped, and nothing of it is kept', async () => {
  const end = JSON.stringify({ type: 'end', sha256: '' });
  const chunk = bytesOf(CHUNK_BYTES);
  const ways = {
    'more bytes than offered': [chunk, chunk, chunk],
    'a message that is too large': [bytesOf(CHUNK_BYTES + 1)],
    'empty messages': [new Uint8Array()],
    'an end before the last byte': [chunk, end],
    'bytes after the end': [chunk, bytesOf(4), end, bytesOf(1)],
    'another file': [chunk, bytesOf(4), JSON.stringify({ type: 'end', sha256: '00'.repeat(32) })],
    'words': [chunk, 'hello'],
    'a long text': ['x'.repeat(1_000_000)],
    'no object': ['null'],
  };
  for (const [what, messages] of Object.entries(ways)) {
    const { receiver, theirs, mine } = hostile(CHUNK_BYTES + 4);
    receiver.accept();
    assert.ok(receiver.take(mine));
    for (const message of messages) theirs.send(message);
    await until(() => receiver.isOver);
    for (let n = 0; n < 20; n += 1) await turn();
    const isHarmless = what === 'bytes after the end';
    assert.equal(receiver.state, isHarmless ? 'done' : 'failed', what);
    assert.equal(receiver.blob?.size ?? 0, isHarmless ? CHUNK_BYTES + 4 : 0, what);
    if (!isHarmless) await until(() => mine.readyState === 'closed');
  }
  const early = hostile(9);
  assert.equal(early.receiver.take(early.mine), false, 'nobody has accepted it');
  early.receiver.accept();
  assert.ok(early.receiver.take(early.mine));
  assert.equal(early.receiver.take(channels('f1')[1]), false, 'a second channel');
});

test('names are safe to show and to save', () => {
  const names = {
    'notes.pdf': 'notes.pdf',
    '作业 第一章.docx': '作业 第一章.docx',
    '../../etc/passwd': '_.._etc_passwd',
    'C:\\Windows\\a.exe': 'C__Windows_a.exe',
    'invoice\u202efdp.exe': 'invoicefdp.exe',
    'a\r\nb\u0000': 'ab',
    ' .bashrc. ': 'bashrc',
    'CON.txt': '_CON.txt',
    '\u200b..': 'file',
    '': 'file',
  };
  for (const [name, safe] of Object.entries(names)) assert.equal(safeName(name), safe);
  for (const odd of [null, 7, {}, undefined]) assert.equal(safeName(odd), 'file');
  const long = safeName(`${'é'.repeat(200)}.pdf`);
  assert.ok(long.length === 120 && long.endsWith('é.pdf'));
  assert.ok(safeName('😀'.repeat(5_000_000)).length <= 240);
  assert.deepEqual([999, 48_213, 3_300_000, 1e8].map(sizeOf), ['999 B', '48 kB', '3.3 MB', '100 MB']);
});

test('only whole messages about files are read', () => {
  const offer = { type: 'file', id: 'a1', name: 'a/b', size: 5 };
  assert.deepEqual(readMessage(JSON.stringify(offer)), { ...offer, name: 'a_b', isOnly: false });
  assert.equal(readMessage(JSON.stringify({ ...offer, only: true })).isOnly, true);
  for (const wrong of [{ id: '' }, { id: 'x'.repeat(33) }, { id: 7 }, { id: 'a b' }, { size: 0 }, { size: -1 },
    { size: 1.5 }, { size: '5' }, { size: 1e300 }, { type: 'msg' }]) {
    assert.equal(readMessage(JSON.stringify({ ...offer, ...wrong })), null, JSON.stringify(wrong));
  }
  const long = JSON.stringify({ ...offer, name: 'x'.repeat(9_999) });
  for (const text of ['', 'null', '[]', '{', 7, new ArrayBuffer(3), long]) assert.equal(readMessage(text), null);
  const answer = readMessage('{"type":"fileAnswer","id":"a1","accepted":"yes","reason":"<b>"}');
  assert.deepEqual(answer, { type: 'fileAnswer', id: 'a1', accepted: false, reason: 'declined' });
});

const FINE = { roundTripMs: 20, lost: 0, limitedBy: 'none', available: 0 };
/** A way of the media, with what differs from a good one. */
const way = (more) => ({ measure: { ...FINE, ...more }, wantedBitrate: 500_000 });

/** The factor by which a rate changes with these ways; `used` are the names of those that carry files. */
function change(pace, ways, used = Object.keys(ways)) {
  const before = pace.rate;
  pace.update(new Map(Object.entries(ways)), new Set(used));
  return pace.rate / before;
}

test('the rate gives way when the media suffers', () => {
  const pace = new FilePace();
  const short = (available) => way({ limitedBy: 'bandwidth', available });
  assert.ok(change(pace, { ben: way() }) > 1);
  for (const bad of [way({ roundTripMs: 200 }), way({ lost: 0.1 })]) assert.equal(change(pace, { ben: bad }), 0.5);
  assert.ok(change(pace, { ben: short(400_000) }) > 1, 'a new connection begins with a low estimate');
  assert.equal(change(pace, { ben: short(300_000) }), 0.5, 'the browser sends less, as the line is full');
  assert.equal(change(pace, { ben: short(330_000) }), 1, 'the media comes back first');
  for (let s = 0; s < 60; s += 1) change(pace, { ben: way({ lost: 0.1 }) });
  assert.ok(pace.rate >= CHUNK_BYTES, 'a chunk passes even then');
  let sent = 0;
  for (let ms = 0; ms <= 10_000; ms += 20) if (pace.take(1_000, ms)) sent += 1_000;
  assert.ok(sent > 9 * pace.rate && sent < 11.2 * pace.rate, `${sent} at ${pace.rate}`);
  // A part of a file over the server has more bytes than may be sent in a second.
  sent = 0;
  for (let ms = 10_000; ms <= 110_000; ms += 100) if (pace.take(256_000, ms)) sent += 256_000;
  assert.ok(sent < 110 * pace.rate, `${sent} at ${pace.rate}`);
});

test('a low estimate that stands still starves no file, as when a meeting moves to the server', () => {
  const pace = new FilePace();
  // A busy computer sends 200 kbit/s of its camera, so its browser does not find out what the new connection carries.
  const uplink = () => {
    const meter = new Uplink();
    const video = { type: 'outbound-rtp', kind: 'video', mid: '2', framesPerSecond: 10, targetBitrate: 200_000 };
    const path = { type: 'candidate-pair', nominated: true, currentRoundTripTime: 0.001 };
    for (let s = 1; s <= 9; s += 1) {
      const sent = { ...video, bytesSent: 25_000 * s, qualityLimitationReason: 'bandwidth' };
      meter.update([sent, { ...path, availableOutgoingBitrate: 457_798 }], new Map([['2', 'camera']]), 1_000 * s);
    }
    return meter;
  };
  assert.equal(uplink().trouble.key, 'cameraTooSlow');
  for (let s = 0; s < 30; s += 1) change(pace, { ben: way(), server: uplink().path });
  assert.ok(pace.rate > 5_000_000, `${pace.rate}`);
});

test('a slow line of one participant slows down the files of that one alone', () => {
  const pace = new FilePace();
  const ways = (bad) => ({ ben: way(), cleo: way(), dan: way(), [bad]: way({ lost: 0.2 }) });
  assert.ok(change(pace, ways('cleo'), ['ben']) > 1);
  assert.equal(change(pace, ways('ben'), ['ben']), 0.5);
  assert.equal(change(pace, { ...ways('cleo'), dan: way({ lost: 0.2 }), ben: way({ lost: 0.2 }) }, ['eve']), 0.5);
});

/** Files of a member, with what it says to others and to the server. */
function member({ participants = [ada, ben], isOverServer = false, respond } = {}) {
  const [said, sent, added] = [[], [], []];
  let now = 0;
  const here = {
    userId: '1001',
    participants,
    isOverServer,
    isOpen: true,
    user: (userId) => participants.find((one) => one.userId === userId),
    pairTo: (userId) => ({
      isOpen: () => here.isOpen,
      say: (text) => here.isOpen && Boolean(said.push([userId, JSON.parse(text)])),
      open: () => null,
    }),
    send: (message) => Boolean(sent.push(message)),
    fetch: (number, request) => respond(number, request),
    now: () => now,
    sleep: async (ms) => void (now += ms),
  };
  const files = new Files(here, { added: (item) => added.push(item), changed: nothing, removed: nothing });
  return { files, here, said, sent, added, pass: (ms) => (now += ms) };
}

test('each of several receivers accepts for itself, and who is loaded again loses the file', () => {
  const cleo = { userId: '1003', nickname: 'Cleo', entry: 3 };
  const { files, here, said } = member({ participants: [ada, ben, cleo] });
  assert.equal(files.send(fileOf(bytesOf(9)), null), null);
  assert.deepEqual(said.map(([to, { type, size }]) => [to, type, size]), [['1002', 'file', 9], ['1003', 'file', 9]]);
  const [{ transfers: [toBen, toCleo] }] = files.items;
  const answer = (of, accepted) => JSON.stringify({ type: 'fileAnswer', id: of.id, accepted, reason: 'declined' });
  files.message('1003', answer(toBen, false));
  assert.deepEqual([toBen.state, toCleo.state], ['offered', 'offered'], 'nobody answers for somebody else');
  files.message('1003', answer(toCleo, false));
  assert.deepEqual([toBen.state, toCleo.state], ['offered', 'declined']);
  here.participants = [ada, { ...ben, entry: 9 }];
  files.look();
  assert.equal(toBen.state, 'lost');
  assert.equal(files.send(fileOf(bytesOf(9)), cleo).key, 'fileNotIn');
  here.participants = [ada];
  assert.equal(files.send(fileOf(bytesOf(9)), null).key, 'fileNobody');
});

test('files need their pair until the last word about them has had time to arrive', () => {
  const { files, said, pass } = member();
  assert.equal(files.needs('1002'), false);
  files.send(fileOf(bytesOf(9)), null);
  assert.deepEqual([files.needs('1002'), files.needs('1003')], [true, false], 'an offer waits for its answer');
  files.message('1002', JSON.stringify({ type: 'fileAnswer', id: said[0][1].id, accepted: false }));
  pass(1_000);
  assert.equal(files.needs('1002'), true);
  pass(2_000);
  assert.equal(files.needs('1002'), false);
});

test('offers that are too large, too many or from nobody are not shown', () => {
  const { files, said, pass, added } = member();
  const text = (id, size) => JSON.stringify({ type: 'file', id, name: 'a', size });
  const offer = (id, size = 9, from = '1002') => files.message(from, text(id, size));
  assert.ok(offer('huge', 1e12));
  assert.equal(said.at(-1)[1].reason, 'tooLarge');
  offer('x', 9, '1009');
  assert.equal(added.length, 0);
  for (let n = 0; n < 50; n += 1) offer(`f${n}`);
  assert.equal(added.length, 8);
  assert.equal(said.at(-1)[1].reason, 'busy');
  offer('f0');
  assert.equal(added.length, 8, 'the same offer again');
  for (let n = 50; n < 200; n += 1) {
    offer(`f${n}`);
    files.message('1002', JSON.stringify({ type: 'fileCancel', id: `f${n}` }));
    files.items.at(-1)?.transfers[0].decline();
  }
  assert.ok(added.length <= 20, `${added.length} in a minute`);
  pass(61_000);
  offer('later');
  assert.equal(files.items.at(-1).transfers[0].id, 'later');
  const channel = { protocol: 'later' };
  assert.equal(files.channel('1002', channel), false, 'before it is accepted');
});

/** The server of a meeting, with one file. */
function server({ breaks = () => false } = {}) {
  const stored = { bytes: new Uint8Array(), requests: 0 };
  const response = (status, headers, body = null) => new Response(body, { status, headers });
  stored.respond = async (number, { method, headers, body }) => {
    stored.requests += 1;
    if (method === 'GET') {
      const [, from, last] = /^bytes=(\d+)-(\d+)$/.exec(headers.range);
      const part = stored.bytes.slice(Number(from), Number(last) + 1);
      if (breaks(stored.requests)) throw new TypeError('the connection broke');
      return response(206, {}, part);
    }
    const offset = Number(headers['upload-offset']);
    if (offset !== stored.bytes.length) return response(409, { 'upload-offset': String(stored.bytes.length) });
    stored.bytes = new Uint8Array([...stored.bytes, ...new Uint8Array(await body.arrayBuffer())]);
    // The part has arrived, and its answer does not.
    if (breaks(stored.requests)) throw new TypeError('the connection broke');
    return response(204, { 'upload-offset': String(stored.bytes.length) });
  };
  return stored;
}

test('a file goes up to the server and down, also when answers are lost', async () => {
  const bytes = bytesOf(700_000);
  const stored = server({ breaks: (n) => n % 2 === 1 });
  const up = member({ isOverServer: true, respond: stored.respond });
  up.files.send(fileOf(bytes), ben);
  up.files.send(fileOf(bytesOf(5), 'second'), null);
  const shares = up.sent.map(({ type, size, to }) => [type, size, to]);
  assert.deepEqual(shares, [['shareFile', 700_000, '1002']], 'one by one');
  up.files.told({ type: 'filePlace', file: 7 });
  const [first, second] = up.files.items.map(({ transfers: [transfer] }) => transfer);
  assert.ok(first instanceof Upload);
  await until(() => first.state === 'shared');
  assert.deepEqual(stored.bytes, bytes);
  up.files.look();
  assert.equal(up.sent.at(-1).size, 5);
  up.files.told({ type: 'error', code: 'fileRefused', retryAfterMs: 60_000 });
  assert.deepEqual([second.state, second.reason], ['failed', 'full']);

  const down = member({ isOverServer: true, respond: stored.respond });
  const told = { type: 'file', file: 7, userId: '1002', nickname: 'Ben', name: '../a.pdf', size: 700_000, to: '1001' };
  down.files.told(told);
  down.files.told({ ...told, name: 'again' });
  assert.equal(down.files.items.length, 1);
  const [item] = down.files.items;
  const [transfer] = item.transfers;
  assert.ok(transfer instanceof Download && item.name === '_a.pdf' && item.to.userId === '1001');
  await transfer.accept();
  assert.equal(transfer.state, 'done');
  assert.deepEqual(new Uint8Array(await transfer.blob.arrayBuffer()), bytes);
  down.files.told({ type: 'fileGone', file: 7 });
  assert.equal(transfer.state, 'done', 'what is here stays');
  up.files.told({ type: 'fileGone', file: 7 });
  assert.equal(first.state, 'expired');
});

test('a server that is gone, or sends something else, ends the file', async () => {
  const lost = member({ isOverServer: true, respond: async () => { throw new TypeError('refused'); } });
  lost.files.send(fileOf(bytesOf(9)), null);
  lost.files.told({ type: 'filePlace', file: 1 });
  await until(() => lost.files.items[0].transfers[0].state === 'lost');
  const offer = { type: 'file', file: 2, userId: '1002', nickname: 'Ben', name: 'a', size: 9 };
  for (const [respond, state] of [
    [async () => new Response(bytesOf(10), { status: 206 }), 'lost'],
    [async () => new Response(new Uint8Array(), { status: 206 }), 'lost'],
    [async () => new Response(bytesOf(9), { status: 200 }), 'lost'],
    [async () => new Response('', { status: 404 }), 'expired'],
  ]) {
    const down = member({ isOverServer: true, respond });
    down.files.told(offer);
    const [transfer] = down.files.items[0].transfers;
    await transfer.accept();
    assert.deepEqual([transfer.state, transfer.blob], [state, null]);
  }
  const hostile = member({ isOverServer: true });
  for (const size of [0, -1, 1e12, NaN, 'x', undefined]) hostile.files.told({ ...offer, size });
  assert.equal(hostile.files.items.length, 0);
});

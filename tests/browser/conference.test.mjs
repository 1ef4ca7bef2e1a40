// The state of calls and meetings, in Node.js: what happens comes in, and the phase and the messages to send come out.

import assert from 'node:assert/strict';
import test from 'node:test';

import { begin, reduce } from '../../src/http/page/conference.js';

/** A page of user 1001 in a room of this kind; `sent` are its messages, `done` its other commands. */
class Page {
  now = 1_000;
  sent = [];
  done = [];

  constructor(kind) {
    this.state = begin('1001', kind);
  }

  #on(event) {
    const before = JSON.stringify(this.state);
    const { state, commands } = reduce(this.state, { now: this.now, ...event });
    assert.equal(JSON.stringify(this.state), before, 'a state is never changed');
    this.state = state;
    for (const { do: what, message } of commands) {
      if (what === 'send') this.sent.push(message);
      else this.done.push(what);
    }
    return this;
  }

  hears = (type, more = {}) => this.#on({ type: 'message', message: { type, ...more } });
  does = (type, more = {}) => this.#on({ type, ...more });
  listed = (...ids) => this.hears('participants', { participants: ids.map((userId, n) => ({ userId, entry: n + 1 })) });
  media = (states) => this.does('media', { states });

  after(seconds) {
    this.now += 1_000 * seconds;
    return this.does('time');
  }

  /** The phase and the reason, and the messages that were sent since the last time. */
  is(phase, reason, ...sent) {
    assert.deepEqual([this.state.phase, this.state.reason], [phase, reason]);
    assert.deepEqual(this.sent.splice(0), sent);
    return this;
  }
}

const ADA = { userId: '1002', nickname: 'Ada', sends: ['audio'] };
const SENDS = { sends: ['audio', 'camera'] };

/** A page that calls Ada, and one that talks with her. */
const calling = () => new Page('call').does('call', { ...ADA, ...SENDS })
  .is('calling', null, { type: 'call', targetUid: '1002', ...SENDS });
const talking = () => calling().hears('accept', ADA).listed('1001', '1002').media({ 1002: 'connected' })
  .is('inCall', null);

test('a caller talks to who accepts, and hangs up', () => {
  const page = calling().hears('accept', { userId: '1003' }).is('calling', null);
  page.hears('accept', ADA).is('connecting', null).listed('1001', '1002').media({ 1002: 'connecting' });
  page.now = 5_000;
  page.is('connecting', null).media({ 1002: 'connected' }).is('inCall', null);
  assert.equal(page.state.startedAt, 5_000);
  assert.deepEqual(page.done, ['participants']);
  page.does('sends', { sends: ['audio'] }).is('inCall', null, { type: 'participate', sends: ['audio'] });
  page.does('hangUp').is('idle', null, { type: 'hangup', targetUid: '1002' });
  assert.deepEqual(page.done, ['participants', 'end']);
  page.listed().is('idle', null);
});

test('a caller hears why nobody talks', () => {
  for (const reason of ['declined', 'busy', 'noAnswer', 'noDevices', 'left']) {
    calling().hears('decline', { userId: '1002', reason }).is('ended', reason).does('close').is('idle', null);
  }
  calling().hears('error', { code: 'unknownTarget' }).is('ended', 'left');
  calling().after(34).is('calling', null).after(1).is('ended', 'noAnswer', { type: 'hangup', targetUid: '1002' });
  calling().does('hangUp').is('idle', null, { type: 'hangup', targetUid: '1002' });
});

test('a callee accepts, declines, or misses the call', () => {
  const rings = () => new Page('call').hears('call', ADA).is('ringing', null);
  const accept = { type: 'accept', targetUid: '1002', ...SENDS };
  rings().does('accept', SENDS).is('connecting', null, accept).listed('1002', '1001').media({ 1002: 'connected' })
    .is('inCall', null);
  const decline = { type: 'decline', targetUid: '1002', reason: 'declined' };
  rings().does('decline').is('idle', null, decline);
  rings().hears('hangup', { userId: '1003' }).is('ringing', null).hears('hangup', ADA).is('ended', 'missed');
  rings().after(36).is('ended', 'missed');
  const other = rings().hears('call', { userId: '1003' });
  assert.equal(other.state.other.nickname, 'Ada', 'the server answers a third one');
});

test('a call or its acceptance that was lost is sent again', () => {
  calling().does('lost').hears('joined').is('calling', null, { type: 'call', targetUid: '1002', ...SENDS });
  const accept = { type: 'accept', targetUid: '1002', ...SENDS };
  const page = new Page('call').hears('call', ADA).does('accept', SENDS).is('connecting', null, accept);
  page.does('lost').hears('joined').listed().hears('call', ADA).is('connecting', null, accept);
  page.after(9).is('connecting', null).after(1).is('ended', 'failed', { type: 'hangup', targetUid: '1002' });
});

test('two who call each other talk', () => {
  calling().hears('call', ADA).is('calling', null).listed('1001', '1002').is('connecting', null);
});

test('a call reconnects, and ends if that fails', () => {
  const page = talking().media({ 1002: 'reconnecting' }).is('reconnecting', null).media({ 1002: 'connected' })
    .is('inCall', null);
  assert.equal(page.state.startedAt, 1_000, 'it is the same call');
  const hangup = { type: 'hangup', targetUid: '1002' };
  page.media({ 1002: 'reconnecting' }).media({ 1002: 'lost' }).is('ended', 'lost', hangup);
  calling().hears('accept', ADA).listed('1001', '1002').media({ 1002: 'lost' }).is('ended', 'failed', hangup);
  talking().hears('hangup', ADA).is('ended', 'hungUp').listed().is('ended', 'hungUp');
});

test('a call outlives signalling, and a server that restarts', () => {
  const page = talking().does('lost').is('inCall', null).hears('joined').listed('1001', '1002').is('inCall', null);
  page.does('lost').hears('joined').listed().is('inCall', null);
  assert.ok(page.state.isUnlisted);
  page.after(7).is('inCall', null).after(1).is('inCall', null, { type: 'call', targetUid: '1002', ...SENDS });
  page.hears('decline', { userId: '1002', reason: 'left' }).hears('error', { code: 'unknownTarget' });
  page.hears('call', ADA).is('inCall', null, { type: 'accept', targetUid: '1002', ...SENDS });
  page.listed('1001', '1002').after(20).is('inCall', null).hears('joined').listed();
  page.media({ 1002: 'lost' }).is('ended', 'lost', { type: 'hangup', targetUid: '1002' });
  talking().does('lost').hears('joined').listed('1002').is('inCall', null, { type: 'participate', ...SENDS });
});

test('a call waits while the other one loads its page again', () => {
  const page = talking().listed('1001').media({}).is('reconnecting', null);
  assert.deepEqual(page.done, ['participants', 'participants'], 'the old connection ends');
  page.listed('1001', '1002').media({ 1002: 'connecting' }).is('reconnecting', null);
  page.media({ 1002: 'connected' }).is('inCall', null);
  page.listed('1001').hears('hangup', ADA).is('ended', 'hungUp');
});

test('a page that is loaded again goes back to its call', () => {
  const page = new Page('call').hears('joined').listed('1002').is('idle', null);
  assert.equal(page.state.kept.userId, '1002');
  page.does('resume', SENDS).is('connecting', null, { type: 'participate', ...SENDS });
  page.listed('1002', '1001').media({ 1002: 'connected' }).is('inCall', null);
  assert.equal(new Page('call').listed('1002').listed().state.kept, null);
});

/** A page in a meeting with others. */
const meeting = (...others) => new Page('meeting').listed(...others).does('enter', SENDS)
  .is('entering', null, { type: 'participate', ...SENDS }).listed(...others, '1001').is('in', null);

test('a participant enters a meeting, and leaves it', () => {
  const page = meeting('1002').does('sends', { sends: [] }).is('in', null, { type: 'participate', sends: [] });
  page.does('leave').is('outside', null, { type: 'hangup', targetUid: '1001' });
  assert.deepEqual(page.done, ['participants', 'end']);
  page.listed('1002').is('outside', null);
  assert.equal(page.state.participants.length, 1, 'members hear who takes part');
});

test('a meeting reconnects only while nobody is connected', () => {
  const page = meeting('1002', '1003').media({ 1002: 'reconnecting', 1003: 'connected' }).is('in', null);
  page.media({ 1002: 'lost', 1003: 'reconnecting' }).is('reconnecting', null);
  page.media({ 1002: 'connected', 1003: 'lost' }).is('in', null);
  meeting().does('lost').is('reconnecting', null).hears('joined').listed('1001').is('in', null);
  meeting('1002').media({ 1002: 'connected' }).does('lost').is('in', null);
});

test('who has lost the place in a meeting enters again', () => {
  const page = meeting('1002').does('lost').hears('joined').listed('1002')
    .is('entering', null, { type: 'participate', ...SENDS });
  page.listed('1002').is('entering', null).listed('1002', '1001').is('in', null);
});

test('lists from before do not end a meeting', () => {
  const again = { type: 'participate', ...SENDS };
  const page = meeting().does('leave').is('outside', null, { type: 'hangup', targetUid: '1001' });
  page.does('enter', SENDS).is('entering', null, again).listed('1001').is('in', null);
  page.listed().is('entering', null, again).listed('1001').is('in', null);
  // A person that leaves before the list of a new connection stays outside.
  page.hears('joined').does('leave').listed('1002').is('outside', null, { type: 'hangup', targetUid: '1001' });
});

test('who has left while signalling was lost says so again', () => {
  const hangup = { type: 'hangup', targetUid: '1001' };
  const page = meeting('1002').does('lost').does('leave').is('outside', null, hangup);
  page.hears('joined').listed('1001', '1002').is('outside', null, hangup).listed('1002').is('outside', null);
  const call = talking().does('lost').does('hangUp').is('idle', null, { type: 'hangup', targetUid: '1002' });
  call.hears('joined').listed('1001', '1002').is('idle', null, hangup).listed().is('idle', null);
});

test('a meeting ends for all, or for one', () => {
  meeting('1002').after(5).listed().is('ended', 'over').does('close').is('outside', null);
  meeting('1002').after(5).listed('1002').is('ended', 'removed');
  meeting('1002').does('refused', { code: 'removed' }).is('ended', 'refused');
  const enters = () => new Page('meeting').does('enter', SENDS).is('entering', null, { type: 'participate', ...SENDS });
  const full = enters().hears('error', { code: 'meetingFull' }).is('ended', 'refused');
  assert.equal(full.state.code, 'meetingFull');
  enters().hears('error', { code: 'notAllowed' }).is('entering', null);
  const busy = enters().hears('error', { code: 'targetBusy', retryAfterMs: 1_500 }).after(1).is('entering', null);
  busy.after(1).is('entering', null, { type: 'participate', ...SENDS }).after(5).is('entering', null);
});

test('the owner of a meeting calls all', () => {
  meeting().does('callAll').is('in', null, { type: 'callAll' });
  const rings = () => new Page('meeting').hears('room', { isCalling: true }).hears('call', ADA);
  rings().does('accept', SENDS).is('entering', null, { type: 'accept', targetUid: '1002', ...SENDS });
  const late = rings().does('accept', SENDS);
  late.sent = [];
  late.hears('error', { code: 'unknownTarget' }).is('entering', null, { type: 'participate', ...SENDS });
  const declined = rings().does('decline');
  declined.is('outside', null, { type: 'decline', targetUid: '1002', reason: 'declined' });
  assert.equal(declined.state.other, null);
  assert.equal(rings().hears('room', { isCalling: false }).state.other, null);
});

test('who takes part may be large for everybody', () => {
  meeting('1002').does('spotlight', { on: true }).is('in', null, { type: 'spotlight', on: true });
  new Page('meeting').does('spotlight', { on: true }).is('outside', null);
});

test('an overloaded computer is reported while the media is in the mesh', () => {
  const page = meeting('1002').does('overloaded').is('in', null, { type: 'overloaded' });
  page.hears('participants', { participants: [{ userId: '1001' }], media: 'server', moved: 'overload' });
  page.does('overloaded').is('in', null);
  assert.deepEqual([page.state.media, page.state.moved], ['server', 'overload']);
});

test('nonsense changes nothing', () => {
  const page = talking();
  for (const participants of [7, null, [null, 7, {}]]) page.hears('participants', { participants });
  page.is('inCall', null).hears('call', {}).hears('unknown').does('unknown').is('inCall', null);
});

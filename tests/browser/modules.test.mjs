// Unit tests of the page's modules that touch neither elements nor connections: node --test modules.test.mjs

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';

/** Imports a module of the page that imports no other. */
function pageModule(name) {
  const source = readFileSync(new URL(`../../src/http/page/${name}`, import.meta.url), 'utf8');
  return import(`data:text/javascript,${encodeURIComponent(source)}`);
}

const { Uplink, measure } = await pageModule('uplink.js');
const { notice } = await pageModule('notices.js');
const { pathOf, refusals } = await pageModule('path.js');

const ROLES = new Map([['0', 'audio'], ['1', 'screen'], ['2', 'camera']]);

/** A report of `getStats` after `s` seconds of a lecture; `more` changes the entry of the screen. */
function report(s, { available = 4e6, lost = 0, ...more } = {}) {
  const video = { type: 'outbound-rtp', kind: 'video', framesPerSecond: 15, qualityLimitationReason: 'none' };
  const full = { targetBitrate: 2.5e6, frameWidth: 1920, frameHeight: 1080, rid: 'f' };
  return [
    { type: 'transport', selectedCandidatePairId: 'CP' },
    { type: 'candidate-pair', id: 'other', bytesReceived: 9e9 },
    { type: 'candidate-pair', id: 'CP', bytesReceived: 500 * s, availableOutgoingBitrate: available },
    { type: 'outbound-rtp', kind: 'audio', mid: '0', bytesSent: 6_000 * s },
    { ...video, ...full, mid: '1', bytesSent: 200_000 * s, ...more },
    { ...video, mid: '1', rid: 'l', targetBitrate: 6e5, bytesSent: 25_000 * s, active: false },
    { type: 'remote-inbound-rtp', fractionLost: lost },
  ];
}

/** An uplink after `seconds` of the same report. */
function after(seconds, more) {
  const uplink = new Uplink();
  for (let s = 1; s <= seconds; s += 1) uplink.update(report(s, more), ROLES, 1_000 * s);
  return uplink;
}

test('bitrates are those of the last second, by role', () => {
  const first = measure(report(1), ROLES, 1_000, null);
  const { bps, videos, received } = measure(report(2), ROLES, 2_000, first);
  assert.equal(first.bps, 0);
  assert.equal(bps, 8 * 231_000);
  assert.equal(videos.screen.bps, 8 * 225_000);
  assert.deepEqual(videos.screen.tiers, ['f']);
  assert.deepEqual([videos.screen.width, videos.screen.fps, videos.camera.bps], [1920, 15, 0]);
  assert.equal(received, 1_000);
});

test('a slow connection is told after some seconds, and only where the screen has less than it needs', () => {
  const slow = { available: 700_000, qualityLimitationReason: 'bandwidth' };
  assert.equal(after(2, slow).trouble, null);
  assert.deepEqual(after(3, slow).trouble, { key: 'screenTooSlow', values: { rate: '0.7 Mbit/s' } });
  assert.equal(after(9, { available: 4e6, qualityLimitationReason: 'bandwidth' }).trouble, null);
  assert.equal(after(3, { ...slow, available: 0, bytesSent: 0 }).trouble.key, 'screenTooSlowSomehow');
  const uplink = after(3, slow);
  uplink.update(report(4), ROLES, 4_000);
  assert.equal(uplink.trouble, null);
});

test('loss and a slow computer are told', () => {
  assert.deepEqual(after(3, { lost: 0.08 }).trouble, { key: 'uplinkLoses', values: { share: 8 } });
  assert.equal(after(3, { qualityLimitationReason: 'cpu' }).trouble.key, 'computerTooSlow');
});

test('the numbers of the server count while they are fresh', () => {
  const uplink = after(2);
  uplink.told({
    tracks: [{ track: 'screen', bitrate: 1.5e6, lossPercent: 0, fps: 15 }, { track: 'audio', bitrate: 48_000 }],
    watched: [{ track: 'screen', tier: 'full', students: 12 }],
  }, 2_000);
  assert.equal(uplink.bps(3_000), 1_548_000);
  assert.equal(uplink.bps(9_000), 8 * 231_000);
  assert.deepEqual([uplink.watching('screen', 'full'), uplink.watching('camera', 'low')], [12, 0]);
  uplink.told({ tracks: 'nonsense', watched: [{}] }, 3_000);
  assert.deepEqual(uplink.ingest.tracks, []);
});

test('the worst trouble is shown', () => {
  const fine = {
    isOffline: false,
    signal: { isOpen: true },
    isConnected: true,
    isFlowing: true,
    connectingSince: 0,
    trouble: null,
    isUnheard: false,
    isSilent: false,
  };
  const now = 100_000;
  const key = (more) => notice({ ...fine, ...more }, now)?.key;
  const trouble = { key: 'uplinkLoses', values: { share: 8 } };
  const gone = { isConnected: false, isFlowing: false };
  assert.equal(key({}), undefined);
  assert.equal(key({ isSilent: true }), 'silentMicrophone');
  assert.equal(key({ isSilent: true, trouble }), 'uplinkLoses');
  assert.equal(key({ trouble, isUnheard: true }), 'speaksMuted');
  assert.equal(key({ trouble, isFlowing: false }), 'linkLost');
  assert.equal(key({ ...gone, connectingSince: now - 1_000 }), undefined, 'a first connection takes a moment');
  assert.equal(key({ ...gone, connectingSince: now - 5_000 }), 'linkLost');
  assert.equal(key({ ...gone, connectingSince: now - 20_000 }), 'linkLate');
  assert.equal(key({ ...gone, signal: { isOpen: false }, connectingSince: now - 20_000 }), 'serverLost');
  assert.equal(key({ ...gone, signal: { isOpen: false }, isOffline: true }), 'youAreOffline');
  assert.equal(key({ signal: { isOpen: false } }), undefined, 'media flows without signalling');
});

/** A report in which media comes from `remote` over `local`. */
function pathReport(local, remote, ...others) {
  const entries = [{ type: 'local-candidate', id: 'L', ...local }, { type: 'remote-candidate', id: 'R', ...remote }];
  return new Map([...entries, ...others].map((entry, n) => [entry.id ?? n, entry]));
}

const PAIR = { localCandidateId: 'L', remoteCandidateId: 'R' };
const SFU = { candidateType: 'host', address: '192.0.2.7', port: 18080, protocol: 'udp' };
const TURN = [{ urls: ['turn:a:1', 'turn:a:1?transport=tcp', 'turns:a:2'] }];

test('the way of media says why it is not the usual one, and blames the network only with evidence', () => {
  const of = (local, remote, servers, ...others) => pathOf(pathReport(local, remote, ...others), PAIR, servers);
  assert.deepEqual(of({ protocol: 'udp' }, SFU, TURN), { text: 'UDP 192.0.2.7:18080', reason: '' });
  const tcp = { ...SFU, address: '2001:db8::7', protocol: 'tcp' };
  assert.deepEqual(of({ protocol: 'tcp' }, tcp, []), { text: 'TCP [2001:db8::7]:18080', reason: 'noUdpPath' });
  const relay = { type: 'local-candidate', candidateType: 'relay', url: 'turns:a:2', relayProtocol: 'tls' };
  assert.deepEqual(of(relay, SFU, TURN), { text: 'TURN/TLS', reason: 'udpBlocked' });
  const byUdp = { ...relay, url: 'turn:a:1', relayProtocol: 'udp' };
  assert.equal(of(relay, SFU, TURN, byUdp).reason, 'noDirectPath');
  assert.equal(of(relay, SFU, [{ urls: ['turns:a:2'] }]).reason, 'noDirectPath', 'nobody was asked by UDP');
  assert.deepEqual(of(byUdp, SFU, TURN), { text: 'TURN/UDP', reason: 'noDirectPath' });
  assert.deepEqual(pathOf(new Map(), undefined, TURN), { text: '–', reason: '' });
});

test('a TURN server that relays nothing is named with its reason', () => {
  const error = (errorCode, errorText = '') => ({ errorCode, errorText });
  const errors = new Map([
    ['turn:a:1', error(701)],
    ['turns:a:2', error(401, 'Unauthorized')],
    ['turn:b:1', error(486)],
    ['turn:c:1', error(500, 'x'.repeat(1_000))],
    ['stun:d:1', error(701)],
  ]);
  const working = { type: 'local-candidate', candidateType: 'relay', url: 'turn:a:1' };
  const refused = refusals(new Map([['L', working]]), errors);
  assert.deepEqual(refused.map(({ url, reason }) => [url, reason]), [
    ['turns:a:2', 'turnCredentials'],
    ['turn:b:1', 'turnFull'],
    ['turn:c:1', 'turnRefused'],
  ]);
  assert.equal(refused[2].text.length, 100);
});

// A meeting at random: people join, leave, load their pages again and vanish, messages are lost, sockets and paths die.
// The modules of the page run here in virtual time; the rooms are those of the server, in the process that started this
// one (tests/it/random_meetings.rs): each line on stdout is an event for them, and each line on stdin their answer.
//
//   node simulation.mjs SEED EVENTS KIND
//
// KIND is `mesh` for six participants, `server` for eight, whose media moves to the server, or `breakouts` for eight,
// whom the owner splits over and over.

import { readSync, writeSync } from 'node:fs';
import { FakeNetwork, install } from './fake_network.mjs';
import { Client } from './simulated_client.mjs';
import { Host } from './simulated_host.mjs';
import { VirtualTime, random } from './virtual_time.mjs';

const [seed, events] = process.argv.slice(2).map(Number);
const kind = process.argv[4];
const PARTICIPANTS = { mesh: 6, server: 8, breakouts: 8 };
/** Between two events, in milliseconds, and how many come in the same instant at most. */
const PAUSE_MS = [0, 1_500];
const MOST_AT_ONCE = 3;
/** The share of messages between participants that get lost. */
const LOSS = 0.05;
/** So many events are followed by a quiet period. */
const EVENTS_TO_QUIET = 20;
const QUIET_MS = 5_000;
/** Sockets are open again, and dead paths are noticed, within this time. */
const SETTLE_MS = 30_000;
/** A page gives up an offer to the server whose answer was lost after this time (`CONNECT_WITHIN_MS`). */
const GIVEN_UP_MS = 8_000;
/** The share of events that concern breakout rooms, and the most rooms. */
const DIVISION = 0.2;
const MOST_ROOMS = 3;

const time = new VirtualTime().install();
const draw = random(seed);
const network = new FakeNetwork(time, seed + 1);
install(network, () => '');

const buffer = Buffer.alloc(1 << 16);
let unread = '';

/** Gives an event to the rooms; returns `{ sent: [[conn, text], ...], closed, hosts: [conn, ...], tickAt }`. */
function ask(event) {
  const line = Buffer.from(`${JSON.stringify({ at: Math.floor(time.now), ...event })}\n`);
  for (let at = 0; at < line.length;) at += writeSync(1, line, at);
  while (!unread.includes('\n')) {
    const length = readSync(0, buffer);
    if (length === 0) process.exit(1);
    unread += buffer.toString('utf8', 0, length);
  }
  const end = unread.indexOf('\n');
  const answer = JSON.parse(unread.slice(0, end));
  unread = unread.slice(end + 1);
  return answer;
}

/** The server: what it does reaches the clients. */
const server = {
  clients: new Map(),
  /** The newest media host. */
  host: null,
  timer: 0,
  tell(event) {
    const { sent, closed, hosts, tickAt } = ask(event);
    for (const conn of hosts) this.clients.set(conn, (this.host = new Host(conn, this)));
    for (const [conn, text] of sent) this.clients.get(conn)?.arrives(conn, JSON.parse(text));
    for (const conn of closed) this.clients.get(conn)?.arrives(conn, null);
    clearTimeout(this.timer);
    if (tickAt !== null) this.timer = setTimeout(() => this.tell({ do: 'tick' }), Math.max(1, tickAt - time.now));
  },
};

const world = { time, draw, server, loss: 0 };
const clients = Array.from({ length: PARTICIPANTS[kind] }, (_, n) => new Client(String(1001 + n), world));
const pick = (list) => list[Math.floor(draw() * list.length)];
const between = ([least, most]) => least + draw() * (most - least);

/** How often each event happened, and how many conferences were checked: over the server, and in breakout rooms. */
const counts = { checkedOverServer: 0, checkedRooms: 0 };
function happen() {
  const client = pick(clients);
  const ways = network.ways.filter(({ isDead }) => !isDead);
  const possible = client.isHere
    ? ['leave', 'vanish', 'reload', 'reload', 'loseSocket', 'loseSocket', 'stepOut']
    : ['join', 'join', 'join'];
  if (ways.length > 0) possible.push('killPath', 'silencePath');
  if (kind !== 'mesh') possible.push('overload');
  const event = kind === 'breakouts' && draw() < DIVISION ? divide() : pick(possible);
  counts[event] = (counts[event] ?? 0) + 1;
  if (event === 'killPath') network.silence(pick(ways), 0, true);
  else if (event === 'silencePath') network.silence(pick(ways), between([500, 12_000]), false);
  else if (event === 'overload') client.says({ type: 'overloaded' });
  else client[event]?.();
}

/** The owner splits the meeting, moves somebody or calls all back; or somebody goes to another place. */
function divide() {
  const inside = clients.filter(({ page }) => page?.state.phase === 'in');
  const owner = inside.find(({ userId, page }) => page.state.room?.owner === userId);
  const breakout = Math.floor(draw() * (MOST_ROOMS + 1));
  const event = pick(['split', 'split', 'recall', 'assign', 'assign', 'visit', 'visit']);
  const orders = {
    split: () => ({ rooms: 2 + Math.floor(draw() * (MOST_ROOMS - 1)) }),
    recall: () => ({ withinS: 0 }),
    assign: () => ({ targetUid: pick(inside).userId, breakout }),
  };
  if (event === 'visit') pick(clients).says({ type: 'visit', breakout });
  else owner?.says({ type: 'order', order: event, ...orders[event]() });
  return event;
}

/** Waits until nothing is on its way back any more, at most for some time. */
async function settle() {
  for (const way of network.ways) way.silentUntil = 0;
  const isNoticed = (way) => !way.isDead
    || way.ends.every((end) => end.isClosed || ['disconnected', 'failed'].includes(end.connectionState));
  const end = time.now + SETTLE_MS;
  while (time.now < end) {
    if (clients.every(({ isSettled }) => isSettled) && network.ways.every(isNoticed)) return;
    await time.pass(50);
  }
  throw new Error(`not settled: ${clients.map((client) => client.describe()).join('; ')}`);
}

/** What must hold after a quiet period. */
function check() {
  const inside = clients.filter(({ isHere }) => isHere);
  const places = new Set(inside.map(({ page }) => page.breakout));
  const wrong = [];
  let [ends, links] = [0, 0];
  for (const place of places) {
    const group = inside.filter(({ page }) => page.breakout === place);
    const media = group[0].page.state.media;
    for (const client of group) checkOne(client, group, media, wrong);
    const others = group.length * (group.length - 1);
    if (media === 'server') links += group.length + others;
    else ends += others;
    counts.checkedOverServer += media === 'server' ? 1 : 0;
    counts.checkedRooms += place > 0 ? 1 : 0;
  }
  const onServer = server.host?.links.size ?? 0;
  if (onServer !== links) wrong.push(`the server has ${onServer} connections of ${links}`);
  if (network.open.size !== ends + 2 * links) wrong.push(`${network.open.size} connections of ${ends} and ${links}`);
  for (const pc of network.open) {
    if (!network.open.has(network.otherOf(pc))) wrong.push(`a half-open connection, ${pc.connectionState}`);
    if (pc.getTransceivers().length !== 3) wrong.push(`${pc.getTransceivers().length} transceivers`);
  }
  if (wrong.length > 0) throw new Error(wrong.join('; '));
}

/** What must hold for a participant of the meeting, or of a breakout room. */
function checkOne({ userId, page }, group, media, wrong) {
  const { state, mesh } = page;
  const listed = state.participants.map((one) => one.userId).sort();
  if (state.phase !== 'in') wrong.push(`${userId} is ${state.phase} (${state.reason} ${state.code})`);
  if (listed.join() !== group.map((one) => one.userId).join()) wrong.push(`${userId} sees ${listed}`);
  if (state.media !== media) wrong.push(`${userId} has the media at ${state.media}`);
  for (const other of group.filter((one) => one.userId !== userId)) {
    const source = mesh.source(other.userId);
    if (source.state !== 'connected') wrong.push(`${userId} to ${other.userId} is ${source.state}`);
  }
  const pairs = media === 'server' ? 0 : group.length - 1;
  if (mesh.peers.size !== pairs) wrong.push(`${userId} has ${mesh.peers.size} pairs of ${pairs}`);
  if (media !== 'server') return;
  for (const other of group) {
    const link = server.host.links.get(`${userId} ${other.userId}`);
    if (link?.connectionState !== 'connected') wrong.push(`the server's link ${userId} ${other.userId} is not there`);
    // Nobody gets back what it sends.
    const direction = other.userId === userId ? 'sendonly' : 'recvonly';
    const ways = link ? network.otherOf(link)?.getTransceivers().map((one) => one.direction) : [];
    if (ways?.some((way) => way !== direction)) wrong.push(`${userId} has ${ways} with ${other.userId}`);
  }
}

async function run() {
  let done = 0;
  while (done < events) {
    world.loss = LOSS;
    for (const end = Math.min(done + EVENTS_TO_QUIET, events); done < end;) {
      const together = Math.min(1 + Math.floor(draw() * MOST_AT_ONCE), end - done);
      for (let n = 0; n < together; n += 1) happen();
      done += together;
      await time.pass(between(PAUSE_MS));
    }
    world.loss = 0;
    await settle();
    if (kind !== 'mesh') await time.pass(GIVEN_UP_MS);
    await time.pass(QUIET_MS);
    try {
      check();
    } catch (error) {
      throw new Error(`after ${done} events, at ${Math.round(time.now)} ms: ${error.message}`);
    }
  }
}

const report = (result) => writeSync(1, `${JSON.stringify({ do: 'end', ...result })}\n`);
process.on('uncaughtException', (error) => {
  report({ failure: String(error?.stack ?? error) });
  process.exit(1);
});
try {
  await run();
  report({ counts, seconds: Math.round(time.now / 1_000) });
} catch (error) {
  report({ failure: error.message });
}
process.exit(0);

// A meeting of six at random: people join, leave, load their pages again and vanish, messages are lost, sockets and
// paths die. The modules of the page run here in virtual time; the rooms are those of the server, in the process that
// started this one (tests/it/mesh.rs): each line on stdout is an event for them, and each line on stdin their answer.
//
//   node simulation.mjs SEED EVENTS

import { readSync, writeSync } from 'node:fs';
import { FakeNetwork, install } from './fake_network.mjs';
import { Client } from './simulated_client.mjs';
import { VirtualTime, random } from './virtual_time.mjs';

const [seed, events] = process.argv.slice(2).map(Number);
const USERS = ['1001', '1002', '1003', '1004', '1005', '1006'];
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

const time = new VirtualTime().install();
const draw = random(seed);
const network = new FakeNetwork(time, seed + 1);
install(network, () => '');

const buffer = Buffer.alloc(1 << 16);
let unread = '';

/** Gives an event to the rooms; returns `{ sent: [[conn, text], ...], closed: [conn, ...], tickAt }`. */
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
  timer: 0,
  tell(event) {
    const { sent, closed, tickAt } = ask(event);
    for (const [conn, text] of sent) this.clients.get(conn)?.arrives(conn, JSON.parse(text));
    for (const conn of closed) this.clients.get(conn)?.arrives(conn, null);
    clearTimeout(this.timer);
    if (tickAt !== null) this.timer = setTimeout(() => this.tell({ do: 'tick' }), Math.max(1, tickAt - time.now));
  },
};

const world = { time, draw, server, loss: 0 };
const clients = USERS.map((userId) => new Client(userId, world));
const pick = (list) => list[Math.floor(draw() * list.length)];
const between = ([least, most]) => least + draw() * (most - least);

const counts = {};
function happen() {
  const client = pick(clients);
  const ways = network.ways.filter(({ isDead }) => !isDead);
  const possible = client.isHere
    ? ['leave', 'vanish', 'reload', 'reload', 'loseSocket', 'loseSocket', 'stepOut']
    : ['join', 'join', 'join'];
  if (ways.length > 0) possible.push('killPath', 'silencePath');
  const event = pick(possible);
  counts[event] = (counts[event] ?? 0) + 1;
  if (event === 'killPath') network.silence(pick(ways), 0, true);
  else if (event === 'silencePath') network.silence(pick(ways), between([500, 12_000]), false);
  else client[event]();
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
  const wrong = [];
  for (const client of inside) {
    const { state, mesh } = client.page;
    const listed = state.participants.map(({ userId }) => userId).sort();
    if (state.phase !== 'in') wrong.push(`${client.userId} is ${state.phase} (${state.reason} ${state.code})`);
    if (listed.join() !== inside.map(({ userId }) => userId).join()) wrong.push(`${client.userId} sees ${listed}`);
    for (const other of inside.filter((one) => one !== client)) {
      const pair = mesh.peers.get(other.userId);
      if (pair?.state !== 'connected') wrong.push(`${client.userId} to ${other.userId} is ${pair?.state}`);
    }
    if (mesh.peers.size !== inside.length - 1) wrong.push(`${client.userId} has ${mesh.peers.size} pairs`);
  }
  const most = inside.length * (inside.length - 1);
  if (network.open.size !== most) wrong.push(`${network.open.size} connections for ${inside.length} participants`);
  for (const pc of network.open) {
    if (!network.open.has(network.otherOf(pc))) wrong.push(`a half-open connection, ${pc.connectionState}`);
    if (pc.getTransceivers().length !== 3) wrong.push(`${pc.getTransceivers().length} transceivers`);
  }
  if (wrong.length > 0) throw new Error(wrong.join('; '));
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

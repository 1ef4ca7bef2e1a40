// What a browser takes: from the link to the first picture, bytes of a first visit, and whether it stands still beside
// a class of others. Prints one table. Needs what `bin/setup --test` installs, and a release build.
//
//   node tests/browser/measure.mjs [--program target/release/classroom] [--loads 20] [--students 50] [--seconds 30]

import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { cpus, loadavg } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const root = fileURLToPath(new URL('../..', import.meta.url));
const { values } = parseArgs({
  options: {
    program: { type: 'string', default: path.join(root, 'target/release/classroom') },
    loads: { type: 'string', default: '20' },
    students: { type: 'string', default: '50' },
    seconds: { type: 'string', default: '30' },
  },
});
const [loads, students, seconds] = [values.loads, values.students, values.seconds].map(Number);
const found = (name) => process.env.PATH.split(':').map((folder) => path.join(folder, name)).find(existsSync);
const names = ['chromium', 'chromium-browser', 'google-chrome'];
const chromium = process.env.CLASSROOM_CHROMIUM ?? names.map(found).find(Boolean);
if (!chromium || !existsSync(values.program)) {
  console.error(`there is no ${chromium ? values.program : 'Chromium'}: bin/setup --test, cargo build --release`);
  process.exit(2);
}

if (loadavg()[0] > 1) console.error(`this machine is busy (load ${loadavg()[0]}): the figures will tell of that too`);

mkdirSync(path.join(root, 'target/tmp'), { recursive: true });
const directory = mkdtempSync(path.join(root, 'target/tmp/m-'));
// The browser's temporary files.
process.env.TMPDIR = directory;
const { launch } = await import('./chromium.mjs');
const browser = await launch(chromium);
const children = new Set();

/** A process of the program; collects its events. */
function run(...given) {
  const child = spawn(values.program, [...given, '--json'], {
    stdio: ['ignore', 'pipe', 'ignore'],
    env: { ...process.env, XDG_STATE_HOME: directory, DISPLAY: '', WAYLAND_DISPLAY: '' },
  });
  const events = [];
  createInterface({ input: child.stdout }).on('line', (line) => events.push(JSON.parse(line)));
  children.add(child);
  child.on('exit', () => children.delete(child));
  return { events, last: (isIt) => events.filter(isIt).at(-1), end: () => child.kill() };
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

async function until(what, isIt) {
  const deadline = Date.now() + 60_000;
  while (!(await isIt())) {
    if (Date.now() > deadline) throw new Error(`no ${what} within 60 s`);
    await pause(100);
  }
}

const freePort = () =>
  new Promise((done) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => done(port));
    });
  });

async function teacher(...flags) {
  const port = await freePort();
  const process = run('teach', '--room', '10013', '--test', '--listen', `127.0.0.1:${port}`, ...flags);
  await until('running encoder', () => process.last((event) => event.event === 'stats' && event.fps > 10));
  const server = `127.0.0.1:${port}`;
  return { ...process, server, link: (user) => `http://${server}/room/10013?userId=${user}&nickname=S-${user}` };
}

/** Reports when the first frame was shown, in milliseconds since the navigation began. */
const watchForPicture = `document.addEventListener('DOMContentLoaded', () => {
  const video = document.querySelector('#screen-video');
  video.requestVideoFrameCallback(() => (globalThis.firstPicture = performance.now()));
});`;

/** A new browser profile in the room. */
async function visit(link) {
  const context = await browser.context({});
  await context.addInitScript(watchForPicture);
  const page = await browser.page(context);
  await browser.goto(page, link);
  await page.waitForFunction(() => globalThis.firstPicture, undefined, { polling: 20 });
  return { page, context };
}

async function firstPictures() {
  const class_ = await teacher();
  const times = [];
  let weight;
  // The very first visit warms up the browser and does not count.
  for (let user = 1000; user <= 1000 + loads; user += 1) {
    const { page, context } = await visit(class_.link(user));
    if (user > 1000) times.push(await page.evaluate('firstPicture'));
    weight ??= await page.evaluate(`(() => {
      const all = [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')];
      const bytes = all.reduce((sum, entry) => sum + entry.transferSize, 0);
      return { bytes, files: new Set(all.map((entry) => entry.name)).size };
    })()`);
    await context.close();
  }
  class_.end();
  times.sort((a, b) => a - b);
  return { median: times[Math.floor(times.length / 2)], worst: times.at(-1), weight };
}

async function besideOthers() {
  const class_ = await teacher('--size', '320x180', '--fps', '15', '--bitrate', '200k');
  const others = Array.from({ length: students }, (_, n) =>
    run('watch', '--room', '10013', '--user', String(2000 + n), '--server', class_.server, '--sink', 'null'));
  const isPicture = (event) => event.event === 'stats' && event.track === 'screen';
  await until(`${students} students`, () => others.every((other) => other.last(isPicture)?.fps > 10));
  const { page, context } = await visit(class_.link(1001));
  // Startup is measured above.
  await pause(3_000);
  const numbers = () => page.evaluate('witness.pictures()');
  const sum = (field) => others.reduce((total, other) => total + (other.last(isPicture)?.[field] ?? 0), 0);
  const [before, frozenBefore, lostBefore] = [await numbers(), sum('freezes'), sum('lost')];
  await pause(seconds * 1_000);
  const after = await numbers();
  const result = {
    taught: class_.last((event) => event.event === 'stats').fps,
    fps: (after.decoded - before.decoded) / seconds,
    freezes: after.freezes - before.freezes,
    dropped: after.dropped - before.dropped,
    othersFroze: sum('freezes') - frozenBefore,
    othersLost: sum('lost') - lostBefore,
  };
  await context.close();
  return result;
}

try {
  const first = await firstPictures();
  const beside = await besideOthers();
  const ms = (n) => `${Math.round(n)} ms`;
  const bytes = first.weight.bytes.toLocaleString('en');
  const fps = `${beside.fps.toFixed(1)} of ${beside.taught.toFixed(1)} taught`;
  console.log(`
| ${browser.version()}, ${cpus().length} cores (${cpus()[0].model.trim()}) | |
| --- | --- |
| link opened to first picture, median of ${loads} first visits (worst) | ${ms(first.median)} (${ms(first.worst)}) |
| bytes of a first visit, compressed, with headers | ${bytes} in ${first.weight.files} files |
| beside ${students} \`watch --sink null\` for ${seconds} s: pictures a second in the browser | ${fps} |
| freezes in the browser, pictures dropped | ${beside.freezes}, ${beside.dropped} |
| freezes at the others, packets lost for good | ${beside.othersFroze}, ${beside.othersLost} |`);
} finally {
  for (const child of children) child.kill();
  await browser.close();
  rmSync(directory, { recursive: true, force: true });
}

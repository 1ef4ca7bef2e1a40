#!/usr/bin/env node
// Makes the pictures of the page for README.md, a still one and an animation, from the real program: a lecture file
// with a slide and a voice, a drawn camera, chat and raised hands. Needs what `bin/setup --test` installs, and a
// release build.
//
//   node tests/pictures/page.mjs [path of the classroom program]

import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import { here, made, withBrowser } from './browser.mjs';

/** The program with a pipe to type into; resolves once an event of it is as wanted. */
function run(start, given, isReady) {
  const child = start([...given, '--chat']);
  const events = [];
  const waiting = new Set();
  createInterface({ input: child.stdout }).on('line', (line) => {
    events.push(JSON.parse(line));
    for (const look of waiting) look();
  });
  const wait = (isIt) =>
    new Promise((done) => {
      const look = () => events.some(isIt) && waiting.delete(look) | done();
      waiting.add(look);
      look();
    });
  const says = async (text) => {
    child.stdin.write(`${text}\n`);
    if (!text.startsWith('/')) await wait((event) => event.event === 'chat' && event.text === text);
  };
  const failed = new Promise((_, fail) => {
    child.on('exit', (code) => code && fail(new Error(`${given[0]} ended with ${code}`)));
  });
  return Promise.race([wait(isReady), failed]).then(() => ({ wait, says }));
}

/** What slide.html has, as files. */
async function draw({ browser, work }, ...names) {
  const page = await browser.page(await browser.context({ width: 1280, height: 1100 }));
  await browser.goto(page, pathToFileURL(path.join(here, 'slide.html')).href);
  for (const name of names) await page.locator(`#${name}`).screenshot({ path: path.join(work, `${name}.png`) });
}

/** The file, and a camera that always sees the same. */
const pipeline = (work) => `
filesrc location=${work}/lecture.mkv ! matroskademux name=lecture
lecture. ! queue ! avdec_h264 ! clocksync ! videoconvert
  ! x264enc name=screen-encoder tune=zerolatency speed-preset=superfast bitrate=6000 key-int-max=300
  ! video/x-h264,profile=constrained-baseline ! h264parse config-interval=-1
  ! rtph264pay config-interval=0 aggregate-mode=zero-latency mtu=1200 ! appsink name=screen
lecture. ! queue ! rtpopuspay ! clocksync ! appsink name=audio
filesrc location=${work}/camera.png ! pngdec ! videoconvert ! imagefreeze is-live=true
  ! video/x-raw,format=I420,framerate=15/1
  ! x264enc name=camera-encoder tune=zerolatency speed-preset=superfast bitrate=1500 key-int-max=300
  ! video/x-h264,profile=constrained-baseline ! h264parse config-interval=-1
  ! rtph264pay config-interval=0 aggregate-mode=zero-latency mtu=1200 ! appsink name=camera
`;

const gst = (graph) => execFileSync('gst-launch-1.0', ['--quiet', ...graph.trim().split(/\s+/)], {
  stdio: ['ignore', 'ignore', 'inherit'],
});

await withBrowser(async ({ browser, work, start }) => {
  // The lecture: a slide and a voice, in a file.
  await draw({ browser, work }, 'slide', 'camera');
  const speech = 'A vector that keeps its direction is an eigenvector. '.repeat(16);
  execFileSync('espeak-ng', ['-w', `${work}/voice.wav`, speech]);
  gst(`filesrc location=${work}/slide.png ! pngdec ! videoconvert ! imagefreeze num-buffers=900 !
    video/x-raw,format=I420,framerate=15/1 ! x264enc pass=quant quantizer=18 key-int-max=30 ! h264parse ! queue ! out.
    filesrc location=${work}/voice.wav ! wavparse ! audioconvert ! audioresample ! opusenc ! queue ! out.
    matroskamux name=out ! filesink location=${work}/lecture.mkv`);
  writeFileSync(`${work}/lecture.gst`, pipeline(work));

  const server = '127.0.0.1:18098';
  const teacher = await run(start,
    ['teach', '--room', '10013', '--name', 'Linear algebra', '--nickname', 'Ms Li', '--pipeline', `${work}/lecture.gst`,
      '--listen', server],
    (event) => event.event === 'joined',
  );
  const students = {};
  const class_ = { 1001: 'Anna', 1002: '王小明', 1003: 'Ben', 1004: 'Chidi', 1005: 'Elif' };
  for (const [user, nickname] of Object.entries(class_)) {
    const given = ['watch', '--room', '10013', '--user', user, '--nickname', nickname];
    given.push('--server', server, '--sink', 'null');
    students[nickname] = await run(start, given, (event) => event.event === 'first-frame');
  }
  const context = await browser.context({ width: 1360, height: 672 });
  const page = await browser.page(context);
  await browser.goto(page, `http://${server}/room/10013?userId=1006&nickname=Freya`);
  await page.waitForFunction(() => document.querySelector('#room').dataset.screen === 'live');
  await page.waitForFunction(() => !document.querySelector('#chat-text').disabled);
  // Whether the browser wants this click is a matter of luck here: what asks the page counts as one.
  const sound = page.getByRole('button', { name: 'Click for sound' });
  if (await sound.isVisible()) await sound.click();

  const frames = [];
  const frame = async () => {
    frames.push(path.join(work, `frame-${frames.length}.png`));
    await page.screenshot({ path: frames.at(-1) });
  };
  /** A line that the page shows is worth a frame. */
  const shows = async (text) => {
    await page.locator('#chat').getByText(text).waitFor();
    await frame();
  };
  await frame();
  await teacher.says('Good morning! Today: what a matrix does to a vector.');
  await shows('Good morning!');
  await students.Anna.says('Is v₂ turned around, or is that another direction?');
  await shows('another direction?');
  await students['王小明'].says('方向没变，只是长度乘以 −1');
  await shows('方向没变');
  await page.getByRole('textbox', { name: 'Message', exact: true }).fill('So a negative λ still counts?');
  await frame();
  await page.keyboard.press('Enter');
  await shows('still counts?');
  await students.Ben.says('Could you zoom in on the lower left?');
  await teacher.says('It does, Freya. Ben: better now?');
  await shows('better now?');
  await students.Elif.says('/hand');
  await teacher.wait((event) => event.event === 'hand' && event.hands.length === 1);
  await frame();
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press('h');
  await teacher.wait((event) => event.event === 'hand' && event.hands.length === 2);
  await page.mouse.move(400, 300);
  await page.waitForFunction(() => document.querySelector('#hand').getAttribute('aria-pressed') === 'true');
  // The camera has found its corner.
  await page.waitForFunction(() => document.querySelector('#pictures').dataset.corner !== undefined);
  await page.waitForFunction(() => document.querySelector('#camera').getAnimations().length === 0);
  await page.screenshot({ path: path.join(here, 'page.png') });
  await frame();
  const colours = ['-dither', 'None', '-colors', '128'];
  execFileSync('convert', ['-delay', '110', ...frames, '-resize', '900x', ...colours, '-layers', 'optimize',
    '-loop', '0', path.join(here, 'lecture.gif')]);
  made('page.png');
  made('lecture.gif');
});

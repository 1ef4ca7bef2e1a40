#!/usr/bin/env node
// Makes the picture of a meeting for docs/meetings.md from the real program: four browsers with drawn cameras, one of
// which shares a slide. Needs what `bin/setup --test` installs.
//
//   node tests/pictures/meeting.mjs [path of the classroom program]

import path from 'node:path';
import { createInterface } from 'node:readline';
import { here, made, withBrowser } from './browser.mjs';

const ADDRESS = '127.0.0.1:18097';

/** Replaces the camera and the screen of a page by drawings: a person in this colour, and a slide. */
function draw([wall, shirt, hair]) {
  const canvas = (width, height, paint) => {
    const element = document.createElement('canvas');
    Object.assign(element, { width, height });
    const pen = element.getContext('2d');
    const again = () => paint(pen, width, height);
    again();
    setInterval(again, 100);
    return element.captureStream(15);
  };
  const disc = (pen, x, y, r, colour) => {
    pen.fillStyle = colour;
    pen.beginPath();
    pen.ellipse(x, y, r, r * 1.2, 0, 0, 7);
    pen.fill();
  };
  const person = (pen, w, h) => {
    pen.fillStyle = wall;
    pen.fillRect(0, 0, w, h);
    disc(pen, w / 2, h * 1.1, h * 0.42, shirt);
    disc(pen, w / 2, h * 0.4, h * 0.23, hair);
    disc(pen, w / 2, h * 0.46, h * 0.19, '#e9c4a4');
    for (const x of [-0.07, 0.07]) disc(pen, w / 2 + x * h, h * 0.44, h * 0.016, '#33261f');
    pen.strokeStyle = '#8a4b3c';
    pen.lineWidth = h * 0.012;
    pen.beginPath();
    pen.arc(w / 2, h * 0.5, h * 0.07, 0.4, Math.PI - 0.4);
    pen.stroke();
  };
  const slide = (pen, w, h) => {
    pen.fillStyle = '#fbfaf5';
    pen.fillRect(0, 0, w, h);
    pen.fillStyle = '#17342b';
    pen.font = `600 ${h * 0.09}px sans-serif`;
    pen.fillText('Who speaks when?', w * 0.07, h * 0.18);
    pen.font = `${h * 0.055}px sans-serif`;
    const lines = ['Ada: what went well', 'Ben: the excursion in May', '李雷: new books', 'Questions'];
    lines.forEach((line, n) => pen.fillText(`${n + 1}.  ${line}`, w * 0.08, h * (0.36 + 0.13 * n)));
  };
  const devices = navigator.mediaDevices;
  const real = devices.getUserMedia.bind(devices);
  devices.getUserMedia = async (wanted) => {
    const stream = await real(wanted);
    const [track] = stream.getVideoTracks();
    if (!track) return stream;
    stream.removeTrack(track);
    track.stop();
    stream.addTrack(canvas(1280, 720, person).getVideoTracks()[0]);
    return stream;
  };
  devices.getDisplayMedia = async () => canvas(1280, 720, slide);
}

const PEOPLE = [
  ['Ada', ['#cfe3da', '#2f6f5d', '#5a3a25']],
  ['Ben', ['#dfe3ee', '#8a4b3c', '#2b2523']],
  ['李雷', ['#efe6d3', '#33508a', '#1c1a19']],
  ['Fatima', ['#e6dcec', '#a6672b', '#3d2b4f']],
];

await withBrowser(async ({ browser, start }) => {
  const server = start(['serve', '--listen', ADDRESS]);
  await new Promise((ready) => createInterface({ input: server.stdout }).once('line', ready));
  const pages = [];
  for (const [n, [name, colours]] of PEOPLE.entries()) {
    const context = await browser.context({ width: n === 0 ? 1360 : 1100, height: 720 });
    await context.addInitScript(`(${draw})(${JSON.stringify(colours)})`);
    const page = await browser.page(context);
    const who = `userId=${1001 + n}&nickname=${encodeURIComponent(name)}`;
    await browser.goto(page, `http://${ADDRESS}/room/20014?kind=meeting&${who}`);
    await page.waitForFunction(() => document.querySelector('#own-camera-video')?.videoWidth > 0);
    await browser.click(page, 'button', 'Enter the meeting');
    await page.waitForFunction(() => document.querySelector('#room').dataset.phase === 'in');
    pages.push(page);
  }
  const [ada, ben] = pages;
  await browser.click(ben, 'button', 'Share screen');
  await ben.getByRole('textbox', { name: 'Message', exact: true }).fill('Can everybody read this?');
  await ben.keyboard.press('Enter');
  await pages[2].getByRole('textbox', { name: 'Message', exact: true }).fill('看得很清楚');
  await pages[2].keyboard.press('Enter');
  await ada.bringToFront();
  await ada.locator('#chat').getByText('看得很清楚').waitFor();
  const isWhole = () => [...document.querySelectorAll('.tile:not(.is-me)')].every((tile) =>
    [...tile.querySelectorAll('video')].some((video) => !video.hidden && video.videoWidth >= 640));
  await ada.waitForFunction(isWhole);
  await ada.screenshot({ path: path.join(here, 'meeting.png') });
  made('meeting.png');
});

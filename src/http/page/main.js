// Starts the page for this address, and the buttons that all pages have.

import { $, announce, copy, store } from './dom.js';
import { say, switchLanguage } from './i18n.js';
import { isDevice, roomOfAddress, wantsToTeach } from './identity.js';
import { startRoom } from './room.js';

const dark = matchMedia('(prefers-color-scheme: dark)');

function theme(chosen) {
  if (chosen) document.documentElement.dataset.theme = chosen;
}

async function copied(button) {
  const done = await copy($(button.dataset.copy));
  if (!done) return;
  announce(say('copied'));
  button.classList.add('done');
  button.title = say('copied');
  setTimeout(() => {
    button.classList.remove('done');
    button.title = say('copy');
  }, 2_000);
}

document.addEventListener('click', (event) => {
  const button = event.target.closest('button');
  if (!button) return;
  if (button.dataset.copy) copied(button);
  if (button.dataset.action === 'language') switchLanguage();
  if (button.dataset.action === 'theme') {
    const now = document.documentElement.dataset.theme ?? (dark.matches ? 'dark' : 'light');
    const next = now === 'dark' ? 'light' : 'dark';
    store.set('theme', next);
    theme(next);
  }
});

theme(store.get('theme'));
const room = roomOfAddress();
if (room === null) (await import('./rooms.js')).startRooms();
else if (wantsToTeach()) (await import('./teach.js')).startTeaching(room);
else if (isDevice()) (await import('./device.js')).startDevice(room, startRoom);
else startRoom(room);
$('boot').hidden = true;

// The devices of those who send, teachers and speakers: the elements, words and style, and what follows a change.

import { $, addStyle, elementsOf } from './dom.js';
import { addWords } from './i18n.js';

const WORDS = { en: './devices_english.js', zh: './devices_chinese.js' };

let prepared = null;

/** Loads the elements, the words and the style, once; to be awaited before a `Studio` is made. */
export const prepareDevices = () => (prepared ??= load());

async function load() {
  const [elements] = await Promise.all([
    elementsOf('./devices.html'), addWords(WORDS), addStyle('./devices.css'), addStyle('./boxes.css'),
  ]);
  document.body.append(...elements.children);
}

/** Puts the preview and the buttons for what to send in front of a form. */
export const addSetupView = (section) => section.prepend($('setup-view').content);

/**
 * A source of `{ sources, sound, studio, broadcast }` is another one now: `camera`, `microphone` or `screen`, or the
 * list of devices has changed. Returns a promise that is kept once the new track is sent.
 */
export function sourceChanged(kind, { sources, sound, studio, broadcast }) {
  let done;
  if (kind === 'camera') done = broadcast.replace('camera');
  if (kind === 'microphone' || kind === 'screen') {
    sound.use(sources.microphone, sources.tabSound);
    done = broadcast.replace('audio');
  }
  if (kind === 'screen') {
    studio.shared();
    broadcast.contentChanged();
    done = broadcast.replace('screen');
  }
  studio.draw();
  studio.drawDevices();
  return done;
}

// The picture and the sound of one person: a speaker on the stage of a lecture, or a participant of a meeting or call.

import { bdi, el, icon, nameOf, press } from './dom.js';
import { label, say } from './i18n.js';

/**
 * The picture and the sound of one person, `{ userId, nickname, tracks, silent, isMe, media, isSpeaking }`. A person
 * may have `own`, the element with its own picture; `trouble`, a sentence over the picture; and `signs`, names of icons
 * and their words.
 */
export class Tile {
  element = el('div', 'tile');
  audio = el('audio');
  #face = el('span', 'tile-face');
  #screen = video('tile-screen');
  #camera = video('tile-camera');
  #name = el('p', 'tile-name');
  #trouble = el('p', 'tile-trouble');
  #pin = pinButton();
  #tools = el('div', 'tile-tools', this.#pin);
  #speaker = null;
  #drawn = '';

  #words;

  /**
   * `pin()` is called when this speaker is wanted large, or no longer so. `words` is the key of the label: who this is.
   */
  constructor(pin, words = 'onStage') {
    this.#words = words;
    this.audio.autoplay = true;
    this.#face.setAttribute('aria-hidden', 'true');
    this.element.setAttribute('role', 'group');
    this.element.append(this.#face, this.#screen, this.#camera, this.#name, this.#trouble, this.#tools, this.audio);
    this.#pin.addEventListener('click', pin);
    this.element.addEventListener('dblclick', (event) => !event.target.closest('button') && !this.#pin.hidden && pin());
    for (const one of [this.#screen, this.#camera]) {
      one.addEventListener('resize', () => this.#arrange());
      // Headsets and the system's media keys pause a video; a speaker goes on.
      one.addEventListener('pause', () => one.srcObject?.active && one.play().catch(() => {}));
    }
  }

  get hasSound() {
    return Boolean(this.audio.srcObject);
  }

  /** The video that fills the tile. */
  get video() {
    return this.#screen.hidden ? this.#camera : this.#screen;
  }

  show(speaker, { place, isPinned, isSpotlight }) {
    this.#speaker = speaker;
    const { element } = this;
    element.dataset.user = speaker.userId;
    element.style.setProperty('--n', place ?? 0);
    element.classList.toggle('is-large', place === null);
    element.classList.toggle('is-speaking', speaker.isSpeaking);
    element.classList.toggle('is-me', speaker.isMe);
    play(this.audio, speaker.media.audio);
    play(this.#screen, speaker.media.screen);
    play(this.#camera, speaker.media.camera);
    if (speaker.own && speaker.own.parentElement !== element) this.#face.after(speaker.own);
    this.#pin.hidden = speaker.isMe;
    press(this.#pin, isPinned);
    this.#arrange();
    this.#trouble.textContent = speaker.trouble ?? '';
    element.classList.toggle('is-in-trouble', Boolean(speaker.trouble));
    this.#describe(isPinned, isSpotlight);
  }

  /** Puts the elements of more actions beside the pin. */
  actions(elements) {
    this.#tools.replaceChildren(this.#pin, ...elements);
  }

  remove() {
    for (const one of [this.audio, this.#screen, this.#camera]) one.srcObject = null;
    this.element.remove();
  }

  /** Shows the videos that have frames: the screen fills the tile, and the camera is an inset in it. */
  #arrange() {
    const { silent = [], media = {} } = this.#speaker ?? {};
    const has = (role, one) => Boolean(media[role]) && !silent.includes(role) && one.videoWidth > 0;
    this.#screen.hidden = !has('screen', this.#screen);
    this.#camera.hidden = !has('camera', this.#camera);
    this.#camera.classList.toggle('inset', !this.#screen.hidden && !this.#camera.hidden);
    this.element.classList.toggle('has-screen', !this.#screen.hidden);
  }

  #describe(isPinned, isSpotlight) {
    const { isMe, tracks, silent, signs = [], trouble } = this.#speaker;
    const name = nameOf(this.#speaker);
    const isMuted = !tracks.includes('audio') || silent.includes('audio');
    const drawn = JSON.stringify([name, isMe, isMuted, isPinned, isSpotlight, signs, trouble, say('you')]);
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    this.#face.textContent = Array.from(name)[0] ?? '';
    this.#name.replaceChildren(...(isMuted ? [icon('i-mic-off')] : []), bdi(name));
    if (isMe) this.#name.append(el('span', '', say('you')));
    this.#name.append(...signs.map(([sign]) => icon(sign)));
    const others = [...signs.map(([, meaning]) => meaning), isSpotlight && say('largeForAll'), trouble];
    const words = [say(this.#words, { name }), isMuted && say('micIsOff'), ...others];
    label(this.element, words.filter(Boolean).join(', '));
    label(this.#screen, say('speakerScreen', { name }));
    label(this.#camera, say('speakerCamera', { name }));
    label(this.#pin, say(isPinned ? 'unpin' : 'pin', { name }));
  }
}

function video(className) {
  const element = el('video', className);
  // The tile has the name.
  element.setAttribute('aria-hidden', 'true');
  Object.assign(element, { playsInline: true, autoplay: true, muted: true, disableRemotePlayback: true, hidden: true });
  return element;
}

export function pinButton() {
  const button = el('button', 'dark round', icon('i-pin'));
  button.type = 'button';
  return button;
}

/** Plays this track in an element, or nothing. */
function play(element, track = null) {
  if ((element.srcObject?.getTracks()[0] ?? null) === track) return;
  element.srcObject = track ? new MediaStream([track]) : null;
  // The page starts sound by its volume; a video without sound always starts.
  if (track && element.muted) element.play().catch(() => {});
}

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
  #videos = { screen: this.#video('screen'), camera: this.#video('camera') };
  /** Videos of other tracks that have no frame yet; until then, the ones before stay. */
  #next = { screen: null, camera: null };
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
    const { screen, camera } = this.#videos;
    this.element.append(this.#face, screen, camera, this.#name, this.#trouble, this.#tools, this.audio);
    this.#pin.addEventListener('click', pin);
    this.element.addEventListener('dblclick', (event) => !event.target.closest('button') && !this.#pin.hidden && pin());
  }

  get hasSound() {
    return Boolean(this.audio.srcObject);
  }

  /** Whether a frame is shown. */
  get hasPicture() {
    const { screen, camera } = this.#videos;
    return !(screen.hidden && camera.hidden);
  }

  /** The video that fills the tile. */
  get video() {
    const { screen, camera } = this.#videos;
    return screen.hidden ? camera : screen;
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
    for (const role of ['screen', 'camera']) this.#play(role, speaker.media[role] ?? null);
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
    const now = [...this.#tools.children].slice(1);
    const isSame = now.length === elements.length && now.every((one, n) => one === elements[n]);
    // What is taken out and put back loses the focus.
    if (!isSame) this.#tools.replaceChildren(this.#pin, ...elements);
  }

  remove() {
    for (const one of [this.audio, ...Object.values(this.#videos)]) one.srcObject = null;
    for (const role of ['screen', 'camera']) this.#forget(role);
    this.element.remove();
  }

  /** Shows the videos that have frames: the screen fills the tile, and the camera is an inset in it. */
  #arrange() {
    const { silent = [], media = {} } = this.#speaker ?? {};
    const { screen, camera } = this.#videos;
    const has = (role, one) => Boolean(media[role]) && !silent.includes(role) && one.videoWidth > 0;
    screen.hidden = !has('screen', screen);
    camera.hidden = !has('camera', camera);
    camera.classList.toggle('inset', !screen.hidden && !camera.hidden);
    this.element.classList.toggle('has-screen', !screen.hidden);
  }

  /** Plays this track. A picture that is shown stays until the new track has one, so that nothing black is seen. */
  #play(role, track) {
    const now = this.#videos[role];
    if (this.#next[role] && trackOf(this.#next[role]) === track) return;
    this.#forget(role);
    if (trackOf(now) === track) return;
    if (!track || now.hidden) return play(now, track);
    const next = this.#video(role);
    this.#next[role] = next;
    next.addEventListener('resize', () => next === this.#next[role] && this.#swap(role), { once: true });
    now.after(next);
    play(next, track);
  }

  #swap(role) {
    const before = this.#videos[role];
    this.#videos[role] = this.#next[role];
    this.#next[role] = null;
    before.srcObject = null;
    before.remove();
    this.#drawn = '';
    this.#arrange();
  }

  #forget(role) {
    const next = this.#next[role];
    this.#next[role] = null;
    if (!next) return;
    next.srcObject = null;
    next.remove();
  }

  #video(role) {
    const one = video(`tile-${role}`);
    one.addEventListener('resize', () => this.#arrange());
    // Headsets and the system's media keys pause a video; a speaker goes on.
    one.addEventListener('pause', () => one.srcObject?.active && one.play().catch(() => {}));
    return one;
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
    label(this.#videos.screen, say('speakerScreen', { name }));
    label(this.#videos.camera, say('speakerCamera', { name }));
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

const trackOf = (element) => element.srcObject?.getTracks()[0] ?? null;

/** Plays this track in an element, or nothing. */
function play(element, track = null) {
  if (trackOf(element) === track) return;
  element.srcObject = track ? new MediaStream([track]) : null;
  // The page starts sound by its volume; a video without sound always starts.
  if (track && element.muted) element.play().catch(() => {});
}

// The pictures of the speakers, in a row beside that of the lecture. One of them may be large, and the lecture small.

import { addStyle, announce, bdi, el, icon, nameOf, press } from './dom.js';
import { addWords, label, onLanguage, say } from './i18n.js';

/** A pin of the lecture, which is small while a speaker is large for everybody. No user has this id. */
const LECTURE = '';
const WORDS = { en: './stage_english.js', zh: './stage_chinese.js' };

/** Loads the words and the style of the tiles; to be awaited before the first tile is made. */
export const prepareTiles = () => Promise.all([addWords(WORDS), addStyle('./stage.css')]);

export class Tiles {
  /** Elements for more actions on a speaker, such as those of a teacher: `actionsFor(speaker)` makes them. */
  actionsFor = () => [];
  #main;
  #on;
  #tiles = new Map();
  #speakers = [];
  #spotlight = null;
  /** The user whom this person wants large, or `LECTURE`; `null` where the teacher decides. */
  #pinned = null;
  #lectureButton = pinButton();
  #lectureName = el('p', 'tile-name');

  /**
   * `main` is the element with the lecture, in a stage; the tiles are put beside it. `on` has `changed(tiles)` for
   * another large picture or other sounds.
   */
  constructor(main, on) {
    this.#main = main;
    this.#on = on;
    this.#lectureButton.classList.add('lecture-pin');
    this.#lectureButton.addEventListener('click', () => this.pin(LECTURE));
    main.classList.add('beside-tiles');
    main.append(this.#lectureName, this.#lectureButton);
    main.addEventListener('dblclick', () => this.large !== null && this.pin(LECTURE));
    document.addEventListener('keydown', (event) => {
      const isBusy = event.defaultPrevented || document.querySelector('dialog[open], [aria-expanded=true]');
      if (event.key === 'Escape' && !isBusy && this.#pinned !== null) this.pin(this.#pinned);
    });
    onLanguage(() => this.#draw());
  }

  /**
   * Shows these speakers, as `Stage` has them. `spotlight` is the user who is large for everybody. A speaker that is
   * this user has an element `own` with its own picture.
   */
  show(speakers, spotlight) {
    const before = new Set(this.#tiles.keys());
    this.#speakers = speakers;
    this.#spotlight = spotlight;
    for (const { userId } of speakers) {
      if (before.delete(userId)) continue;
      const tile = new Tile(() => this.pin(userId));
      this.#tiles.set(userId, tile);
      this.#main.parentElement.append(tile.element);
    }
    for (const userId of before) {
      this.#tiles.get(userId).remove();
      this.#tiles.delete(userId);
    }
    if (this.#pinned && !this.#tiles.has(this.#pinned)) this.#pinned = null;
    this.#draw();
  }

  /** Makes the picture of a user large for this person, or, if it is that already, leaves that to the teacher. */
  pin(userId) {
    this.#pinned = this.#pinned === userId ? null : userId;
    const speaker = this.#speakers.find((one) => one.userId === this.#pinned);
    announce(speaker ? say('isLarge', { name: nameOf(speaker) }) : '');
    this.#draw();
  }

  /** The user whose picture is large; `null` for the lecture. Nobody sees itself large. */
  get large() {
    const wanted = this.#pinned ?? this.#spotlight;
    const speaker = this.#speakers.find(({ userId }) => userId === wanted);
    return speaker && !speaker.isMe ? wanted : null;
  }

  /** The large video of a speaker; `null` while the lecture is large. */
  get video() {
    return this.#tiles.get(this.large)?.video ?? null;
  }

  /** The elements that play sound. */
  get sounds() {
    return [...this.#tiles.values()].filter((tile) => tile.hasSound).map((tile) => tile.audio);
  }

  #draw() {
    const { large } = this;
    const area = this.#main.parentElement;
    const small = this.#speakers.filter(({ userId }) => userId !== large);
    area.classList.toggle('has-speakers', this.#speakers.length > 0);
    area.style.setProperty('--tiles', small.length + (large === null ? 0 : 1));
    this.#main.classList.toggle('as-tile', large !== null);
    for (const one of [this.#lectureButton, this.#lectureName]) one.hidden = large === null;
    this.#lectureName.textContent = say('lecture');
    label(this.#lectureButton, say('pinLecture'));
    // The lecture comes first in the row.
    const first = large === null ? 0 : 1;
    for (const speaker of this.#speakers) {
      const place = speaker.userId === large ? null : first + small.indexOf(speaker);
      const isPinned = this.#pinned === speaker.userId;
      const tile = this.#tiles.get(speaker.userId);
      tile.show(speaker, { place, isPinned, isSpotlight: speaker.userId === this.#spotlight });
      tile.actions(this.actionsFor(speaker));
    }
    this.#on.changed(this);
  }
}

/** The picture and the sound of one speaker. */
class Tile {
  element = el('div', 'tile');
  audio = el('audio');
  #face = el('span', 'tile-face');
  #screen = video('tile-screen');
  #camera = video('tile-camera');
  #name = el('p', 'tile-name');
  #lost = el('p', 'tile-lost');
  #pin = pinButton();
  #tools = el('div', 'tile-tools', this.#pin);
  #speaker = null;
  #drawn = '';

  /** `pin()` is called when the person wants this speaker large, or no longer so. */
  constructor(pin) {
    this.audio.autoplay = true;
    this.#face.setAttribute('aria-hidden', 'true');
    this.element.setAttribute('role', 'group');
    this.element.append(this.#face, this.#screen, this.#camera, this.#lost, this.#name, this.#tools, this.audio);
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
    element.classList.toggle('is-lost', speaker.isLost);
    play(this.audio, speaker.media.audio);
    play(this.#screen, speaker.media.screen);
    play(this.#camera, speaker.media.camera);
    if (speaker.own && speaker.own.parentElement !== element) this.#face.after(speaker.own);
    this.#pin.hidden = speaker.isMe;
    press(this.#pin, isPinned);
    this.#arrange();
    this.#words(isPinned, isSpotlight);
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

  #words(isPinned, isSpotlight) {
    const { isMe, isLost, tracks, silent } = this.#speaker;
    const name = nameOf(this.#speaker);
    const isMuted = !tracks.includes('audio') || silent.includes('audio');
    const drawn = JSON.stringify([name, isMe, isLost, isMuted, isPinned, isSpotlight, say('onStage')]);
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    this.#face.textContent = Array.from(name)[0] ?? '';
    this.#name.replaceChildren(...(isMuted ? [icon('i-mic-off')] : []), bdi(name));
    if (isMe) this.#name.append(el('span', '', say('you')));
    const lost = isLost ? say('speakerLost', { name }) : '';
    this.#lost.textContent = lost;
    this.#lost.hidden = !isLost;
    const words = [say('onStage', { name }), lost, isMuted && say('micIsOff'), isSpotlight && say('largeForAll')];
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

function pinButton() {
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

// The videos, one large and one inset, and the audio.

import { $, store } from './dom.js';
import { say, label, onLanguage } from './i18n.js';
import { isDevice } from './identity.js';
import { CORNERS, Corner, brightness, detail } from './corner.js';

const STEP = 0.05;
/** How often to examine the corners of the large video. */
const LOOK_MS = 2_000;
/** A page lower than this, as above a keyboard, has no space for the bar and the header. */
const CRAMPED_PX = 480;

export class Layout {
  /** The teacher's own voice from a phone on the teacher's desk would be an echo. */
  muted = isDevice();
  volume = store.get('volume', 100);
  /** Whether the student is in a breakout room, where the lecture is not heard. */
  isAway = false;
  /** Whether the browser requires a click before it plays sound. */
  isBlocked = false;
  #on;
  #tracks = {};
  #swapped = false;
  #insetHidden = false;
  #owner = $('screen-video');
  #position = { x: 1, y: 1, ...store.get('inset', {}) };
  /** Whether the student has placed the inset. */
  #isPut = store.get('inset') !== null;
  #corner = new Corner();
  /** The position of the pointer in the window; null elsewhere. */
  #pointer = null;
  /** The videos without a source. */
  #stopped = { screen: false, camera: false };
  /** What is beside the lecture: the elements with the sound of speakers, and the video of a large speaker. */
  #beside = { sounds: [], video: null };
  /** The elements whose sound the browser holds back. */
  #refused = new Set();

  /**
   * `on` has `firstFrame()` for the first frame of a connection, `changed()` for anything that buttons show, and
   * `isConnected()`.
   */
  constructor(on) {
    this.#on = on;
    for (const id of ['screen', 'camera']) {
      const video = $(`${id}-video`);
      video.addEventListener('dblclick', () => $(id).classList.contains('inset') && this.swap());
      // Headsets and the system's media keys pause a video; a lecture continues.
      video.addEventListener('pause', () => video.srcObject?.active && video.play().catch(() => {}));
      video.addEventListener('resize', () => this.#rearrange());
      this.#drag($(id));
    }
    this.#move(this.#position.x, this.#position.y);
    const stage = $('stage');
    stage.addEventListener('pointermove', ({ clientX: x, clientY: y }) => (this.#pointer = { x, y }));
    stage.addEventListener('pointerleave', () => (this.#pointer = null));
    setInterval(() => this.#look(), LOOK_MS);
    globalThis.visualViewport?.addEventListener('resize', () => this.#fitWindow());
    onLanguage(() => this.#arrange());
  }

  /** Shows these tracks: `{ audio, screen, camera }`, each may be missing. */
  show(tracks) {
    this.#tracks = tracks;
    this.#owner = this.#usualOwner();
    this.#attach();
    this.applyVolume();
    this.#rearrange();
  }

  /** Hides videos without a source and shows the others: `{ screen, camera }`, true where it has stopped. */
  stop(stopped) {
    this.#stopped = stopped;
    const before = this.#owner;
    this.#attach();
    if (this.#owner !== before) this.applyVolume();
    this.#rearrange();
  }

  /** Speakers are shown beside the lecture: `{ sounds, video }`. The sounds follow the volume of the page. */
  beside({ sounds, video }) {
    const before = this.#beside.sounds;
    this.#beside = { sounds, video };
    for (const gone of before) if (!sounds.includes(gone)) this.#refused.delete(gone);
    for (const sound of sounds) {
      if (before.includes(sound)) continue;
      sound.volume = this.volume / 100;
      sound.muted = this.muted || this.isAway;
      this.#start(sound);
    }
    this.#blocked();
  }

  /**
   * The position of the large video in its area, in pixels. It keeps its aspect ratio, so there may be space beside it.
   */
  videoBox() {
    const large = this.#beside.video;
    const { clientWidth: width, clientHeight: height } = large?.parentElement ?? $('pictures');
    const { videoWidth, videoHeight } = large ?? this.main() ?? {};
    if (!videoWidth) return { left: 0, top: 0, width, height };
    const scale = Math.min(width / videoWidth, height / videoHeight);
    const [shown, high] = [videoWidth * scale, videoHeight * scale];
    return { left: (width - shown) / 2, top: (height - high) / 2, width: shown, height: high };
  }

  /** Shows nothing. */
  clear() {
    $('last-picture').hidden = true;
    this.#stopped = { screen: false, camera: false };
    this.show({});
  }

  /** Keeps the last frame while no connection brings new ones. */
  freeze() {
    const video = this.main();
    const canvas = $('last-picture');
    if (!video?.videoWidth || !canvas.hidden) return;
    canvas.width = video.videoWidth;
    canvas.height = video.videoHeight;
    canvas.getContext('2d').drawImage(video, 0, 0);
    canvas.hidden = false;
  }

  /** The element of the large video; null if there is no video. */
  main() {
    const [screen, camera] = ['screen', 'camera'].map((id) => this.#has(id));
    if (!screen && !camera) return null;
    return $(screen && !(this.#swapped && camera) ? 'screen-video' : 'camera-video');
  }

  /** Whether a video is shown. One that has no frame yet would be black, so it waits while the other one has some. */
  #has(id) {
    const exists = (name) => Boolean(this.#tracks[name]) && !this.#stopped[name];
    const hasFrames = (name) => $(`${name}-video`).videoWidth > 0;
    const other = id === 'screen' ? 'camera' : 'screen';
    return exists(id) && (hasFrames(id) || !exists(other) || !hasFrames(other));
  }

  get hasAudio() {
    return Boolean(this.#tracks.audio) || this.#beside.sounds.length > 0;
  }

  get hasTwo() {
    return this.#has('screen') && this.#has('camera');
  }

  get isInsetShown() {
    return this.hasTwo && !this.#insetHidden;
  }

  swap() {
    if (!this.hasTwo) return;
    this.#swapped = !this.#swapped;
    this.#arrange();
  }

  toggleInset() {
    if (!this.hasTwo) return;
    this.#insetHidden = !this.#insetHidden;
    this.#arrange();
  }

  /** Applies volume and muting, and starts elements that the browser holds back. */
  applyVolume() {
    const video = this.#owner;
    const { sounds } = this.#beside;
    const playing = [video, ...sounds].filter((element) => element.srcObject);
    for (const element of [video, ...sounds]) element.volume = this.volume / 100;
    for (const sound of sounds) sound.muted = this.muted || this.isAway;
    video.muted = this.muted || this.isAway || !this.#tracks.audio;
    for (const element of this.#refused) if (!playing.includes(element)) this.#refused.delete(element);
    this.#blocked();
    for (const element of playing) this.#start(element);
  }

  async #start(element) {
    try {
      await element.play();
      this.#refused.delete(element);
    } catch (error) {
      if (error.name !== 'NotAllowedError') return;
      this.#refused.add(element);
      // The picture is shown all the same.
      if (element === this.#owner) {
        element.muted = true;
        element.play().catch(() => {});
      }
    }
    this.#blocked();
  }

  setVolume(percent) {
    this.volume = percent;
    this.muted = percent === 0;
    store.set('volume', percent || 50);
    this.applyVolume();
  }

  toggleMute() {
    // A click while the browser blocks the sound means that the student wants to hear it.
    this.muted = this.isBlocked ? false : !this.muted;
    if (!this.muted && this.volume === 0) this.volume = 50;
    this.applyVolume();
  }

  #blocked() {
    this.isBlocked = this.#refused.size > 0 && this.hasAudio && !this.muted;
    this.#on.changed();
  }

  /** Audio plays in the same element as a video, so that the browser keeps them in sync. */
  #attach() {
    const { audio, screen, camera } = this.#tracks;
    // A video that waits for its first frame holds audio back, which must not wait for a source that has stopped.
    if (this.#isStalled(this.#owner)) {
      const other = [$('screen-video'), $('camera-video')].find((video) => video !== this.#owner);
      const isBetter = this.#tracks[roleOf(other)] && !this.#isStalled(other);
      this.#owner = isBetter ? other : this.#usualOwner();
    }
    for (const [video, track] of [[$('screen-video'), screen], [$('camera-video'), camera]]) {
      this.#play(video, [!this.#isStalled(video) && track, video === this.#owner && audio]);
    }
  }

  #usualOwner() {
    return this.#tracks.camera && !this.#tracks.screen ? $('camera-video') : $('screen-video');
  }

  /** Whether a video has no frame, and none comes because its source has stopped. */
  #isStalled(video) {
    const role = roleOf(video);
    return Boolean(this.#tracks[role]) && this.#stopped[role] && video.videoWidth === 0;
  }

  #play(video, tracks) {
    const wanted = tracks.filter(Boolean);
    const have = video.srcObject?.getTracks() ?? [];
    if (wanted.length === have.length && wanted.every((track) => have.includes(track))) return;
    video.srcObject = wanted.length > 0 ? new MediaStream(wanted) : null;
    if (video !== this.#owner) {
      video.muted = true;
      if (video.srcObject) video.play().catch(() => {});
    }
  }

  #whenFrameIn(video) {
    const stream = video.srcObject;
    const wait = (shown) => {
      // Hidden windows have no video frame callbacks.
      if (video.requestVideoFrameCallback && !document.hidden) video.requestVideoFrameCallback(shown);
      else video.addEventListener('timeupdate', shown, { once: true });
    };
    const shown = () => {
      if (video.srcObject !== stream || video !== this.main()) return;
      // A failed connection leaves a black frame, which does not count.
      if (!this.#on.isConnected()) return wait(shown);
      $('last-picture').hidden = true;
      performance.mark('classroom-picture');
      this.#on.firstFrame();
    };
    wait(shown);
  }

  #rearrange() {
    this.#arrange();
    const main = this.main();
    if (main) this.#whenFrameIn(main);
  }

  #arrange() {
    const main = this.main()?.parentElement ?? null;
    for (const id of ['screen', 'camera']) {
      const box = $(id);
      const isInset = this.isInsetShown && box !== main;
      box.hidden = !this.#has(id) || (box !== main && !isInset);
      box.classList.toggle('inset', isInset);
      if (isInset) {
        box.append(document.querySelector('.inset-tools'));
        box.tabIndex = 0;
        box.setAttribute('role', 'group');
        label(box, say('insetHelp'));
      } else {
        for (const name of ['tabindex', 'role', 'aria-label']) box.removeAttribute(name);
      }
    }
    if (!this.isInsetShown) $('pictures').append(document.querySelector('.inset-tools'));
    this.#on.changed();
  }

  #move(x, y) {
    const within = (n) => Math.min(1, Math.max(0, Number(n) || 0));
    this.#position = { x: within(x), y: within(y) };
    $('pictures').style.setProperty('--x', this.#position.x);
    $('pictures').style.setProperty('--y', this.#position.y);
  }

  /** Moves the inset if another corner hides less. */
  #look() {
    const video = this.main();
    if (this.#isPut || !this.isInsetShown || document.hidden || !video?.videoWidth || !$('last-picture').hidden) return;
    const inset = document.querySelector('.picture.inset');
    const area = $('pictures');
    const [here, there] = [inset, area].map((element) => element.getBoundingClientRect());
    const own = { left: here.left - there.left, top: here.top - there.top, width: here.width, height: here.height };
    // The student may be about to use the inset. Chromium's `:hover` stays set on an element that was hidden under the
    // pointer.
    if (this.#isAt(own) || inset.matches(':focus-within, .dragged')) return;
    const { left, top, width, height } = this.videoBox();
    if (width <= 0 || height <= 0) return;
    const edge = this.#edge();
    const boxes = CORNERS.map(({ x, y }) => ({
      left: edge + x * (area.clientWidth - inset.offsetWidth - 2 * edge),
      top: edge + y * (area.clientHeight - inset.offsetHeight - 2 * edge),
      width: inset.offsetWidth,
      height: inset.offsetHeight,
    }));
    const points = brightness(video);
    const details = boxes.map((box) =>
      detail(points, {
        left: (box.left - left) / width,
        top: (box.top - top) / height,
        width: box.width / width,
        height: box.height / height,
      }));
    this.#corner.look(details, performance.now(), (corner) => !this.#isAt(boxes[corner]));
    const { x, y } = CORNERS[this.#corner.at];
    area.dataset.corner = this.#corner.at;
    if (x !== this.#position.x || y !== this.#position.y) this.#move(x, y);
  }

  /** Whether the pointer is over this box. */
  #isAt(box) {
    if (!this.#pointer) return false;
    const area = $('pictures').getBoundingClientRect();
    const [x, y] = [this.#pointer.x - area.left - box.left, this.#pointer.y - area.top - box.top];
    return x >= 0 && y >= 0 && x <= box.width && y <= box.height;
  }

  /** The inset's distance from the edge, in pixels. */
  #edge() {
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    return rem * parseFloat(getComputedStyle($('pictures')).getPropertyValue('--edge'));
  }

  /** A keyboard on the screen takes space from the page, and not every browser applies that to the page's style. */
  #fitWindow() {
    const { height, scale } = globalThis.visualViewport;
    // While the student zooms in, the page keeps its size.
    if (scale > 1.01) return;
    const isCovered = innerHeight - height > 1;
    document.documentElement.style.setProperty('--seen', isCovered ? `${height}px` : '');
    $('room').classList.toggle('is-cramped', height < CRAMPED_PX);
    if (isCovered) scrollTo(0, 0);
  }

  /** The inset follows mouse, finger and arrow keys, and stays where it was put. */
  #drag(box) {
    box.addEventListener('pointerdown', (down) => {
      if (!box.classList.contains('inset') || down.button !== 0 || down.target.closest('button')) return;
      const area = $('pictures');
      const edges = 2 * this.#edge();
      const free = {
        x: area.clientWidth - box.offsetWidth - edges,
        y: area.clientHeight - box.offsetHeight - edges,
      };
      const start = { ...this.#position };
      box.setPointerCapture(down.pointerId);
      const follow = (move) => {
        box.classList.add('dragged');
        this.#isPut = true;
        this.#move(start.x + (move.clientX - down.clientX) / free.x, start.y + (move.clientY - down.clientY) / free.y);
      };
      const end = () => {
        box.removeEventListener('pointermove', follow);
        if (!box.classList.contains('dragged')) return;
        box.classList.remove('dragged');
        store.set('inset', this.#position);
      };
      box.addEventListener('pointermove', follow);
      box.addEventListener('lostpointercapture', end, { once: true });
    });
    box.addEventListener('keydown', (event) => {
      const by = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] }[event.key];
      if (!by || !box.classList.contains('inset')) return;
      event.preventDefault();
      this.#isPut = true;
      this.#move(this.#position.x + by[0], this.#position.y + by[1]);
      store.set('inset', this.#position);
    });
  }
}

const roleOf = (video) => (video.id === 'screen-video' ? 'screen' : 'camera');

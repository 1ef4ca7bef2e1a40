// The preview of the sources of a teacher or a speaker: picture, level of the microphone, devices, and buttons.

import { $, press, setIcon } from './dom.js';
import { blurOf, setBlur } from './camera_blur.js';
import { label, say } from './i18n.js';
import { canShare } from './sources.js';

const LEVEL_MS = 80;
/** A microphone that gives less than this for so long, in the meter's scale and in ms, is not in order. */
const SILENT = 0.02;
const SILENT_MS = 10_000;
/** The time of speech into a microphone that is off until the page says so, and the time that the page says so. */
const SPOKEN_MS = 600;
const UNHEARD_MS = 4_000;

export class Studio {
  #sources;
  #sound;
  #hasKeys;
  #isLive = false;
  /** Whether the teacher wants to see its own whole screen, which shows this page in itself. */
  #showsScreen = false;
  #spokenMs = 0;
  #unheardUntil = 0;
  #heardAt = performance.now();
  #drawn = '';

  /** `hasKeys`: whether the buttons have keys, which their tooltips then name. */
  constructor(sources, sound, hasKeys = true) {
    this.#sources = sources;
    this.#sound = sound;
    this.#hasKeys = hasKeys;
    for (const kind of ['microphone', 'camera']) {
      $(`${kind}-choice`).addEventListener('change', ({ target }) => sources.open(kind, target.value));
    }
    $('camera-blur').addEventListener('change', async ({ target }) => {
      if (sources.camera) await setBlur(sources.camera, target.checked);
      this.drawDevices();
    });
    $('second-choice').addEventListener('change', ({ target }) => sources.useSecondCamera(target.value));
    $('content-choice').addEventListener('change', ({ target }) => (sources.content = target.value));
    $('show-screen').addEventListener('click', () => {
      this.#showsScreen = true;
      this.draw();
    });
    setInterval(() => this.#level(), LEVEL_MS);
  }

  /** Moves picture and devices to their places before or during the lecture. */
  set isLive(isLive) {
    this.#isLive = isLive;
    $(isLive ? 'live-preview' : 'setup-preview').append($('preview'));
    $(isLive ? 'devices-live' : 'devices-home').append($('devices'));
    this.draw();
  }

  /** Whether the teacher speaks, and the microphone is off. */
  get isUnheard() {
    return performance.now() < this.#unheardUntil;
  }

  /** Whether the microphone is on and gives nothing. */
  get isSilent() {
    return performance.now() - this.#heardAt > SILENT_MS;
  }

  /** Something else is shared now. */
  shared() {
    this.#showsScreen = false;
  }

  draw() {
    this.#buttons();
    this.#picture();
    this.#problems();
  }

  /** Lists the devices. */
  drawDevices() {
    for (const kind of ['microphone', 'camera']) {
      const select = $(`${kind}-choice`);
      const devices = this.#sources.devices[kind];
      const used = this.#sources.deviceOf(kind);
      const options = devices.map(({ id, label: name }, n) => [name || say('unnamedDevice', { n: n + 1 }), id]);
      if (!devices.some(({ id }) => id === used)) options.unshift([say('defaultDevice'), used]);
      select.replaceChildren(...options.map(([name, id]) => new Option(name, id, false, id === used)));
      select.disabled = devices.length === 0;
    }
    this.#drawSecondCamera();
    $('content-choice').value = this.#sources.content;
    $('content-choice').disabled = this.#sources.secondCamera !== '';
    const blur = blurOf(this.#sources.camera);
    $('blur-line').hidden = blur === null;
    $('camera-blur').checked = blur === true;
  }

  /** Lists the cameras that are not in use as the first one. Phones open one camera at a time. */
  #drawSecondCamera() {
    const { devices, camera, secondCamera } = this.#sources;
    const first = camera?.getSettings().deviceId;
    const others = devices.camera.filter(({ id }) => id === secondCamera || id !== first);
    const options = others.map(({ id, label: name }, n) => [name || say('unnamedDevice', { n: n + 1 }), id]);
    options.unshift([say('noSecondCamera'), '']);
    const choices = options.map(([name, id]) => new Option(name, id, false, id === secondCamera));
    $('second-choice').replaceChildren(...choices);
    $('second-part').hidden = devices.camera.length < 2 || !canShare();
  }

  #buttons() {
    const { microphone, camera, screen } = this.#sources;
    const hears = Boolean(microphone) && !this.#sound.isMuted;
    const key = (name) => (this.#hasKeys ? name : '');
    for (const id of ['microphone', 'setup-microphone']) {
      toggle($(id), hears, hears ? 'i-mic' : 'i-mic-off', say(hears ? 'microphoneOn' : 'microphoneOff'), key('M'));
    }
    for (const id of ['camera-button', 'setup-camera']) {
      const words = say(camera ? 'cameraOn' : 'cameraOff');
      toggle($(id), Boolean(camera), camera ? 'i-camera' : 'i-camera-off', words, key('V'));
    }
    toggle($('setup-screen'), Boolean(screen), 'i-screen', say(screen ? 'screenOn' : 'shareScreen'), key('S'));
    toggle($('share'), false, 'i-screen', say(screen ? 'shareOther' : 'shareScreen'), key('S'));
    $('share').removeAttribute('aria-pressed');
    $('unshare').hidden = !screen;
    for (const id of ['share', 'setup-screen']) $(id).disabled = !canShare();
  }

  #picture() {
    const { camera, screen, isWholeScreen, microphone } = this.#sources;
    show($('own-screen-video'), screen);
    show($('own-camera-video'), camera);
    const hidesScreen = Boolean(screen) && isWholeScreen && this.#isLive && !this.#showsScreen;
    const hasScreen = Boolean(screen) && !hidesScreen;
    $('own-screen').hidden = !hasScreen;
    $('own-camera').hidden = !camera;
    $('own-camera').classList.toggle('inset', Boolean(screen));
    $('no-picture').hidden = hasScreen || (Boolean(camera) && !screen);
    setIcon($('no-picture'), hidesScreen ? 'i-screen' : 'i-camera-off');
    const hears = Boolean(microphone) && !this.#sound.isMuted;
    const nothing = hears ? 'onlySound' : 'nothingSent';
    $('no-picture-text').textContent = say(hidesScreen ? 'wholeScreen' : this.#isLive ? nothing : 'cameraIsOff');
    $('show-screen').hidden = !hidesScreen;
  }

  #problems() {
    const { problems } = this.#sources;
    for (const kind of ['microphone', 'camera', 'screen']) {
      const problem = problems[kind];
      const key = problem && `${kind}${problem[0].toUpperCase()}${problem.slice(1)}`;
      const always = kind === 'screen' && navigator.mediaDevices && !canShare() ? say('cannotShare') : '';
      const words = key ? say(key) : always;
      if ($(`${kind}-problem`).textContent !== words) $(`${kind}-problem`).textContent = words;
    }
  }

  #level() {
    const level = this.#sound.level();
    const percent = Math.round(100 * (level ?? 0));
    const isOff = this.#sound.isMuted || !this.#sources.microphone;
    if (percent !== this.#drawn) {
      this.#drawn = percent;
      for (const id of ['meter', 'bar-meter']) $(id).style.setProperty('--level', `${percent}%`);
      $('meter').setAttribute('aria-valuenow', percent);
    }
    for (const id of ['meter', 'bar-meter']) $(id).classList.toggle('off', isOff);
    const now = performance.now();
    if (isOff || level === null || level > SILENT) this.#heardAt = now;
    this.#spokenMs = this.#sound.isUnheard ? this.#spokenMs + LEVEL_MS : 0;
    if (this.#spokenMs > SPOKEN_MS) this.#unheardUntil = now + UNHEARD_MS;
    if (!isOff) this.#unheardUntil = 0;
  }
}

/** Shows the state of a button: pressed or not, its icon, its words and its key, if it has one. */
function toggle(button, isOn, icon, words, key) {
  press(button, isOn);
  button.classList.toggle('is-off', !isOn);
  setIcon(button, icon);
  button.querySelector('.name').textContent = words;
  label(button, words);
  if (key) button.title = `${words} (${key})`;
}

/** Shows this track in a video. */
function show(video, track) {
  if ((video.srcObject?.getTracks()[0] ?? null) === track) return;
  video.srcObject = track ? new MediaStream([track]) : null;
  if (track) video.play().catch(() => {});
}

/** A duration as a clock shows it. */
export function clock(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1_000));
  const two = (n) => String(n).padStart(2, '0');
  const hours = Math.floor(seconds / 3_600);
  return `${hours ? `${hours}:` : ''}${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
}

// The sources of a lecture: camera, microphone, and a shared screen, window or tab, or a second camera in its place.

import { keepBlur } from './camera_blur.js';
import { store } from './dom.js';

const CAMERA = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30, max: 30 } };
const MICROPHONE = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
/** An encoder in a browser runs on the processor: larger screens are scaled down. */
const SCREEN = { width: { max: 1920 }, height: { max: 1200 }, frameRate: { ideal: 15, max: 30 } };
/** Sound of a tab is music or a film, so nothing may be filtered. */
const TAB_SOUND = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
/** A plugged device is announced several times. */
const SETTLED_MS = 300;

/** The kinds of devices, as `enumerateDevices` names them. */
const KINDS = { camera: 'videoinput', microphone: 'audioinput' };

/** Whether this browser can share a screen: phones can't. */
export const canShare = () => Boolean(navigator.mediaDevices?.getDisplayMedia);

/** The keys of the sentences for the errors of `getUserMedia` and `getDisplayMedia`. */
const PROBLEMS = {
  NotAllowedError: 'denied',
  SecurityError: 'denied',
  NotFoundError: 'missing',
  OverconstrainedError: 'missing',
  NotReadableError: 'busy',
  AbortError: 'busy',
};

export class Sources {
  /** The tracks; `null` where a source is off. The sound of a shared tab is `tabSound`. */
  camera = null;
  microphone = null;
  screen = null;
  tabSound = null;
  /** The reason for which a wanted source is off: `denied`, `missing`, `busy` or `failed`. */
  problems = { camera: null, microphone: null, screen: null };
  /** The devices, `{ id, label }`. */
  devices = { camera: [], microphone: [] };
  /** `{ camera, microphone }` are ids of devices, `content` is `text` or `video`; also which sources are on. */
  #chosen = { content: 'text', hasCamera: true, ...store.get('teaching', {}) };
  /** The newest request for each kind of source is the one that counts. */
  #requests = { camera: 0, microphone: 0, screen: 0 };
  /** The track of the second camera. */
  #second = null;
  #on;
  #timer = 0;

  /**
   * `on` has `changed(kind)` for a source that is another one now, and `told(key, values)` for what a person has to
   * know.
   */
  constructor(on) {
    this.#on = on;
    navigator.mediaDevices?.addEventListener?.('devicechange', () => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#look(), SETTLED_MS);
    });
  }

  /** The content of the screen: `text`, which stays sharp, or `video`, which keeps moving. */
  get content() {
    return this.secondCamera ? 'video' : this.#chosen.content;
  }

  set content(content) {
    this.#remember({ content });
    this.#hint();
    this.#on.changed('screen');
  }

  /** The id of the device in use, or of the chosen one. */
  deviceOf(kind) {
    return this[kind]?.getSettings().deviceId ?? this.#chosen[kind] ?? '';
  }

  /** The id of the camera that is sent in place of the screen; empty without one. */
  get secondCamera() {
    return (this.screen && this.screen === this.#second && this.screen.getSettings().deviceId) || '';
  }

  /** Whether a whole screen is shared, in which this page may be seen. */
  get isWholeScreen() {
    return this.screen?.getSettings().displaySurface === 'monitor';
  }

  /** Opens microphone and camera with one question of the browser, as far as the last lecture used them. */
  async openBoth() {
    if (!this.#chosen.hasCamera) return this.open('microphone');
    const ids = { ...this.#requests };
    try {
      const both = { audio: this.#constraints('microphone'), video: this.#constraints('camera') };
      const stream = await navigator.mediaDevices.getUserMedia(both);
      for (const track of stream.getTracks()) {
        const kind = track.kind === 'audio' ? 'microphone' : 'camera';
        if (this.#requests[kind] === ids[kind]) this.#use(kind, track);
        else track.stop();
      }
      await this.list();
    } catch {
      // One of the two devices is missing, busy or forbidden; the other one may work.
      await this.open('microphone');
      await this.open('camera');
    }
  }

  /** Opens a `camera` or `microphone`: this device, or the chosen one. Returns whether it is open. */
  async open(kind, deviceId = this.#chosen[kind]) {
    const request = ++this.#requests[kind];
    const isNewest = () => request === this.#requests[kind];
    try {
      const track = await this.#get(kind, deviceId);
      if (!isNewest()) {
        track.stop();
        return false;
      }
      this.#use(kind, track);
      this.#remember({ [kind]: deviceId, ...(kind === 'camera' ? { hasCamera: true } : {}) });
    } catch (error) {
      if (!isNewest()) return false;
      this.problems[kind] = PROBLEMS[error.name] ?? 'failed';
      this.#on.changed(kind);
    }
    await this.list();
    return isNewest() && this[kind] !== null;
  }

  /** Switches a camera or microphone off. */
  close(kind) {
    this.#requests[kind] += 1;
    this[kind]?.stop();
    this[kind] = null;
    this.problems[kind] = null;
    if (kind === 'camera') this.#remember({ hasCamera: false });
    this.#on.changed(kind);
  }

  /**
   * Asks what to share, and shares it; what was shared before goes on until then. Returns whether something new is
   * shared.
   */
  async share() {
    const request = ++this.#requests.screen;
    try {
      const stream = await navigator.mediaDevices.getDisplayMedia({
        video: SCREEN,
        audio: { ...TAB_SOUND, suppressLocalAudioPlayback: false },
        systemAudio: 'include',
        surfaceSwitching: 'include',
        selfBrowserSurface: 'exclude',
      });
      const [track] = stream.getVideoTracks();
      const [sound = null] = stream.getAudioTracks();
      if (request !== this.#requests.screen) {
        for (const unwanted of stream.getTracks()) unwanted.stop();
        return false;
      }
      this.tabSound?.stop();
      this.tabSound = sound;
      sound?.addEventListener('ended', () => this.tabSound === sound && this.#endTabSound());
      this.#use('screen', track);
      return true;
    } catch (error) {
      if (request !== this.#requests.screen) return false;
      // Closing the browser's dialog is not a problem, and a page can't tell it from a refusal.
      const problem = PROBLEMS[error.name] ?? 'failed';
      this.problems.screen = problem === 'denied' ? null : problem;
      if (problem === 'denied') this.#on.told('shareRefused');
      this.#on.changed('screen');
      return false;
    }
  }

  /** Sends this camera in place of the screen. An empty id ends that. */
  async useSecondCamera(deviceId) {
    if (!deviceId) return this.unshare();
    const request = ++this.#requests.screen;
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ video: { ...CAMERA, deviceId: { exact: deviceId } } });
      const [track] = stream.getVideoTracks();
      if (request !== this.#requests.screen) return track.stop();
      this.tabSound?.stop();
      this.tabSound = null;
      this.#second = track;
      this.#use('screen', track);
    } catch {
      if (request !== this.#requests.screen) return;
      this.#on.told('secondCameraFailed');
      this.#on.changed('screen');
    }
  }

  /** Stops sharing. */
  unshare() {
    this.#requests.screen += 1;
    this.screen?.stop();
    this.tabSound?.stop();
    this.screen = null;
    this.tabSound = null;
    this.problems.screen = null;
    this.#on.changed('screen');
  }

  /** Switches everything off. */
  closeAll() {
    const wasOn = this.#chosen.hasCamera;
    for (const kind of ['camera', 'microphone']) this.close(kind);
    this.unshare();
    this.#remember({ hasCamera: wasOn });
  }

  /** Lists the devices again. Browsers name them only after a permission. */
  async list() {
    const all = await navigator.mediaDevices.enumerateDevices().catch(() => []);
    for (const [kind, name] of Object.entries(KINDS)) {
      const found = all.filter((device) => device.kind === name && device.deviceId);
      this.devices[kind] = found.map(({ deviceId, label }) => ({ id: deviceId, label }));
    }
    this.#on.changed('devices');
  }

  #constraints(kind, deviceId = this.#chosen[kind]) {
    const base = kind === 'camera' ? CAMERA : MICROPHONE;
    return deviceId ? { ...base, deviceId: { ideal: deviceId } } : base;
  }

  async #get(kind, deviceId) {
    const media = kind === 'camera' ? 'video' : 'audio';
    const ask = async () => {
      const stream = await navigator.mediaDevices.getUserMedia({ [media]: this.#constraints(kind, deviceId) });
      return stream.getTracks()[0];
    };
    try {
      return await ask();
    } catch (error) {
      // Most phones open one camera at a time.
      if (PROBLEMS[error.name] !== 'busy' || !this[kind]) throw error;
      this[kind].stop();
      return ask();
    }
  }

  /** Uses this track from now on. The one before ends after the change, so that nothing black is sent. */
  #use(kind, track) {
    const before = this[kind];
    this[kind] = track;
    this.problems[kind] = null;
    track.addEventListener('ended', () => this[kind] === track && this.#ended(kind, track));
    this.#hint();
    if (kind === 'camera') keepBlur(track).then(() => this.#on.changed('devices'));
    const done = this.#on.changed(kind);
    Promise.resolve(done).finally(() => before !== track && before?.stop());
  }

  /** A device was unplugged, or the browser's own button stopped the sharing. */
  async #ended(kind, track) {
    if (kind === 'screen') {
      const wasCamera = track === this.#second;
      this.unshare();
      this.#on.told(wasCamera ? 'secondCameraLost' : 'sharingEnded', { lost: track.label });
      return;
    }
    this[kind] = null;
    this.#on.changed(kind);
    const isOpen = await this.open(kind, '');
    const now = this[kind]?.label;
    if (isOpen) this.#on.told(`${kind}Replaced`, { lost: track.label, now });
    else this.#on.told(`${kind}Lost`, { lost: track.label });
  }

  #endTabSound() {
    this.tabSound = null;
    this.#on.changed('microphone');
  }

  /** Devices were plugged in or out. */
  async #look() {
    await this.list();
    for (const kind of ['camera', 'microphone']) {
      const track = this[kind];
      const ids = this.devices[kind].map(({ id }) => id);
      // Not every browser ends the track of a device that is gone.
      const isGone = track && ids.length > 0 && !ids.includes(track.getSettings().deviceId);
      if (isGone && track.readyState === 'live') {
        track.stop();
        await this.#ended(kind, track);
      }
      if (!track && this.problems[kind] === 'missing' && ids.length > 0) await this.open(kind);
    }
  }

  /** Tells the browser's encoder what the picture is. */
  #hint() {
    if (this.camera) this.camera.contentHint = 'motion';
    if (this.screen) this.screen.contentHint = this.content === 'text' ? 'detail' : 'motion';
  }

  #remember(more) {
    this.#chosen = { ...this.#chosen, ...more };
    store.set('teaching', this.#chosen);
  }
}

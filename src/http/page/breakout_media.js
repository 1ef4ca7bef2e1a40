// What a student of a lecture sends in a breakout room: nothing at first, then what its buttons switch on.

import { $, announce, el, press, setIcon } from './dom.js';
import { label, say } from './i18n.js';
import { OwnTracks } from './own_tracks.js';
import { canShare } from './sources.js';

export class BreakoutMedia extends OwnTracks {
  /** The own picture, for the tile. */
  preview = el('div', 'preview');
  #on;
  #video = el('video');

  /**
   * `on` has `replace(role)` for another track to send, `changed()`, and `told(text)` for what a person has to know.
   */
  constructor(on) {
    super({ changed: (kind) => this.#changed(kind), told: (text) => on.told(text) });
    this.#on = on;
    Object.assign(this.#video, { playsInline: true, autoplay: true, muted: true });
    this.#video.setAttribute('aria-hidden', 'true');
    const own = el('div', 'own', this.#video);
    this.preview.append(own);
    const actions = { microphone: 'toggleMicrophone', camera: 'toggleCamera', screen: 'toggleScreen' };
    for (const [kind, action] of Object.entries(actions)) {
      $(`breakout-${kind}`).addEventListener('click', () => this[action]());
    }
  }

  /** What a page that is loaded again has to remember. */
  get chosen() {
    return { hasMicrophone: this.sends.includes('audio'), hasCamera: Boolean(this.sources.camera) };
  }

  /** Sends again what was sent before the page was loaded. */
  async resume({ hasMicrophone, hasCamera }) {
    if (hasMicrophone) await this.sources.open('microphone');
    if (hasCamera) await this.sources.open('camera');
  }

  /** The own picture stands in the entrance while there is no tile for it. */
  putAway() {
    if (this.preview.parentElement !== $('breakout-mirror')) $('breakout-mirror').append(this.preview);
  }

  toggleMicrophone() {
    if (!navigator.mediaDevices) return;
    if (!this.sources.microphone) return this.sources.open('microphone');
    this.sound.isMuted = !this.sound.isMuted;
    announce(say(this.sound.isMuted ? 'microphoneOff' : 'microphoneOn'));
    this.#on.replace('audio');
    this.#on.changed();
  }

  toggleCamera() {
    if (!navigator.mediaDevices) return;
    if (this.sources.camera) this.sources.close('camera');
    else this.sources.open('camera');
  }

  toggleScreen() {
    if (!canShare()) return;
    if (this.sources.screen) this.sources.unshare();
    else this.sources.share();
  }

  draw() {
    const { camera, screen, problems } = this.sources;
    const hears = Boolean(this.sources.microphone) && !this.sound.isMuted;
    show('microphone', hears, hears ? 'i-mic' : 'i-mic-off', say(hears ? 'microphoneOn' : 'microphoneOff'));
    const has = Boolean(camera);
    show('camera', has, has ? 'i-camera' : 'i-camera-off', say(has ? 'cameraOn' : 'cameraOff'));
    show('screen', Boolean(screen), screen ? 'i-screen-off' : 'i-screen', say(screen ? 'stopSharing' : 'shareScreen'));
    $('breakout-screen').hidden = !canShare();
    const kind = ['microphone', 'camera', 'screen'].find((one) => problems[one]);
    const problem = kind && `${kind}${problems[kind][0].toUpperCase()}${problems[kind].slice(1)}`;
    const nothing = this.sends.length === 0 ? say('breakoutUnseen') : '';
    const words = navigator.mediaDevices ? (problem ? say(problem) : nothing) : say('insecureHere');
    if ($('breakout-hint').textContent !== words) $('breakout-hint').textContent = words;
  }

  /** Another source. Returns a promise that is kept once the new track is sent. */
  #changed(kind) {
    if (kind === 'devices') return undefined;
    const { microphone, tabSound, screen, camera } = this.sources;
    if (kind !== 'camera') this.sound.use(microphone, tabSound);
    const shown = screen ?? camera;
    if ((this.#video.srcObject?.getTracks()[0] ?? null) !== shown) {
      this.#video.srcObject = shown ? new MediaStream([shown]) : null;
    }
    this.#video.hidden = !shown;
    this.#video.classList.toggle('mirrored', !screen);
    const done = kind === 'microphone' ? null : this.#on.replace(kind);
    if (kind !== 'camera') this.#on.replace('audio');
    this.#on.changed();
    return done;
  }
}

function show(kind, isOn, icon, words) {
  const button = $(`breakout-${kind}`);
  press(button, isOn);
  setIcon(button, icon);
  button.querySelector('.name').textContent = words;
  label(button, words);
}

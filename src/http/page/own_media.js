// What this person sends in a meeting or a call: microphone, camera and screen, and their buttons.

import { $, announce, store } from './dom.js';
import { say } from './i18n.js';
import { sourceChanged } from './devices.js';
import { OwnTracks } from './own_tracks.js';
import { Studio } from './studio.js';

export class OwnMedia extends OwnTracks {
  #on;
  /** Whether the camera went off for the screen, and comes back after it. */
  #hadCamera = false;
  /** Whether the person talks only as long as it holds the space bar. */
  #isHeld = false;

  /**
   * `on` has `replace(role)` for another track to send, `changed()` for anything that is shown, `chosen()` once
   * the person has switched something on or off, and `told(text)` for what a person has to know.
   */
  constructor(on) {
    super({ changed: (kind) => this.#changed(kind), told: (text) => on.told(text) });
    this.#on = on;
    this.studio = new Studio(this.sources, this.sound);
    this.studio.isLive = false;
    $('screen-instead').checked = store.get('screenInstead', false);
    $('screen-instead').addEventListener('change', ({ target }) => store.set('screenInstead', target.checked));
    document.addEventListener('keydown', (event) => this.#space(event, true));
    document.addEventListener('keyup', (event) => this.#space(event, false));
    addEventListener('blur', () => this.#talk(false));
  }

  /** The element with the own picture. */
  get preview() {
    return $('live-preview');
  }

  /** Takes the own picture out of its tile, which may end. */
  putAway() {
    $('own-home').append(this.preview);
  }

  /** Whether the browser gives this page devices at all. */
  get isPossible() {
    return Boolean(navigator.mediaDevices);
  }

  /** Whether any device or screen is in use. */
  get isOpen() {
    const { microphone, camera, screen } = this.sources;
    return Boolean(microphone || camera || screen);
  }

  /** Asks for camera and microphone, or for the microphone alone. */
  async open(withCamera) {
    if (!this.isPossible) return;
    if (withCamera) await this.sources.openBoth();
    else await this.sources.open('microphone');
  }

  /** Switches everything off. */
  close() {
    this.#hadCamera = false;
    super.close();
  }

  draw() {
    this.studio.draw();
    this.studio.drawDevices();
  }

  toggleMicrophone() {
    if (!this.isPossible) return;
    if (!this.sources.microphone) return this.sources.open('microphone');
    this.#mute(!this.sound.isMuted);
    announce(say(this.sound.isMuted ? 'microphoneOff' : 'microphoneOn'));
  }

  /** Switches the microphone off. Returns whether it was on. */
  silence() {
    if (!this.sources.microphone || this.sound.isMuted) return false;
    // Holding the space bar opens it again only after another key press.
    this.#isHeld = false;
    this.#mute(true);
    return true;
  }

  async toggleCamera() {
    if (!this.isPossible) return;
    const { sources } = this;
    announce(say(sources.camera ? 'cameraOff' : 'cameraOn'));
    if (sources.camera) sources.close('camera');
    else await sources.open('camera');
    // Not for every other track: those of a page that is being loaded again end, too.
    this.#on.chosen();
  }

  async share() {
    if (!this.isPossible || !(await this.sources.share())) return;
    if (!$('screen-instead').checked || !this.sources.camera) return;
    this.#hadCamera = true;
    this.sources.close('camera');
  }

  unshare() {
    this.sources.unshare();
  }

  #mute(isMuted) {
    this.sound.isMuted = isMuted;
    this.studio.draw();
    this.#on.replace('audio');
    this.#on.changed();
    this.#on.chosen();
  }

  /** Another source. Returns a promise that is kept once the new track is sent. */
  #changed(kind) {
    const broadcast = { replace: (role) => this.#on.replace(role), contentChanged() {} };
    const done = sourceChanged(kind, { ...this, broadcast });
    if (kind === 'screen' && !this.sources.screen && this.#hadCamera) {
      this.#hadCamera = false;
      this.sources.open('camera');
    }
    this.#on.changed();
    return done;
  }

  #space(event, isDown) {
    if (event.key !== ' ' || event.target.closest?.('button, a, input, textarea, select, summary, [tabindex]')) return;
    if (document.querySelector('dialog[open]') || $('room').dataset.phase !== 'in') return;
    event.preventDefault();
    this.#talk(isDown);
  }

  /** Sends the microphone while the space bar is held, if it is off otherwise. */
  #talk(isDown) {
    if (isDown === this.#isHeld || (isDown && !(this.sources.microphone && this.sound.isMuted))) return;
    this.#isHeld = isDown;
    this.#mute(!isDown);
  }
}

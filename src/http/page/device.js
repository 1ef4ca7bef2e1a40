// The page of a phone that is a teacher's document camera: a preview, one large button, and nothing else of the room.

import { $, addStyle, elementsOf, onFrame } from './dom.js';
import { addWords, hasWords, onLanguage, say, translate } from './i18n.js';
import { Broadcast } from './broadcast.js';

/** A page of a book needs sharp letters, and few frames. */
const CAMERA = { width: { ideal: 1920 }, height: { ideal: 1080 }, frameRate: { ideal: 15, max: 30 } };
/** The offer may arrive before the acceptance, which takes another way: for this time, the offer is repeated. */
const ACCEPTED_WITHIN_MS = 5_000;
const REPEAT_MS = 300;

/** Shows the page of the camera. Once the person has pressed the button, `startRoom(room)` lets it into the room. */
export async function startDevice(room, startRoom) {
  const words = addWords({ en: './device_english.js', zh: './device_chinese.js' });
  const [elements] = await Promise.all([elementsOf('./device.html'), words, addStyle('./device.css')]);
  document.body.append(...elements.children);
  document.body.classList.add('is-device');
  translate();
  // The name is not in the QR code, which is easier to read the shorter it is.
  const query = new URLSearchParams(location.search);
  query.set('nickname', say('deviceTitle'));
  history.replaceState(null, '', `${location.pathname}?${query}${location.hash}`);
  $('boot').hidden = true;
  const device = new Device(() => startRoom(room, () => device));
}

/** The stage of the room, as far as a camera takes part in it: what `Room` has. */
class Device {
  #enter;
  #room = null;
  /** `off`, `joining`, `coming` after the acceptance, `live`, or `stopped`. */
  #phase = 'off';
  #why = '';
  #track = null;
  #cameras = [];
  #acceptedAt = 0;
  #turn = 0;
  #hasTorch = false;
  #isLit = false;
  #wakeLock = null;
  #broadcast = new Broadcast(this.#sender());
  #draw = onFrame(() => this.#show());

  /** `enter()` lets this page into the room, which it returns. */
  constructor(enter) {
    this.#enter = enter;
    $('device-use').addEventListener('click', () => this.#use());
    $('device-switch').addEventListener('click', () => this.#next());
    $('device-torch').addEventListener('click', () => this.#light(!this.#isLit));
    $('device-stop').addEventListener('click', () => this.#stop());
    document.addEventListener('visibilitychange', () => this.#stayAwake());
    if (!navigator.mediaDevices) this.#why = 'deviceInsecure';
    setInterval(() => this.#draw(), 1_000);
    onLanguage(() => this.#draw());
  }

  // What `Room` tells its stage.

  told(message) {
    if (message.type === 'invited') this.#invited();
    if (message.type === 'stage') this.#listed(message);
    if (message.type === 'offStage') this.#ended(String(message.reason));
  }

  signalled(message) {
    if (message.userId === this.#room.userId) this.#broadcast.signalled(message);
  }

  failed(error) {
    const isOwn = error.userId === this.#room.userId;
    const isConnecting = !error.userId && this.#broadcast.since > 0;
    if (isConnecting) this.#broadcast.failed();
    if (isOwn) {
      const isEarly = error.code === 'notOnStage' && Date.now() - this.#acceptedAt < ACCEPTED_WITHIN_MS;
      this.#broadcast.error(isEarly ? { ...error, retryAfterMs: REPEAT_MS } : error);
    }
    return isOwn || isConnecting;
  }

  ponged(isAgain) {
    if (isAgain) this.#broadcast.mend();
    else this.#broadcast.offerNow();
  }

  async second() {
    if (this.#isSending) await this.#broadcast.second();
  }

  end() {
    if (this.#isSending) this.#ended('unknown');
  }

  // The way to the stage and back.

  get #isSending() {
    return this.#phase === 'coming' || this.#phase === 'live';
  }

  /** The person has pressed the button. */
  async #use() {
    // A room that was left is not entered again.
    if (this.#room) return location.reload();
    if (!(await this.#open())) return;
    this.#to('joining');
    this.#room = this.#enter();
  }

  #invited() {
    if (!this.#track) return;
    this.#room.chat.tell({ type: 'stageAnswer', accepted: true });
    if (this.#isSending) return;
    this.#acceptedAt = Date.now();
    this.#turn += 1;
    this.#room.signalling.comesBack = true;
    this.#to('coming');
    this.#broadcast.start({ userId: this.#room.userId, epoch: this.#turn });
  }

  #listed({ speakers }) {
    const isListed = Array.isArray(speakers) && speakers.some((one) => one?.userId === this.#room.userId);
    if (isListed && this.#phase === 'coming') this.#to('live');
    else if (!isListed && this.#phase === 'live') this.#ended('unknown');
  }

  /** The camera is off the stage. It stays in the room, and the teacher may bring it back. */
  #ended(reason) {
    if (this.#phase === 'off' || this.#phase === 'stopped') return;
    this.#broadcast.stop();
    this.#why = hasWords(`device${reason}`) ? `device${reason}` : '';
    this.#to('joining');
  }

  #stop() {
    this.#room?.chat.tell({ type: 'stepDown' });
    this.#broadcast.stop();
    this.#room?.signalling?.leave();
    this.#room?.media.end();
    this.#track?.stop();
    this.#track = null;
    this.#preview();
    this.#why = '';
    this.#to('stopped');
  }

  #to(phase) {
    if (phase !== 'joining') this.#why = '';
    this.#phase = phase;
    this.#stayAwake();
    this.#draw();
  }

  // The camera.

  /** Opens the camera on the back, or the one with this id. Returns whether one is open. */
  async #open(deviceId = null) {
    this.#why = navigator.mediaDevices ? '' : 'deviceInsecure';
    if (this.#why) return this.#draw();
    const choice = deviceId ? { deviceId: { exact: deviceId } } : { facingMode: { ideal: 'environment' } };
    const before = this.#track;
    const ask = () => navigator.mediaDevices.getUserMedia({ video: { ...CAMERA, ...choice } });
    try {
      // Most phones open one camera at a time.
      const stream = await ask().catch((error) => {
        if (!before || error.name === 'NotAllowedError') throw error;
        before.stop();
        return ask();
      });
      [this.#track] = stream.getVideoTracks();
    } catch (error) {
      this.#why = error.name === 'NotAllowedError' ? 'deviceDenied' : 'deviceNoCamera';
      this.#draw();
      return false;
    }
    const track = this.#track;
    track.contentHint = 'detail';
    track.addEventListener('ended', () => this.#track === track && this.#stop());
    await this.#broadcast.replace('screen');
    if (before !== track) before?.stop();
    this.#hasTorch = track.getCapabilities?.().torch === true;
    this.#isLit = false;
    const all = await navigator.mediaDevices.enumerateDevices().catch(() => []);
    this.#cameras = all.filter(({ kind, deviceId: id }) => kind === 'videoinput' && id).map(({ deviceId: id }) => id);
    this.#preview();
    this.#draw();
    return true;
  }

  #next() {
    const now = this.#cameras.indexOf(this.#track?.getSettings().deviceId);
    const next = this.#cameras[(now + 1) % this.#cameras.length];
    if (next) this.#open(next);
  }

  async #light(isLit) {
    const done = await this.#track?.applyConstraints({ advanced: [{ torch: isLit }] }).then(() => true, () => false);
    if (done) this.#isLit = isLit;
    this.#draw();
  }

  #preview() {
    const video = $('device-video');
    video.srcObject = this.#track ? new MediaStream([this.#track]) : null;
    video.hidden = !this.#track;
    if (this.#track) video.play().catch(() => {});
    // A person who looks at itself expects a mirror; a page of a book must not be one.
    video.classList.toggle('mirrored', this.#track?.getSettings().facingMode === 'user');
  }

  /** A phone on a stand must not go to sleep. */
  async #stayAwake() {
    if (this.#phase === 'off' || this.#phase === 'stopped') {
      this.#wakeLock?.release().catch(() => {});
      this.#wakeLock = null;
    } else if (!document.hidden) {
      this.#wakeLock = await navigator.wakeLock?.request('screen').catch(() => null);
    }
  }

  /** What `Broadcast` needs. The picture is sent as a screen, so that letters stay sharp and nothing is cropped. */
  #sender() {
    const own = () => this.#room;
    return {
      get signalling() {
        return own().signalling;
      },
      get iceServers() {
        return own().iceServers;
      },
      content: 'text',
      chat: { attach: (channel) => this.#attach(channel) },
      tracks: () => ({ audio: null, screen: this.#track, camera: null }),
      changed: () => this.#draw(),
      refused: () => this.#ended('unknown'),
    };
  }

  #attach(channel) {
    if (!channel) return;
    channel.onmessage = ({ data }) => {
      try {
        this.#broadcast.message(JSON.parse(data) ?? {});
      } catch {
        // Not JSON, so not a message for this page.
      }
    };
  }

  #show() {
    const { body } = document;
    // Where the room needs an answer or has a problem, the person sees the room's own words.
    const screen = this.#phase === 'stopped' ? '' : $('room').dataset.screen;
    body.classList.toggle('shows-room', this.#phase !== 'off' && (screen === 'ask' || screen === 'error'));
    const isOn = this.#phase !== 'off' && this.#phase !== 'stopped';
    const isLive = this.#phase === 'live' && this.#broadcast.isConnected;
    const isAside = this.#phase === 'joining' && Boolean(this.#why);
    const waits = this.#phase === 'live' ? 'deviceLost' : isAside ? 'deviceAside' : 'deviceWaits';
    $('device-badge').textContent = say(isLive ? 'deviceLive' : isOn ? waits : 'deviceOff');
    $('device-badge').className = `badge ${isLive ? 'air' : isOn && !isAside ? 'waiting' : ''}`;
    const text = { off: 'deviceText', joining: this.#waitsFor(screen), coming: 'deviceComing', live: 'deviceOnStage' };
    $('device-text').textContent = say(this.#why || (text[this.#phase] ?? 'deviceStopped'));
    $('device-text').classList.toggle('problem', Boolean(this.#why));
    $('device-use').hidden = isOn;
    $('device-use').disabled = !navigator.mediaDevices;
    $('device-tools').hidden = !isOn;
    $('device-switch').hidden = this.#cameras.length < 2;
    $('device-torch').hidden = !this.#hasTorch;
    $('device-torch').setAttribute('aria-pressed', this.#isLit);
  }

  /** The reason for which the camera is not on the stage yet. */
  #waitsFor(screen) {
    if (screen === 'ended') return 'deviceEnded';
    if (screen === 'waiting') return 'deviceAwaits';
    return screen === 'live' || screen === 'sound' ? 'deviceReady' : 'deviceJoins';
  }
}

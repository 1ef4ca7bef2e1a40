// A student's own part on the stage: the invitation, the media that the student sends, and the buttons for that.

import { $, addStyle, announce, elementsOf, onFrame, tab } from './dom.js';
import { hasWords, onLanguage, say, translate } from './i18n.js';
import { Broadcast } from './broadcast.js';
import { prepareDevices, sourceChanged } from './devices.js';
import { Invitation } from './invitation.js';
import { Sound } from './sound.js';
import { Sources } from './sources.js';
import { Studio } from './studio.js';

/** The time since its last second on the stage in which a reloaded page goes on by itself. */
const RESUME_MS = 20_000;
/** The offer may arrive before the acceptance, which takes another way: for this time, the offer is repeated. */
const ACCEPTED_WITHIN_MS = 5_000;
const REPEAT_MS = 300;
/** The time for which a message is shown. */
const TOLD_MS = 8_000;

/** Loads the part and makes it. `room` is the student's room; `changed()` is called for another own tile. */
export async function startSpeaker(room, changed) {
  const [elements] = await Promise.all([elementsOf('./speaker.html'), prepareDevices(), addStyle('./speaker.css')]);
  const parts = new Map([...elements.children].map((element) => [element.id, element]));
  $('controls').prepend(parts.get('speaking'));
  $('stage').append(parts.get('speaker-toast'));
  $('room').append(...elements.children);
  translate();
  return new Speaker(room, changed);
}

class Speaker {
  /** The content of the student's own tile. */
  own = $('live-preview');
  /** Whether the invitation is the answer to the student's own wish, as the floor is open. */
  isFloor = false;
  #room;
  #changed;
  /** `away`, `invited`, `coming` after the acceptance, or `live`. */
  #phase = 'away';
  #turn = 0;
  #acceptedAt = 0;
  #told = { text: '', until: 0 };
  #draw = onFrame(() => this.#show());

  constructor(room, changed) {
    this.#room = room;
    this.#changed = changed;
    this.sound = new Sound();
    this.sources = new Sources({
      changed: (kind) => this.#sourceChanged(kind),
      told: (key, values) => this.#tell(say(key, values)),
    });
    this.studio = new Studio(this.sources, this.sound, false);
    this.broadcast = new Broadcast(this.#sender());
    this.invitation = new Invitation(this, {
      answered: (accepted, why) => this.#answered(accepted, why),
      closed: () => this.#stop(),
    });
    this.studio.isLive = false;
    this.#buttons();
    onLanguage(() => {
      this.studio.draw();
      this.studio.drawDevices();
      this.#draw();
    });
  }

  /** The teacher of the lecture; `null` without one. */
  get teacher() {
    return this.#room.lesson.publisher;
  }

  // Messages about the stage.

  /** The message `invited`. */
  invited({ withinMs, isFloor }) {
    const isKnown = this.#phase === 'coming' || this.#phase === 'live';
    if (isKnown) return this.#room.chat.tell({ type: 'stageAnswer', accepted: true });
    if (this.#wasOnStage) return this.#resume('coming');
    this.#phase = 'invited';
    this.studio.isLive = false;
    this.isFloor = isFloor === true;
    this.invitation.open(Number(withinMs) || 0);
  }

  /** This student as a speaker of the message `stage`, or `null` if it is not listed. */
  listed(speaker) {
    if (speaker && this.#phase === 'coming') {
      this.#phase = 'live';
      announce(say('liveOnStage'));
    } else if (speaker && this.#phase === 'away' && this.#wasOnStage) this.#resume('live');
    // A holder that was restarted knows of no speaker any more.
    else if (!speaker && this.#phase === 'live') this.ended('unknown');
    this.#draw();
  }

  /** The message `offStage`, with its reason. */
  ended(reason) {
    const was = this.#phase;
    this.#stop();
    if (reason === 'declined' || was === 'away') return;
    const key = was === 'invited' && reason === 'ended' ? 'offStagewithdrawn' : `offStage${reason}`;
    this.#tell(say(hasWords(key) ? key : 'offStageunknown'));
  }

  /** The lecture has no media any more. */
  end() {
    if (this.#phase !== 'away') this.#stop();
  }

  // Signalling.

  /** An answer, a candidate or a hangup for the media of this student. */
  signalled(message) {
    this.broadcast.signalled(message);
  }

  /** An error of signalling. Returns whether it concerns the media of this student. */
  failed(error) {
    const isOwn = error.userId === this.#room.userId;
    const isConnecting = !error.userId && this.broadcast.since > 0;
    if (isConnecting) this.broadcast.failed();
    if (isOwn) {
      const isEarly = error.code === 'notOnStage' && Date.now() - this.#acceptedAt < ACCEPTED_WITHIN_MS;
      this.broadcast.error(isEarly ? { ...error, retryAfterMs: REPEAT_MS } : error);
    }
    return isOwn || isConnecting;
  }

  offerNow() {
    this.broadcast.offerNow();
  }

  mend() {
    this.broadcast.mend();
  }

  /** To be called once a second. */
  async second() {
    if (this.#isSending) {
      await this.broadcast.second();
      const { isMuted } = this.sound;
      if (this.#isSending) tab.set(this.#key, { at: Date.now(), isMuted });
    }
    this.#draw();
  }

  get #isSending() {
    return this.#phase === 'coming' || this.#phase === 'live';
  }

  /** The key under which this tab remembers that the student is on the stage. */
  get #key() {
    return `stage ${this.#room.roomId} ${this.#room.userId}`;
  }

  /** Whether this tab was on the stage a moment ago, before the page was loaded again. */
  get #wasOnStage() {
    return Date.now() - tab.get(this.#key)?.at < RESUME_MS && Boolean(navigator.mediaDevices);
  }

  // The way to the stage and back.

  /** `why` is what keeps a student from coming; absent if nothing does. */
  #answered(accepted, why) {
    const isSent = this.#room.chat.tell({ type: 'stageAnswer', accepted, why });
    // The click is what the browser wants before it plays sound.
    this.#room.layout.applyVolume();
    if (!accepted || !isSent) {
      this.#stop();
      if (!isSent) this.#tell(say('notSent'));
      return;
    }
    this.#start('coming');
  }

  /** After a reload: sends what was sent before, without a question. */
  async #resume(phase) {
    this.#phase = phase;
    this.sound.isMuted = tab.get(this.#key)?.isMuted === true;
    if (phase === 'coming') this.#room.chat.tell({ type: 'stageAnswer', accepted: true });
    await this.sources.openBoth();
    if (this.#phase !== 'away') this.#start(this.#phase);
  }

  #start(phase) {
    this.#phase = phase;
    this.#acceptedAt = Date.now();
    this.#turn += 1;
    tab.set(this.#key, { at: Date.now(), isMuted: this.sound.isMuted });
    this.#room.signalling.comesBack = true;
    // The tile that had it is gone.
    if (!this.own.isConnected) $('own-home').append(this.own);
    this.studio.isLive = true;
    this.broadcast.start({ userId: this.#room.userId, epoch: this.#turn });
    this.#draw();
  }

  #stop() {
    this.#phase = 'away';
    this.studio.isLive = false;
    this.invitation.close();
    if ($('speaker-devices').open) $('speaker-devices').close();
    this.broadcast.stop();
    this.sources.closeAll();
    this.sound.use(null, null);
    this.sound.isMuted = false;
    tab.set(this.#key, null);
    if (this.#room.signalling) this.#room.signalling.comesBack = false;
    this.#draw();
  }

  // The tracks to send.

  /** What `Broadcast` needs of a room. */
  #sender() {
    const room = this.#room;
    const { sources } = this;
    return {
      get signalling() {
        return room.signalling;
      },
      get iceServers() {
        return room.iceServers;
      },
      get content() {
        return sources.content;
      },
      chat: { attach: (channel) => this.#attach(channel) },
      tracks: () => this.#tracks(),
      changed: () => this.#draw(),
      refused: () => this.ended('unknown'),
    };
  }

  /** The tracks to send. Nothing is sent for a microphone that is off, so that the class sees that. */
  #tracks() {
    const { screen, camera, tabSound } = this.sources;
    const audio = this.sound.isMuted && !tabSound ? null : this.sound.track;
    return { audio, screen, camera };
  }

  /** The data channel of the sending connection: which encodings are needed. */
  #attach(channel) {
    if (!channel) return;
    channel.onmessage = ({ data }) => {
      try {
        this.broadcast.message(JSON.parse(data) ?? {});
      } catch {
        // Not JSON, so not a message for this page.
      }
    };
  }

  #sourceChanged(kind) {
    const done = sourceChanged(kind, this);
    this.invitation.draw();
    this.#draw();
    return done;
  }

  #buttons() {
    const { sources, sound } = this;
    const actions = {
      microphone: () => {
        if (!sources.microphone) return sources.open('microphone');
        sound.isMuted = !sound.isMuted;
        announce(say(sound.isMuted ? 'microphoneOff' : 'microphoneOn'));
        this.studio.draw();
        this.broadcast.replace('audio');
        this.#draw();
      },
      camera: () => (sources.camera ? sources.close('camera') : sources.open('camera')),
      screen: () => (sources.screen ? sources.unshare() : sources.share()),
    };
    const buttons = {
      microphone: actions.microphone,
      'setup-microphone': actions.microphone,
      'camera-button': actions.camera,
      'setup-camera': actions.camera,
      'setup-screen': actions.screen,
      share: () => sources.share(),
      unshare: () => sources.unshare(),
      'speaker-settings': () => $('speaker-devices').showModal(),
      'step-down': () => this.#stepDown(),
    };
    for (const [id, action] of Object.entries(buttons)) {
      $(id).addEventListener('click', () => navigator.mediaDevices && action());
    }
  }

  #stepDown() {
    this.#room.chat.tell({ type: 'stepDown' });
    // The answer may take a while on a bad path; nothing is sent from now on.
    this.ended('steppedDown');
  }

  // The view.

  #tell(text) {
    this.#told = { text, until: performance.now() + TOLD_MS };
    this.#draw();
  }

  #show() {
    const isSending = this.#isSending;
    $('speaking').hidden = !isSending;
    this.#room.controls.isOnStage = isSending;
    const isLive = this.#phase === 'live' && this.broadcast.isConnected;
    const badge = isLive ? say('liveOnStage') : say('connectingBadge');
    write('speaking-badge', badge);
    $('speaking-badge').className = `badge ${isLive ? 'air' : 'waiting'}`;
    write('speaking-state', isSending ? this.#state() : '');
    const toast = performance.now() < this.#told.until ? this.#told.text : '';
    write('speaker-toast', toast);
    $('speaker-toast').hidden = !toast;
    this.#changed();
  }

  /** One sentence: what is wrong, or what the class gets. */
  #state() {
    const { broadcast, studio, sources } = this;
    const { trouble } = broadcast.uplink;
    if (this.#phase === 'coming') return say('comingToStage');
    if (!broadcast.isConnected) return say('stageBroke');
    if (studio.isUnheard) return say('speaksMuted');
    if (trouble) return say(trouble.key, trouble.values);
    const hasPicture = Boolean(sources.camera || sources.screen);
    const hears = Boolean(this.#tracks().audio);
    if (hears && studio.isSilent) return say('silentMicrophone');
    return say(hears ? (hasPicture ? 'classSeesYou' : 'classHearsYou') : hasPicture ? 'classOnlySees' : 'nothingSent');
  }
}

function write(id, text) {
  if ($(id).textContent !== text) $(id).textContent = text;
}

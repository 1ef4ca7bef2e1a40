// A teacher's room: prepares a lecture, goes on air, and keeps teaching through reloads and lost connections.

import { $, addStyle, clean, el, elementsOf, list, onFrame, store, tab } from './dom.js';
import { addWords, duration, hasWords, onLanguage, say, translate } from './i18n.js';
import { drawnId, epoch as newEpoch, isId, secretsFromLink, session, teachingKey } from './identity.js';
import { Broadcast } from './broadcast.js';
import { Chat } from './chat.js';
import { Danmaku } from './danmaku.js';
import { Desk } from './desk.js';
import { addSetupView, prepareDevices, sourceChanged } from './devices.js';
import { Invite, drawnCode } from './invite.js';
import { Order } from './order.js';
import { People } from './people.js';
import { Setup } from './setup.js';
import { Signalling } from './signalling.js';
import { Sound } from './sound.js';
import { Sources } from './sources.js';
import { Studio } from './studio.js';
import { TeacherStage, prepareStage } from './teach_stage.js';
import { notice } from './notices.js';

/** The words of the teacher's page. */
const WORDS = { en: './teach_english.js', zh: './teach_chinese.js' };
/** The time since its last second on air in which a reloaded page goes on air by itself. */
const RESUME_MS = 10 * 60_000;
/** The time for which a message is shown. */
const TOLD_MS = 8_000;
/** A `pong` that took longer came over a path that was dead. */
const LATE_MS = 800;

/** Opens the room that the address names, to teach in it. */
export async function startTeaching(room) {
  const elements = prepareDevices().then(addElements);
  await Promise.all([addWords(WORDS), addStyle('./teach.css'), prepareStage(), elements]);
  $('room').hidden = false;
  new Teacher(room);
}

/** Puts the teacher's elements in the places of the student's. */
async function addElements() {
  const parts = await elementsOf('./teach.html');
  const childrenOf = (id) => parts.querySelector(`#${id}`).childNodes;
  $('stage').replaceChildren(...childrenOf('teach-stage'));
  $('controls').replaceChildren(...childrenOf('teach-controls'));
  document.body.append(...parts.children);
  for (const id of ['teach-stage', 'teach-controls']) $(id).remove();
  addSetupView($('setup'));
  $('setup-preview').append($('preview'));
  document.querySelector('#room-header .facts').append(el('span', 'soft uplink'));
  $('room').classList.add('teaching');
  $('change-me').hidden = true;
}

/** The identity of the teacher: from the address, from an earlier lecture, or a new id of this browser. */
function teacherFromLink() {
  const query = new URLSearchParams(location.search);
  const kept = store.get('teacher', {});
  const own = isId(kept.userId ?? '') ? kept.userId : drawnId('t');
  store.set('teacher', { ...kept, userId: own });
  const nickname = query.get('nickname') ?? kept.nickname ?? '';
  return { userId: query.get('userId') || own, nickname: clean(nickname, 40) };
}

class Teacher {
  iceServers = [];
  signalling = null;
  #room;
  #me;
  #credentials;
  /** `setup`, `starting`, `live` or `finished`. */
  #phase = 'setup';
  #signal = { isOpen: false, cause: null, error: null };
  #name = '';
  #told = { text: '', until: 0 };
  /** Whether a screen was shared before the page was reloaded. */
  #hadScreen = false;
  #since = 0;
  #epoch;
  #wakeLock = null;
  /** What only a lecture with breakout rooms needs: a promise, so that messages keep their order; and the part. */
  #breakouts = null;
  #split = null;
  /** Whether the teacher is in a breakout room, where its microphone is heard instead. */
  #isVisiting = false;
  /** The track that the class gets meanwhile, and that of which it is a copy. */
  #silence = null;
  #draw = onFrame(() => this.#show());

  constructor(room) {
    this.#room = room;
    this.#credentials = secretsFromLink(room);
    this.#me = teacherFromLink();
    // Students keep their connections to the server while this page is reloaded.
    this.#epoch = tab.get(`epoch ${room}`) ?? newEpoch;
    tab.set(`epoch ${room}`, this.#epoch);
    const settings = tab.get(`settings ${room}`);
    if (settings) this.#credentials.room = settings;
    translate();
    this.sound = new Sound();
    this.sources = new Sources({
      changed: (kind) => this.#sourceChanged(kind),
      told: (key, values) => this.tell(say(key, values)),
    });
    this.studio = new Studio(this.sources, this.sound);
    this.danmaku = new Danmaku(() => ({ left: 0, top: 0, width: 0, height: 0 }));
    this.order = new Order({
      order: (order) => this.signalling?.send({ type: 'order', ...order }),
      moderate: (order) => this.chat.moderate(order),
      user: (userId) => this.people.user(userId),
      changed: () => this.people.draw(),
      isTeacher: true,
    });
    this.people = new People(() => this.#membersChanged(), (user, position) => this.order.actionsFor(user, position));
    this.chat = new Chat({
      line: () => {},
      cleared: () => {},
      hands: (hands) => this.people.hands(hands),
      reaction: (reaction) => this.danmaku.rise(reaction),
      tier: () => {},
      allows: (allowed) => {
        this.order.allows(allowed);
        this.desk.allows(allowed);
      },
      stopped: () => {},
      state: () => {},
      other: (message) => {
        this.broadcast.message(message);
        this.stage.told(message);
      },
      refused: (error) => this.order.refused(error),
    });
    this.chat.isFree = true;
    this.broadcast = new Broadcast(this);
    this.invite = new Invite(room, (code) => this.signalling?.send({ type: 'order', order: 'code', code }));
    this.invite.code = settings?.code ?? null;
    this.stage = new TeacherStage(this);
    this.setup = new Setup(room, this.#me, (answers) => this.#start(answers));
    this.desk = new Desk(this, { end: (isOver) => this.#end(isOver), again: () => this.#prepare() });
    setInterval(() => this.#second(), 1_000);
    addEventListener('beforeunload', (event) => this.#phase === 'live' && event.preventDefault());
    document.addEventListener('visibilitychange', () => this.#stayAwake());
    onLanguage(() => {
      this.studio.draw();
      this.studio.drawDevices();
      this.#draw();
    });
    this.#resume();
  }

  // The interface for other files.

  get phase() {
    return this.#phase;
  }

  get content() {
    return this.sources.content;
  }

  get roomId() {
    return this.#room;
  }

  get userId() {
    return this.#me.userId;
  }

  /** The tracks to send to the class. */
  tracks() {
    const { sound: { track }, sources: { screen, camera } } = this;
    return { audio: this.#isVisiting && track ? this.#silenceOf(track) : track, screen, camera };
  }

  set isVisiting(isVisiting) {
    this.#isVisiting = isVisiting;
    this.stage.isAway = isVisiting;
    const before = this.#silence;
    this.#silence = null;
    this.broadcast.replace('audio')?.then(() => before?.track.stop());
  }

  /** The same track without its sound: the class must not take an end of the sound for a trouble of the line. */
  #silenceOf(track) {
    if (this.#silence?.of !== track) this.#silence = { of: track, track: track.clone() };
    this.#silence.track.enabled = false;
    return this.#silence.track;
  }

  /** Opens what the teacher does with breakout rooms. */
  async openBreakouts() {
    await this.#needBreakouts();
    this.#split.open();
  }

  changed = () => this.#draw();

  /** The server has refused the media of this lecture for good. */
  refused(error) {
    this.signalling?.leave();
    this.#refuse(error);
  }

  // Before the lecture.

  async #prepare() {
    this.#to('setup');
    if (!navigator.mediaDevices) return this.setup.complainInsecure();
    await this.sources.openBoth();
  }

  /** Goes on air by itself if this tab was on air just now. */
  async #resume() {
    const air = tab.get(`air ${this.#room}`);
    const isRecent = Date.now() - air?.at < RESUME_MS && navigator.mediaDevices;
    if (!isRecent) return this.#prepare();
    this.#hadScreen = air.hadScreen === true;
    this.#since = Number(air.since) || 0;
    this.sound.isMuted = air.isMuted === true;
    this.#to('setup');
    // The microphone first: a lecture without sound would be a surprise.
    await this.sources.openBoth();
    this.#start({ nickname: this.#me.nickname });
  }

  /** Goes on air. `withCode` says whether students need a code; without it, that stays as it is. */
  #start({ nickname, key, withCode }) {
    this.#me.nickname = nickname;
    store.set('teacher', { ...store.get('teacher', {}), nickname });
    if (!isId(this.#me.userId)) return this.setup.complain({ code: 'badRequest' });
    this.#credentials.key = key ?? teachingKey();
    const { code } = this.#credentials.room ?? {};
    if (withCode && !code) this.#keepSettings({ code: drawnCode() });
    if (withCode === false && code) this.#keepSettings({ code: null });
    this.#credentials.session = session(this.#room, this.#me.userId);
    this.setup.complain(null);
    this.#to('starting');
    this.signalling?.leave();
    const query = { roomId: this.#room, ...this.#me, epoch: this.#epoch, pub: 'pub', media: 'server' };
    this.signalling = new Signalling(query, this.#credentials, {
      message: (message) => this.#message(message),
      lost: (error, cause) => {
        this.#signal = { isOpen: false, error, cause };
        this.#draw();
      },
      refused: (error) => this.#refuse(error),
    });
    this.signalling.open();
  }

  /** Remembers the rules of the room for a server that was restarted. */
  #keepSettings(more) {
    const settings = { lobby: false, locked: false, ...this.#credentials.room, ...more };
    if (!settings.code) delete settings.code;
    this.#credentials.room = settings;
    tab.set(`settings ${this.#room}`, settings);
    this.invite.code = settings.code ?? null;
  }

  // Messages of the server.

  #message(message) {
    const isMine = message.userId === this.#me.userId;
    if (message.rooms) this.#needBreakouts();
    this.#breakouts?.then(() => this.#split.told(message));
    switch (message.type) {
      case 'joined':
        this.#joined(message);
        break;
      case 'join':
        this.people.join(message.users);
        break;
      case 'leave':
        this.people.leave(message.users);
        break;
      case 'lobby':
        this.order.waiting(message);
        this.stage.waiting(message.users);
        break;
      case 'order':
        this.#ordered(message);
        break;
      case 'pong':
        if (!this.broadcast.offerNow() && this.signalling.waited > LATE_MS) this.broadcast.mend();
        this.stage.ponged(this.signalling.waited > LATE_MS);
        break;
      case 'answer':
      case 'candidate':
      case 'hangup':
        // Those who are in the same breakout room name an entry.
        if (message.entry) break;
        if (isMine) this.broadcast.signalled(message);
        else this.stage.signalled(message);
        break;
      case 'error':
        if (isMine) this.broadcast.error(message);
        else if (this.stage.failed(message) && (message.userId || this.broadcast.isConnected)) break;
        // An order has failed, or, while the media connects, an offer.
        else if (this.broadcast.isConnected) break;
        else if (message.code === 'unknownTarget' || message.code === 'targetBusy') this.broadcast.failed();
        break;
      default:
    }
    this.#draw();
  }

  #needBreakouts() {
    this.#breakouts ??= import('./teach_breakouts.js').then(async ({ startBreakouts }) => {
      this.#split = await startBreakouts(this);
    });
    return this.#breakouts;
  }

  #joined(message) {
    this.#signal = { isOpen: true, error: null, cause: null };
    this.#name = clean(message.roomName, 80);
    this.iceServers = list(message.iceServers, 10);
    // A token may give the user another id than the page asked for.
    this.#me.userId = clean(message.userId, 64);
    this.people.iAm(this.#me.userId);
    this.chat.iAm(this.#me.userId);
    this.people.set(message.users);
    const isNew = this.#phase !== 'live';
    if (isNew) {
      this.#since ||= Date.now();
      this.setup.accepted(this.#credentials.key);
      this.#to('live');
      this.broadcast.start({ userId: this.#me.userId, epoch: this.#epoch });
      if (this.#hadScreen && !this.sources.screen) this.tell(say('shareAgainText'));
    } else {
      this.broadcast.mend();
      this.stage.ponged(true);
    }
  }

  #ordered(message) {
    this.order.carriedOut(message);
    if (message.order === 'lock') this.#keepSettings({ locked: message.locked === true });
    if (message.order === 'lobby') this.#keepSettings({ lobby: message.lobby === true });
    if (message.order === 'code') this.#keepSettings({ code: clean(message.code, 64) });
  }

  #refuse(error) {
    const wasLive = this.#phase === 'live';
    this.#signal.isOpen = false;
    this.broadcast.stop();
    this.stage.end();
    this.#split?.end();
    tab.set(`air ${this.#room}`, null);
    if (error.code === 'teachingKeyRequired') this.#credentials.key = undefined;
    this.#to('setup');
    this.setup.complain(error, wasLive);
    this.#draw();
  }

  // The lecture.

  #sourceChanged(kind) {
    if (kind === 'screen' && this.sources.screen) this.#hadScreen = false;
    const done = sourceChanged(kind, this);
    const role = kind === 'microphone' ? 'audio' : kind;
    // Those in a breakout room get the new track, too.
    const there = role === 'devices' ? null : this.#split?.replace(role);
    if (kind === 'screen') this.#split?.replace('audio');
    this.#draw();
    return Promise.all([done, there]);
  }

  #membersChanged() {
    this.order.isOn = this.people.moderates;
    this.desk?.hands();
    this.#draw();
  }

  async #second() {
    if (this.#phase === 'live') {
      await Promise.all([this.broadcast.second(), this.stage.second()]);
      const hadScreen = Boolean(this.sources.screen) || this.#hadScreen;
      const { isMuted } = this.sound;
      tab.set(`air ${this.#room}`, { at: Date.now(), since: this.#since, hadScreen, isMuted });
    }
    this.#draw();
  }

  /** Ends the lecture for all, or leaves the room. */
  #end(isOver) {
    this.signalling?.leave(isOver);
    this.broadcast.stop();
    this.stage.end();
    this.#split?.end();
    this.sources.closeAll();
    this.people.set([]);
    tab.set(`air ${this.#room}`, null);
    this.desk.finished(isOver, duration((Date.now() - this.#since) / 1_000));
    this.#since = 0;
    this.#to('finished');
  }

  #to(phase) {
    this.#phase = phase;
    $('room').dataset.screen = phase === 'live' ? 'live' : 'setup';
    $('room').dataset.phase = phase;
    $('setup').hidden = phase !== 'setup' && phase !== 'starting';
    $('on-air').hidden = phase !== 'live';
    $('finished').hidden = phase !== 'finished';
    this.setup.phase = phase;
    this.studio.isLive = phase === 'live';
    this.studio.drawDevices();
    this.#stayAwake();
    this.#draw();
  }

  /** A phone that is the camera of a lecture must not go to sleep. */
  async #stayAwake() {
    if (this.#phase !== 'live') {
      this.#wakeLock?.release().catch(() => {});
      this.#wakeLock = null;
    } else if (!document.hidden) {
      this.#wakeLock = await navigator.wakeLock?.request('screen').catch(() => null);
    }
  }

  /** Shows a message for some seconds. */
  tell(text) {
    this.#told = { text, until: performance.now() + TOLD_MS };
    this.#draw();
  }

  // The view.

  #show() {
    const isLive = this.#phase === 'live';
    const { broadcast, studio } = this;
    const name = this.#name || say('room', { id: this.#room });
    $('room-title').textContent = name;
    $('room-teacher').textContent = this.#name ? say('room', { id: this.#room }) : '';
    document.title = `${isLive ? '● ' : ''}${name} – classroom`;
    this.desk.show({ isLive, since: this.#since, hadScreen: this.#hadScreen });
    const banner = isLive
      ? notice({
        isOffline: navigator.onLine === false,
        signal: this.#signal,
        isConnected: broadcast.isConnected,
        isFlowing: broadcast.isFlowing,
        connectingSince: broadcast.since,
        trouble: broadcast.uplink.trouble,
        isUnheard: studio.isUnheard,
        isSilent: studio.isSilent,
      })
      : null;
    this.#split?.look();
    line('banner', banner ? say(banner.key, banner.values) : this.#refusedForNow());
    line('toast', performance.now() < this.#told.until ? this.#told.text : '');
  }

  /** The reason for which the lecture can't start yet, while the page tries again by itself. */
  #refusedForNow() {
    if (this.#phase !== 'starting' || this.#signal.isOpen) return '';
    const code = this.#signal.error?.code;
    if (code) return say(hasWords(`teach${code}`) ? `teach${code}` : 'teachunknown', { code, id: this.#room });
    return this.#signal.cause ? say('serverLost') : '';
  }
}

function line(id, text) {
  if ($(id).textContent !== text) $(id).textContent = text;
  $(id).hidden = !text;
}

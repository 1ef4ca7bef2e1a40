// A student in a room: what there is to see, and what comes next.

import { $, clean, el, list, nameOf, onFrame, setIcon } from './dom.js';
import { hasWords, onLanguage, say } from './i18n.js';
import { epoch, isId, remember, session, suggestion, whoFromLink } from './identity.js';
import { Chat } from './chat.js';
import { Controls } from './controls.js';
import { Course } from './course.js';
import { Danmaku } from './danmaku.js';
import { Layout } from './layout.js';
import { Peer, hasWebrtc } from './peer.js';
import { People } from './people.js';
import { Signalling } from './signalling.js';
import { Stats } from './stats.js';

/** Silence of the server that is worth a word. */
const SILENT_MS = 3_000;
/** Connecting for so long is worth a word about firewalls. */
const UDP_HINT_MS = 15_000;
/** Media counts as interrupted when nothing came for this time. */
const STALLED_MS = 2_500;
/** How soon a full room is tried again. */
const FULL_RETRY_MS = 20_000;
const MOST_MESSAGE_CHARS = 400;

/** Opens the room that the address names. */
export function startRoom(room) {
  $('room').hidden = false;
  return new Room(room);
}

class Room {
  #room;
  #name = '';
  #me;
  #asking = null;
  #signalling = null;
  #signal = { isOpen: false, error: null, since: Date.now() };
  #wasIn = false;
  #refused = null;
  #rejected = null;
  #iceServers = [];
  #peer = null;
  #spare = null;
  #unsent = false;
  #hasPicture = false;
  #tracks = null;
  #isFlowing = false;
  #came = { bytes: 0, at: 0 };
  #retry = 0;
  #shown = '';
  #draw = onFrame(() => this.#show());

  constructor(room) {
    this.#room = room;
    this.#me = whoFromLink();
    this.danmaku = new Danmaku();
    this.stats = new Stats();
    this.course = new Course(() => this.#connect());
    // Before anything that takes time: the link was clicked, and a class waits.
    if (!hasWebrtc()) this.#refused = { code: 'noWebrtc' };
    else if (this.#me.known) this.#enter();
    else this.#asking = 'who';
    this.people = new People(() => this.#draw());
    this.chat = new Chat({
      line: (line) => this.danmaku.fly(line),
      hands: (hands) => {
        this.people.hands(hands);
        this.controls.hand();
      },
      reaction: (reaction) => this.danmaku.rise(reaction),
      state: () => this.controls?.hand(),
    });
    this.layout = new Layout({
      picture: () => this.#pictureCame(),
      changed: () => this.controls?.refresh(),
      isConnected: () => Boolean(this.#peer?.isConnected),
    });
    const { layout, chat, people, danmaku, stats } = this;
    this.controls = new Controls({ layout, chat, people, danmaku, stats, leave: () => this.#leave() });
    this.#iAm();
    $('ask').addEventListener('submit', (event) => this.#answerAsk(event));
    $('change-me').addEventListener('click', () => this.#ask('change'));
    document.querySelector('#room .brand').addEventListener('click', () => this.#signalling?.leave());
    setInterval(() => this.#second(), 1_000);
    onLanguage(() => {
      this.#shown = '';
      this.#show();
    });
  }

  /** Joins as `#me`. */
  #enter() {
    const { userId, nickname } = this.#me;
    if (!isId(userId)) {
      this.#ask('badUserId');
      return;
    }
    this.#asking = null;
    this.#refused = null;
    this.#rejected = null;
    this.#wasIn = false;
    this.#signal = { isOpen: false, error: null, since: Date.now() };
    const secret = session(this.#room, userId);
    this.#signalling = new Signalling({ roomId: this.#room, userId, nickname, session: secret, epoch }, {
      message: (message) => this.#message(message),
      lost: (error) => this.#lost(error),
      refused: (error) => this.#refuse(error),
    });
    this.#signalling.open();
    this.#spare ??= this.#newPeer();
  }

  #iAm() {
    this.people.iAm(this.#me.userId);
    this.chat.iAm(this.#me.userId);
  }

  #leave() {
    this.#signalling?.leave();
    this.#endMedia();
    location.assign('/');
  }

  // What the server says.

  #message(message) {
    switch (message.type) {
      case 'joined':
        this.#joined(message);
        break;
      case 'join':
        this.people.join(message.users);
        this.#look();
        break;
      case 'leave':
        this.people.leave(message.users);
        if (list(message.users, 10_000).includes(this.course.publisher?.userId)) this.#teacherLeft(message.reason);
        break;
      case 'answer':
        if (message.userId === this.course.publisher?.userId) this.#answer(String(message.sdp));
        break;
      case 'candidate':
        if (message.userId === this.course.publisher?.userId) this.#peer?.candidate(message.candidate);
        break;
      case 'error':
        this.#error(message);
        break;
      default:
    }
    this.#draw();
  }

  #joined(message) {
    this.#signal = { isOpen: true, error: null, since: Date.now() };
    this.#wasIn = true;
    this.#refused = null;
    this.#name = clean(message.roomName, 80);
    this.#iceServers = list(message.iceServers, 10);
    this.people.set(message.users);
    if (!this.people.teacher && this.course.publisher) this.#teacherLeft('lost');
    if (this.#unsent && this.course.publisher) this.course.now();
    this.#look();
  }

  #look() {
    const { teacher } = this.people;
    if (!teacher) return;
    if (this.course.publisherIs(teacher)) this.#rejected = null;
    if (!this.chat.isOpen) this.chat.attach(this.#peer?.channel ?? null, true);
  }

  #teacherLeft(reason) {
    this.course.publisherLeft(reason === 'left' ? 'left' : 'lost');
    if (reason !== 'left') return;
    this.#endMedia();
    this.#rejected = null;
  }

  #error(error) {
    const after = Number(error.retryAfterMs);
    if (error.userId) {
      if (after >= 0) return this.course.failed(after);
      this.#rejected = error;
      this.course.rest();
      if (error.code === 'roomFull') this.#later(() => this.course.now());
    } else if (error.code === 'unknownTarget' || error.code === 'targetBusy' || error.code === 'notAllowed') {
      this.course.failed(after >= 0 ? after : 0);
    }
  }

  #lost(error) {
    this.#signal = { isOpen: false, error: error ?? this.#signal.error, since: this.#signal.isOpen ? Date.now() : this.#signal.since };
    this.#draw();
  }

  #refuse(error) {
    this.#refused = error;
    this.#signal.isOpen = false;
    this.course.publisher = null;
    this.course.rest();
    this.#endMedia();
    if (error.code === 'roomFull') this.#later(() => this.#signalling.open());
    this.#draw();
  }

  #later(work) {
    clearTimeout(this.#retry);
    this.#retry = setTimeout(work, FULL_RETRY_MS);
  }

  // Media.

  #newPeer() {
    const peer = new Peer({
      candidate: (candidate) => {
        const targetUid = this.course.publisher?.userId;
        if (peer === this.#peer && targetUid) this.#signalling.send({ type: 'candidate', targetUid, candidate });
      },
      tracks: (tracks) => {
        if (peer !== this.#peer) return;
        this.#tracks = tracks;
        this.layout.show(tracks);
        this.#draw();
      },
      connected: () => {
        if (peer !== this.#peer) return;
        this.course.connected();
        this.#came = { bytes: 0, at: Date.now() };
        this.#draw();
      },
      disturbed: () => this.#draw(),
      gone: () => {
        if (peer !== this.#peer) return;
        this.#isFlowing = false;
        this.course.failed();
        this.#draw();
      },
    });
    return peer;
  }

  async #connect() {
    const { publisher } = this.course;
    this.#dropPeer();
    const peer = this.#spare ?? this.#newPeer();
    this.#spare = null;
    this.#peer = peer;
    this.chat.attach(peer.channel);
    try {
      const sdp = await peer.offer(this.#iceServers);
      if (peer !== this.#peer || publisher !== this.course.publisher) return;
      this.#unsent = !this.#signalling.send({ type: 'offer', targetUid: publisher.userId, sdp });
      if (this.#unsent) this.course.failed();
      else peer.offered();
    } catch {
      this.course.failed();
    }
  }

  async #answer(sdp) {
    const peer = this.#peer;
    if (!peer || peer.isAnswered) return;
    peer.isAnswered = true;
    try {
      await peer.answer(sdp);
    } catch {
      if (peer === this.#peer) this.course.failed();
    }
  }

  #dropPeer() {
    if (!this.#peer) return;
    this.layout.freeze();
    this.#peer.close();
    this.#peer = null;
    this.#isFlowing = false;
  }

  #endMedia() {
    this.#dropPeer();
    this.course.rest();
    this.layout.clear();
    this.chat.attach(null);
    this.people.hands([]);
    this.#hasPicture = false;
    this.#tracks = null;
  }

  #pictureCame() {
    this.#hasPicture = true;
    this.#isFlowing = true;
    this.#draw();
  }

  /** Once a second: whether media still comes. */
  async #second() {
    const peer = this.#peer;
    if (peer?.isConnected) {
      const bytes = await this.stats.read(peer).catch(() => 0);
      const now = Date.now();
      if (bytes > this.#came.bytes) this.#came = { bytes, at: now };
      this.#isFlowing = now - this.#came.at < STALLED_MS && bytes > 0;
    }
    this.#draw();
  }

  // Who is it?

  #ask(why) {
    this.#asking = why;
    this.#draw();
  }

  #answerAsk(event) {
    event.preventDefault();
    const userId = $('ask-id').value.trim();
    if (!isId(userId)) {
      $('ask-error').textContent = say('badUserId');
      $('ask-id').focus();
      return;
    }
    this.#signalling?.leave();
    this.#endMedia();
    this.course.publisher = null;
    this.course.wentBy = null;
    this.#me = remember(userId, $('ask-name').value);
    this.#iAm();
    this.#enter();
    this.#draw();
  }

  // What there is to see.

  /** `{ screen, title, text, more, detail, actions, ask, banner }`. */
  #view() {
    const { course } = this;
    const error = this.#refused ?? (this.#signal.error?.code === 'userIdTaken' ? this.#signal.error : null);
    if (this.#asking) return this.#askView();
    if (error) return this.#errorView(error);
    if (course.wentBy === 'left' && !course.publisher) {
      return { screen: 'ended', title: say('endedTitle'), text: say('endedText'), actions: ['rooms'] };
    }
    if (this.#rejected) return this.#errorView(this.#rejected);
    const isLate = course.since > 0 && Date.now() - course.since > UDP_HINT_MS;
    if (this.#hasPicture) return { screen: 'live', banner: this.#banner(isLate) };
    if (!this.#wasIn) {
      const code = this.#signal.error?.code;
      const silent = Date.now() - this.#signal.since > SILENT_MS;
      if (hasWords(code) && code !== 'unknown') return { ...this.#errorView(this.#signal.error), screen: 'connecting' };
      return { screen: 'connecting', title: say('connectingTitle'), text: say(silent ? 'serverSilent' : 'connectingText') };
    }
    if (!course.publisher) return this.#waitingView();
    if (this.#tracks && this.#peer?.isConnected && !this.#tracks.screen && !this.#tracks.camera) {
      const key = this.#tracks.audio ? 'soundOnly' : 'nothing';
      return { screen: 'sound', title: say(`${key}Title`), text: say(`${key}Text`) };
    }
    return { screen: 'connecting', title: say('pictureTitle'), text: say(isLate ? 'udpText' : 'pictureText') };
  }

  #waitingView() {
    const others = this.people.students - 1;
    return {
      screen: 'waiting',
      title: say('waitingTitle'),
      text: say('waitingText'),
      more: others > 1 ? say('waitingMany', { n: others }) : say(others === 1 ? 'waitingOne' : 'waitingFirst'),
      banner: this.#signal.isOpen ? '' : say('serverSilent'),
    };
  }

  #askView() {
    const why = this.#asking;
    const actions = why === 'change' ? ['back'] : [];
    return { screen: 'ask', title: say('whoTitle'), text: say('whoText'), ask: why === 'badUserId' ? say('badUserId') : ' ', actions };
  }

  #errorView(error) {
    const code = hasWords(`${error.code}Title`) ? error.code : 'unknown';
    const detail = clean(error.message, MOST_MESSAGE_CHARS);
    const view = { screen: 'error', title: say(`${code}Title`), text: say(code, { user: this.#me.userId }), actions: ['retry', 'rooms'] };
    if (detail) view.detail = say(error.userId ? 'teacherSays' : 'serverSays', { message: detail });
    if (code === 'userIdTaken') {
      view.ask = ' ';
      view.actions = ['rooms'];
      if (!this.#refused) view.more = say('userIdHeld');
    } else if (code === 'replaced') view.actions = ['takeBack', 'rooms'];
    else if (code === 'badRequest') view.actions = ['rooms'];
    else if (code === 'noCommonCodec') {
      const codec = /sent as (H\.264|VP8|VP9|AV1)/.exec(detail)?.[1] ?? 'H.264';
      const remedy = codec === 'H.264' ? 'vp8' : 'h264';
      const isFirefox = navigator.userAgent.includes('Firefox/') && codec === 'H.264';
      view.text = say('noCommonCodec', { codec });
      view.more = say(isFirefox ? 'noCommonCodecFirefox' : 'noCommonCodecOther', { remedy });
    }
    return view;
  }

  #banner(isLate) {
    const { course } = this;
    const code = this.#signal.error?.code;
    if (this.#peer?.isConnected && this.#isFlowing) {
      if (this.#signal.isOpen) return '';
      return hasWords(code) ? say(code) : say('bannerSignal');
    }
    if (isLate && course.publisher && this.#signal.isOpen) return say('bannerUdp');
    if (!course.publisher || !this.#signal.isOpen || this.#peer?.isConnected) return say('bannerTeacher');
    return say('bannerMedia');
  }

  #show() {
    const view = this.#view();
    this.#header(view);
    const now = JSON.stringify(view);
    if (now === this.#shown) return;
    const before = this.#shown && JSON.parse(this.#shown);
    this.#shown = now;
    $('room').dataset.screen = view.screen;
    $('card').hidden = view.screen === 'live';
    setIcon($('card-art'), view.screen === 'error' ? 'i-warn' : view.screen === 'sound' ? 'i-sound' : 'i-board');
    for (const part of ['title', 'text', 'more', 'detail']) $(`card-${part}`).textContent = view[part] ?? '';
    $('card-actions').replaceChildren(...(view.actions ?? []).map((action) => this.#button(action)));
    $('banner').textContent = view.banner ?? '';
    $('banner').hidden = !view.banner;
    this.#showAsk(view, before);
  }

  #showAsk(view, before) {
    $('ask').hidden = !view.ask;
    if (!view.ask || before?.ask) return;
    const isTaken = view.screen === 'error';
    $('ask-id').value = isTaken ? suggestion() : this.#me.userId;
    $('ask-name').value = this.#me.nickname;
    $('ask-error').textContent = view.ask.trim();
    $('ask-id').focus();
    $('ask-id').select();
  }

  #button(action) {
    const doIt = {
      retry: () => this.#again(),
      takeBack: () => this.#again(),
      back: () => this.#ask(null),
      rooms: () => this.#leave(),
    }[action];
    const words = { retry: 'retry', takeBack: 'takeBack', back: 'close', rooms: 'allRooms' }[action];
    const button = el('button', action === 'retry' || action === 'takeBack' ? 'primary' : '', say(words));
    button.type = 'button';
    button.id = `do-${action}`;
    button.addEventListener('click', doIt);
    return button;
  }

  /** Tries again what was refused. */
  #again() {
    clearTimeout(this.#retry);
    if (this.#refused?.code === 'noWebrtc') return location.reload();
    const wasRefused = Boolean(this.#refused);
    this.#refused = null;
    this.#rejected = null;
    this.#signal = { ...this.#signal, error: null, since: Date.now() };
    if (wasRefused) this.#signalling.open();
    else this.course.now();
    this.#draw();
  }

  #header({ screen, banner }) {
    const isBroken = screen === 'live' && banner && !this.#isFlowing;
    const state = isBroken ? 'waiting' : ({ live: 'live', sound: 'live', waiting: 'waiting', ended: 'ended' }[screen] ?? '');
    const name = this.#name || say('room', { id: this.#room });
    const { teacher } = this.people;
    const here = this.#wasIn && screen !== 'error';
    text('room-title', name);
    document.title = `${name} – classroom`;
    text('room-teacher', teacher && here ? say('taughtBy', { name: nameOf(teacher) }) : this.#name ? say('room', { id: this.#room }) : '');
    text('room-state', isBroken ? say('connectingBadge') : state ? say(state) : '');
    $('room-state').className = `badge ${state}`;
    text('room-watching', here ? say('watching', { n: this.people.students }) : '');
    text('me', say('meIs', { name: this.#me.nickname || this.#me.userId }));
  }
}

function text(id, value) {
  if ($(id).textContent !== value) $(id).textContent = value;
}

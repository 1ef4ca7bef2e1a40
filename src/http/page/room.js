// A student in a room: what there is to see, and what comes next.

import { $, clean, el, list, nameOf, onFrame, setIcon } from './dom.js';
import { onLanguage, say, sayOf, translate } from './i18n.js';
import { epoch, isId, isOwnId, newId, ownId, remember, session, whoFromLink } from './identity.js';
import { isKept, keepLast, keepPage, lastOf } from './memory.js';
import { Chat } from './chat.js';
import { Controls } from './controls.js';
import { Course } from './course.js';
import { Danmaku } from './danmaku.js';
import { Layout } from './layout.js';
import { Peer, hasWebrtc } from './peer.js';
import { People } from './people.js';
import { Signalling } from './signalling.js';
import { Stats } from './stats.js';
import { view } from './views.js';

/** Media counts as interrupted when nothing came for this time. */
const STALLED_MS = 2_500;
/** After so long a silence of the media it is asked whether the line is dead. */
const STILL_MS = 1_500;
/** An answer that comes so late came over a line that was dead. */
const LATE_MS = 800;
/** A teacher's hub forgets a student that it has not heard for this time (`DISCONNECTED_AFTER` and `FAILED_AFTER`). */
const FORGOTTEN_MS = 10_000;
/** How often and how many times pictures are looked for on a line that is back, before they are connected anew. */
const LOOK_MS = 250;
const LOOKS = 3;
/** When the page is kept for later: after what the first visit needs. */
const KEEP_AFTER_MS = 3_000;
/** How long it is said why a page is not loaded anew. */
const EXPLAIN_MS = 8_000;
/** How soon a full room is tried again. */
const FULL_RETRY_MS = 20_000;

/** Opens the room that the address names. */
export function startRoom(room) {
  // What is hidden can't have the focus.
  $('room').hidden = false;
  new Room(room);
}

class Room {
  #room;
  #name = '';
  #me;
  #asking = null;
  #signalling = null;
  #signal = { isOpen: false, error: null, cause: null, since: Date.now() };
  #wasIn = false;
  #refused = null;
  #rejected = null;
  #iceServers = [];
  #peer = null;
  #spare = null;
  #unsent = false;
  #hasPicture = false;
  #tracks = null;
  /** What the teacher's hub says it sends us: its last `tier`. */
  #sent = null;
  /** The pictures that have no source any more. */
  #stopped = { screen: false, camera: false };
  #isFlowing = false;
  #came = { bytes: 0, pictureBytes: 0, at: 0, pictureAt: 0 };
  #retry = 0;
  #last = null;
  #wantsReload = false;
  #shown = '';
  #draw = onFrame(() => this.#show());

  constructor(room) {
    this.#room = room;
    this.#me = whoFromLink();
    this.#last = lastOf(room);
    this.danmaku = new Danmaku(() => this.layout.picture());
    this.stats = new Stats();
    this.course = new Course(() => this.#connect());
    // Before anything that takes time: the link was clicked, and a class waits.
    if (!hasWebrtc()) this.#refused = { code: 'noWebrtc' };
    else if (this.#me.known) this.#enter();
    else this.#asking = 'who';
    translate();
    this.people = new People(() => this.#draw());
    this.chat = new Chat({
      line: (line) => this.danmaku.fly(line),
      hands: (hands) => {
        this.people.hands(hands);
        this.controls.hand();
      },
      reaction: (reaction) => this.danmaku.rise(reaction),
      tier: (sent) => {
        this.#sent = sent;
        this.#draw();
      },
      allows: (allowed) => {
        this.danmaku.allow(allowed.comments);
        this.controls.allow(allowed);
      },
      stopped: (stopped) => {
        this.#stopped = stopped;
        this.layout.stop(stopped);
        this.#draw();
      },
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
    addEventListener('keydown', (event) => this.#reload(event));
    setInterval(() => this.#second(), 1_000);
    setTimeout(keepPage, KEEP_AFTER_MS);
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
    this.#signal = { isOpen: false, error: null, cause: null, since: Date.now() };
    const secret = session(this.#room, userId);
    this.#signalling = new Signalling({ roomId: this.#room, userId, nickname, session: secret, epoch }, {
      message: (message) => this.#message(message),
      lost: (error, cause) => this.#lost(error, cause),
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
      case 'pong':
        if (this.#unsent && this.course.publisher) this.course.now();
        else if (this.#signalling.waited > LATE_MS) this.#mend();
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
    this.#signal = { isOpen: true, error: null, cause: null, since: Date.now() };
    this.#wasIn = true;
    this.#refused = null;
    this.#name = clean(message.roomName, 80);
    this.#iceServers = list(message.iceServers, 10);
    this.people.set(message.users);
    if (!this.people.teacher && (this.course.publisher || message.publisherWent)) {
      this.#teacherLeft(message.publisherWent ?? 'lost');
    }
    if (!this.#look()) this.#mend();
  }

  /**
   * The line was dead and is back. Pictures that stood still meanwhile come by themselves at once, or not soon: the
   * teacher's hub forgets who is silent, or takes the line for a narrow one.
   */
  async #mend() {
    const peer = this.#peer;
    if (!this.course.publisher) return;
    // An offer that was not sent, or whose answer is lost with the connection that it was sent over.
    if (this.#unsent || (peer && !peer.wasConnected)) return this.course.now();
    // Sound may have come back before.
    const { bytes, pictureBytes, at, pictureAt } = this.#came;
    const silence = performance.now() - (this.#hasPicture ? pictureAt : at);
    if (!peer || silence < STALLED_MS) return;
    for (let look = 0; look < LOOKS && silence < FORGOTTEN_MS; look += 1) {
      await new Promise((done) => setTimeout(done, LOOK_MS));
      await this.#measure();
      const goesOn = this.#hasPicture ? this.#came.pictureBytes > pictureBytes : this.#came.bytes > bytes;
      if (peer !== this.#peer || !this.course.publisher || goesOn) return;
    }
    this.course.now();
  }

  #look() {
    const { teacher } = this.people;
    if (!teacher) return false;
    const isNews = this.course.publisherIs(teacher);
    if (isNews) {
      this.#rejected = null;
      keepLast(this.#room, null);
    }
    if (!this.chat.isOpen) this.chat.attach(this.#peer?.channel ?? null, true);
    return isNews;
  }

  #teacherLeft(reason) {
    const isGoodbye = this.course.publisherLeft(reason);
    keepLast(this.#room, this.course.wentBy);
    this.#last = lastOf(this.#room);
    if (!isGoodbye) return;
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

  #lost(error, cause) {
    const { isOpen, since } = this.#signal;
    this.#signal = { isOpen: false, error: error ?? this.#signal.error, cause, since: isOpen ? Date.now() : since };
    this.#draw();
  }

  #refuse(error) {
    if (error.code === 'userIdTaken' && isOwnId(this.#me.userId)) return this.#enterAnew({ ...this.#me, userId: newId() });
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
        this.#rejected = null;
        peer.wasConnected = true;
        this.#unsent = false;
        this.course.connected();
        this.#came = { bytes: 0, pictureBytes: 0, at: performance.now(), pictureAt: performance.now() };
        this.#draw();
      },
      disturbed: () => {
        this.#signalling.check();
        this.#draw();
      },
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
    // On a dead line an offer would wait in the socket for seconds. The one that is sent on a line that works is fresh.
    this.#unsent = !this.#signalling.isSure;
    if (this.#unsent) return this.#signalling.check();
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
    this.#sent = null;
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
    this.#stopped = { screen: false, camera: false };
  }

  #pictureCame() {
    this.#hasPicture = true;
    this.#isFlowing = true;
    this.#draw();
  }

  /** Once a second: whether media still comes. */
  async #second() {
    await this.#measure();
    const isStill = this.#came.bytes > 0 && performance.now() - this.#came.at > STILL_MS;
    if (isStill && this.course.publisher) this.#signalling.check();
    this.#draw();
  }

  async #measure() {
    const peer = this.#peer;
    if (!peer?.wasConnected) return;
    const { bytes, pictureBytes } = await this.stats.read(peer).catch(() => this.#came);
    if (peer !== this.#peer) return;
    const now = performance.now();
    const pictureAt = pictureBytes > this.#came.pictureBytes ? now : this.#came.pictureAt;
    if (bytes > this.#came.bytes) this.#came = { bytes, pictureBytes, at: now, pictureAt };
    this.#isFlowing = (now - this.#came.at < STALLED_MS && bytes > 0) || !this.#isDue();
  }

  /** Whether anything can come: not where all that is taught has stopped. */
  #isDue() {
    return Object.keys(this.#tracks ?? {}).some((role) => !this.#stopped[role]);
  }

  // Who is it?

  #ask(why) {
    this.#asking = why;
    this.#draw();
  }

  #answerAsk(event) {
    event.preventDefault();
    const nickname = $('ask-name').value.trim();
    const userId = $('ask-id').value.trim() || ownId();
    if (!nickname) return this.#complain('ask-name', 'yourNameMissing');
    if (!isId(userId)) return this.#complain('ask-id', 'badUserId');
    this.#enterAnew({ userId, nickname });
  }

  #complain(field, why) {
    $('ask-error').textContent = say(why);
    if (field === 'ask-id') $('ask-more').open = true;
    $(field).focus();
    $(field).select();
  }

  /** Comes in as somebody else. */
  #enterAnew({ userId, nickname }) {
    this.#signalling?.leave();
    this.#endMedia();
    this.course.publisher = null;
    this.course.wentBy = null;
    this.#me = remember(userId, nickname);
    this.#iAm();
    this.#enter();
    this.#draw();
  }

  /** Where no server answers, a reload would show an error of the browser instead of this page: it tries again. */
  #reload(event) {
    const isReload = event.key === 'F5' || ((event.ctrlKey || event.metaKey) && event.key === 'r');
    if (!isReload || event.shiftKey || !this.#signalling || this.#signal.isOpen || !this.#signal.cause || isKept()) return;
    event.preventDefault();
    this.#signalling.check();
    this.#wantsReload = true;
    setTimeout(() => {
      this.#wantsReload = false;
      this.#draw();
    }, EXPLAIN_MS);
    this.#draw();
  }

  // What there is to see.

  #view() {
    return view({
      asking: this.#asking,
      refused: this.#refused,
      rejected: this.#rejected,
      signal: this.#signal,
      course: this.course,
      wasIn: this.#wasIn,
      isOffline: navigator.onLine === false && !this.#signal.isOpen,
      // The server was heard after the last of the media: then it is not the line that is dead.
      isHeard: this.#signalling?.heardAt - this.#came.at > STILL_MS && Date.now() - this.#signal.since > STALLED_MS,
      isConnected: Boolean(this.#peer?.isConnected),
      isFlowing: this.#isFlowing,
      hasPicture: this.#hasPicture,
      tracks: this.#tracks,
      sent: this.#sent,
      stopped: this.#stopped,
      students: this.people.students,
      last: this.#last,
      wantsReload: this.#wantsReload,
      userId: this.#me.userId,
    });
  }

  #show() {
    const seen = this.#view();
    this.#header(seen);
    const now = JSON.stringify(seen);
    if (now === this.#shown) return;
    const before = this.#shown && JSON.parse(this.#shown);
    this.#shown = now;
    $('room').dataset.screen = seen.screen;
    $('card').hidden = seen.screen === 'live';
    setIcon($('card-art'), seen.screen === 'error' ? 'i-warn' : seen.screen === 'sound' ? 'i-sound' : 'i-board');
    for (const part of ['title', 'text', 'more']) $(`card-${part}`).textContent = seen[part] ?? '';
    $('card-actions').replaceChildren(...(seen.actions ?? []).map((action) => this.#button(action)));
    $('banner').textContent = seen.banner ?? '';
    $('banner').hidden = !seen.banner;
    this.controls.mark(seen.mark);
    this.#showAsk(seen, before);
  }

  #showAsk(seen, before) {
    $('ask').hidden = !seen.ask;
    if (!seen.ask || before?.ask) return;
    const isTaken = seen.screen === 'error';
    $('ask-id').value = isTaken || isOwnId(this.#me.userId) ? '' : this.#me.userId;
    $('ask-name').value = this.#me.nickname;
    $('ask-more').open = isTaken || $('ask-id').value !== '';
    $('ask-error').textContent = seen.ask.trim();
    const field = $(isTaken || seen.ask.trim() ? 'ask-id' : 'ask-name');
    field.focus();
    field.select();
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
    this.#refused = null;
    this.#rejected = null;
    if (this.#signal.isOpen) this.course.now();
    else {
      this.#signal = { isOpen: false, error: null, cause: null, since: Date.now() };
      this.#signalling.open();
    }
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
    if (teacher && here) $('room-teacher').replaceChildren(...sayOf('taughtBy', nameOf(teacher)));
    else text('room-teacher', this.#name ? say('room', { id: this.#room }) : '');
    text('room-state', isBroken ? say('connectingBadge') : state ? say(state) : '');
    $('room-state').className = `badge ${state}`;
    // Nobody watches what is not on.
    text('room-watching', here ? say(teacher ? 'watching' : 'present', { n: this.people.students }) : '');
    $('me').replaceChildren(...sayOf('meIs', this.#me.nickname || this.#me.userId));
  }
}

function text(id, value) {
  if ($(id).textContent !== value) $(id).textContent = value;
}

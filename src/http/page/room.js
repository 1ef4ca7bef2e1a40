// A student's room: joins it, follows the lesson, and shows its state.

import { $, Part, clean, list, onFrame } from './dom.js';
import { isOwned, onLanguage, speakOf, translate } from './i18n.js';
import {
  epoch, isId, isKept, isOwnId, keepLast, keepPage, keepSecrets, kindFromLink, lastOf, mayTeach, newId, ownId,
  remember, secretsFromLink, session, teachingLink, whoFromLink,
} from './identity.js';
import { Card, showHeader } from './card.js';
import { Chat } from './chat.js';
import { Controls } from './controls.js';
import { Danmaku } from './danmaku.js';
import { Layout } from './layout.js';
import { Media } from './media.js';
import { hasWebrtc } from './peer.js';
import { People } from './people.js';
import { Signalling } from './signalling.js';
import { Stats } from './stats.js';
import { view } from './views.js';

/** The path works, so the teacher is to blame, if the server was heard this much later than the last media. */
const HEARD_SINCE_MS = 1_500;
/** Signalling must be in its state for this long before the page draws a conclusion from it. */
const SETTLED_MS = 2_500;
/** A `pong` that took longer came over a path that was dead. */
const LATE_MS = 800;
/** When to cache the page: after everything that the first visit needs. */
const KEEP_AFTER_MS = 3_000;
/** How long to show why the page does not reload. */
const EXPLAIN_MS = 8_000;
/** How soon to try a full room again. */
const FULL_RETRY_MS = 20_000;

/** Opens the room that the address names, and returns it. `startStage(room)` makes another stage than usual. */
export function startRoom(room, startStage) {
  $('room').hidden = false; // A hidden element can't take the focus.
  return new Room(room, startStage);
}

class Room {
  #room;
  #name = '';
  #me;
  /** The id of this student. */
  userId = '';
  /** What the server may ask for: `session`, `code`, `token`. */
  #credentials = {};
  #asking = null;
  /** Whether the student waits until the teacher admits it. */
  #isInLobby = false;
  #signalling = null;
  #signal = { isOpen: false, error: null, cause: null, since: Date.now() };
  #wasIn = false;
  #refused = null;
  #rejected = null;
  #iceServers = [];
  #retry = 0;
  #last = null;
  #wantsReload = false;
  #shown = '';
  /** What only a member that moderates needs. */
  #order = new Part(async () => {
    const order = new (await import('./order.js')).Order({
      order: (given) => this.#signalling?.send({ type: 'order', ...given }),
      moderate: (given) => this.chat.moderate(given),
      user: (userId) => this.people.user(userId),
      changed: () => this.people.draw(),
    });
    order.isOn = this.people.moderates;
    this.people.draw();
    return order;
  });
  /** What only a lecture with speakers on the stage needs. */
  #stage;
  /** What only a meeting or call, or a lecture with breakout rooms, needs: promises, so that messages keep order. */
  #conference = null;
  #breakouts = null;
  #kind = kindFromLink();
  #query = {};
  #draw = onFrame(() => this.#show());

  constructor(room, startStage) {
    this.#room = room;
    this.#stage = new Part(async () => (startStage ?? (await import('./student_stage.js')).startStage)(this));
    this.#credentials = { ...secretsFromLink(room), ...this.#kind.key };
    this.#me = whoFromLink();
    this.#last = lastOf(room);
    this.danmaku = new Danmaku(() => this.layout.videoBox());
    this.stats = new Stats();
    this.media = new Media(this);
    this.lesson = this.media.lesson;
    // Before anything slow: a class is waiting.
    if (!hasWebrtc()) this.#refused = { code: 'noWebrtc' };
    else if (this.#me.known) this.#enter();
    else this.#asking = 'who';
    translate();
    this.people = new People(() => {
      if (this.people.moderates) this.#order.need();
      if (this.#order.loaded) this.#order.loaded.isOn = this.people.moderates;
      this.chat.isFree = this.people.moderates;
      this.#draw();
    }, (user, position) => this.#order.loaded?.actionsFor(user, position) ?? []);
    this.chat = new Chat({
      line: (line) => this.danmaku.fly(line),
      cleared: () => this.danmaku.clear(),
      hands: (hands, place) => {
        this.people.hands(hands, place);
        this.controls.hand();
      },
      reaction: (reaction) => this.danmaku.rise(reaction),
      tier: (sent) => {
        this.media.sent = sent;
        this.#draw();
      },
      allows: (allowed) => {
        this.danmaku.allow(allowed.comments);
        this.controls.allow(allowed);
        this.#order.tell('allows', allowed);
      },
      stopped: (stopped) => {
        this.media.stopped = stopped;
        this.layout.stop(stopped);
        this.#draw();
      },
      state: () => this.controls?.hand(),
      other: (message) => this.#staged(message),
      refused: (error) => this.#order.loaded?.refused(error) ?? false,
    });
    this.layout = new Layout({
      firstFrame: () => {
        this.media.videoCame();
        this.#draw();
      },
      changed: () => this.controls?.refresh(),
      isConnected: () => this.media.isConnected,
    });
    this.card = new Card({
      retry: () => this.#again(),
      takeBack: () => this.#again(),
      back: () => this.#ask(null),
      rooms: () => this.#leave(),
      teach: () => location.assign(teachingLink(this.#room)),
      asked: (event) => this.#answerAsk(event),
      coded: (event) => this.#answerCode(event),
    });
    const { layout, chat, people, danmaku, stats } = this;
    this.controls = new Controls({ layout, chat, people, danmaku, stats, leave: () => this.#leave() });
    this.#joinedAs(this.#me.userId);
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
    this.#isInLobby = false;
    this.#credentials.session = session(this.#room, userId);
    this.#query = { roomId: this.#room, userId, nickname, epoch, ...this.#kind.query };
    this.#signalling = new Signalling(this.#query, this.#credentials, {
      message: (message) => this.#message(message),
      lost: (error, cause) => this.#lost(error, cause),
      refused: (error) => this.#refuse(error),
    });
    this.#signalling.open();
    if (!this.#kind.query) this.media.prepare();
  }

  /** A message of the data channel about the stage. */
  #staged(message) {
    if (message.type === 'reportViewing') return import('./viewing.js').then((part) => part.report(this));
    if (message.type === 'stageEnded') return this.#order.loaded?.stageEnded(message);
    if (!['welcome', 'stage', 'invited', 'offStage'].includes(message.type)) return;
    if (message.type === 'welcome') return this.#stage.loaded?.told(message);
    if (message.type === 'stage') this.#order.tell('staged', message);
    this.#stage.tell('told', message, message.type);
    this.#stage.need();
  }

  async #leave() {
    for (const part of [this.#conference, this.#breakouts]) (await part)?.end();
    this.#signalling?.leave();
    this.media.end();
    location.assign('/');
  }

  // Messages of the server.

  #message(message) {
    if (['joined', 'room', 'waiting'].includes(message.type)) speakOf(message.kind);
    if (['joined', 'room'].includes(message.type) && isOwned(message.kind)) {
      // For a server that has restarted.
      this.#query.kind = message.kind;
      this.#conference ??= this.#confer();
    }
    if (message.rooms && !this.#conference) this.#breakouts ??= this.#split();
    for (const part of [this.#conference, this.#breakouts]) part?.then((loaded) => loaded.told(message));
    switch (message.type) {
      case 'waiting':
        this.#waiting(message);
        break;
      case 'joined':
        this.#joined(message);
        break;
      case 'join':
        this.people.join(message.users);
        this.#look();
        break;
      case 'memberCount':
        this.people.count(message.count);
        break;
      case 'leave':
        this.people.leave(message.users);
        if (list(message.users, 10_000).includes(this.lesson.publisher?.userId)) this.#teacherLeft(message.reason);
        break;
      case 'lobby':
        this.#order.tell('waiting', message);
        break;
      case 'order':
        this.#order.tell('carriedOut', message, `carriedOut ${message.order}`);
        break;
      case 'pong':
        if (!this.media.offerNow() && this.#signalling.waited > LATE_MS) this.media.mend();
        this.#stage.loaded?.ponged(this.#signalling.waited > LATE_MS);
        break;
      case 'answer':
      case 'candidate':
      case 'hangup':
      case 'offer':
      case 'talk':
        if (message.entry) break;
        if (message.userId === this.lesson.publisher?.userId) this.media.signalled(message);
        else this.#stage.loaded?.signalled(message);
        break;
      case 'error':
        this.#error(message);
        break;
    }
    this.#draw();
  }

  #split = async () => (await import('./lecture_breakouts.js')).startBreakouts(this);
  #confer = async () => (await import('./conference_room.js')).startConference(this);

  /** The teacher has a lobby, and has not admitted this student yet. */
  #waiting(message) {
    this.#signal = { isOpen: true, error: null, cause: null, since: Date.now() };
    this.#isInLobby = true;
    this.#refused = null;
    this.#name = clean(message.roomName, 80);
  }

  #joined(message) {
    this.#isInLobby = false;
    this.#signal = { isOpen: true, error: null, cause: null, since: Date.now() };
    this.#wasIn = true;
    this.#refused = null;
    this.#name = clean(message.roomName, 80);
    this.#iceServers = list(message.iceServers, 10);
    this.#joinedAs(clean(message.userId, 64));
    this.people.set(message.users, message.count);
    if (!this.people.teacher && (this.lesson.publisher || message.publisherWent)) {
      this.#teacherLeft(message.publisherWent ?? 'lost');
    }
    if (!this.#look()) this.media.mend();
    this.#stage.loaded?.ponged(true);
  }

  /** A token may give the user another id than the page asked for. */
  #joinedAs(userId) {
    this.userId = userId;
    this.people.iAm(userId);
    this.chat.iAm(userId);
  }

  #look() {
    const { teacher } = this.people;
    if (!teacher) return false;
    const isNews = this.lesson.publisherIs(teacher);
    if (isNews) {
      this.#rejected = null;
      keepLast(this.#room, null);
    }
    if (!this.chat.isOpen) this.chat.attach(this.media.channel, true);
    return isNews;
  }

  #teacherLeft(reason) {
    const isGoodbye = this.lesson.publisherLeft(reason);
    keepLast(this.#room, this.lesson.wentBy);
    this.#last = lastOf(this.#room);
    if (!isGoodbye) return;
    this.media.end();
    this.#rejected = null;
  }

  #error(error) {
    if (this.#conference) return;
    const after = Number(error.retryAfterMs);
    if (this.#stage.loaded?.failed(error) && (error.userId || this.media.isConnected)) return;
    if (error.userId) {
      if (after >= 0) return this.lesson.failed(after);
      this.#rejected = error;
      this.lesson.rest();
      if (error.code === 'roomFull') this.#later(() => this.lesson.now());
    } else if (!this.media.isConnected && ['unknownTarget', 'targetBusy', 'notAllowed'].includes(error.code)) {
      this.lesson.failed(after >= 0 ? after : 0);
    }
  }

  #lost(error, cause) {
    this.#conference?.then((part) => part.lost());
    const { isOpen, since } = this.#signal;
    this.#signal = { isOpen: false, error: error ?? this.#signal.error, cause, since: isOpen ? Date.now() : since };
    this.#draw();
  }

  #refuse(error) {
    if (error.code === 'userIdTaken' && isOwnId(this.#me.userId)) {
      return this.#enterAnew({ ...this.#me, userId: newId() });
    }
    speakOf(error.kind);
    if (error.code === 'wrongCode') this.#keepCode(undefined);
    this.#refused = error;
    this.#conference?.then((part) => part.refused(error));
    this.#isInLobby = false;
    this.#signal.isOpen = false;
    this.lesson.publisher = null;
    this.lesson.rest();
    this.media.end();
    if (error.code === 'roomFull') this.#later(() => this.#signalling.open());
    this.#draw();
  }

  #later(work) {
    clearTimeout(this.#retry);
    this.#retry = setTimeout(work, FULL_RETRY_MS);
  }

  // The media, which calls these.

  get signalling() {
    return this.#signalling;
  }

  /** The STUN and TURN servers that the server named. */
  get iceServers() {
    return this.#iceServers;
  }

  get roomId() {
    return this.#room;
  }

  /** The media is connected. */
  connected() {
    this.#rejected = null;
    this.#draw();
  }

  changed = () => this.#draw();

  /** The media of the lecture has ended, and with it that of the stage. */
  endStage() {
    this.#stage.loaded?.end();
  }

  async #second() {
    await this.media.second();
    await this.#stage.loaded?.second();
    this.#draw();
  }

  // The student's name and id.

  #ask(why) {
    this.#asking = why;
    this.#draw();
  }

  #answerAsk(event) {
    event.preventDefault();
    const nickname = $('ask-name').value.trim();
    const userId = $('ask-id').value.trim() || ownId();
    if (!nickname) return this.card.complain('ask-name', 'yourNameMissing');
    if (!isId(userId)) return this.card.complain('ask-id', 'badUserId');
    this.#enterAnew({ userId, nickname });
  }

  #answerCode(event) {
    event.preventDefault();
    const code = $('code').value.trim();
    if (!code) return this.card.complainAboutCode('codeMissing');
    this.#keepCode(code);
    this.#again();
  }

  #keepCode(code) {
    this.#credentials.code = code;
    keepSecrets(this.#room, this.#credentials);
  }

  /** Joins again as somebody else. */
  #enterAnew({ userId, nickname }) {
    this.#signalling?.leave();
    this.media.end();
    this.lesson.publisher = null;
    this.lesson.wentBy = null;
    this.#me = remember(userId, nickname);
    this.#joinedAs(userId);
    this.#enter();
    this.#draw();
  }

  /** While no server answers, a reload would replace this page by the browser's error. Reconnect instead. */
  #reload(event) {
    const isReload = event.key === 'F5' || ((event.ctrlKey || event.metaKey) && event.key === 'r');
    const isServerGone = this.#signalling && !this.#signal.isOpen && this.#signal.cause;
    if (!isReload || event.shiftKey || !isServerGone || isKept()) return;
    event.preventDefault();
    this.#signalling.check();
    this.#wantsReload = true;
    setTimeout(() => {
      this.#wantsReload = false;
      this.#draw();
    }, EXPLAIN_MS);
    this.#draw();
  }

  // The view.

  #view() {
    // The server was heard after the last media, so the path to the network works.
    const isHeard = this.#signalling?.heardAt - this.media.receivedAt > HEARD_SINCE_MS;
    return view({
      asking: this.#asking,
      refused: this.#refused,
      rejected: this.#rejected,
      signal: this.#signal,
      lesson: this.lesson,
      wasIn: this.#wasIn,
      isConference: Boolean(this.#conference),
      isInLobby: this.#isInLobby,
      isOffline: navigator.onLine === false && !this.#signal.isOpen,
      isHeard: isHeard && Date.now() - this.#signal.since > SETTLED_MS,
      isConnected: this.media.isConnected,
      isFlowing: this.media.isFlowing,
      hasVideo: this.media.hasVideo,
      tracks: this.media.tracks,
      sent: this.media.sent,
      stopped: this.media.stopped,
      students: this.people.students,
      last: this.#last,
      mayTeach: mayTeach(this.#room),
      wantsReload: this.#wantsReload,
      userId: this.#me.userId,
    });
  }

  #show() {
    const seen = this.#view();
    const { people, media: { isFlowing } } = this;
    showHeader(seen, { id: this.#room, name: this.#name, people, me: this.#me, isFlowing, wasIn: this.#wasIn });
    const now = JSON.stringify(seen);
    if (now === this.#shown) return;
    const before = this.#shown && JSON.parse(this.#shown);
    this.#shown = now;
    this.card.show(seen, this.#me, before);
    this.controls.mark(seen.mark);
  }

  /** Retries what was refused. */
  #again() {
    clearTimeout(this.#retry);
    if (this.#refused?.code === 'noWebrtc') return location.reload();
    this.#refused = null;
    this.#rejected = null;
    if (this.#signal.isOpen) this.lesson.now();
    else {
      this.#signal = { isOpen: false, error: null, cause: null, since: Date.now() };
      this.#signalling.open();
    }
    this.#draw();
  }
}

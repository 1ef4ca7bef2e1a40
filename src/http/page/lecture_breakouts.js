// A breakout room of a lecture, on the page of a student and on that of the teacher who visits: pictures and sound of
// those who are there, over the lecture, which goes on behind them without a sound and without pictures.

import { $, addStyle, clean, elementsOf, list, store, tab } from './dom.js';
import { addWords, hasWords, onLanguage, say, translate } from './i18n.js';
import { BreakoutMedia } from './breakout_media.js';
import { startStrip } from './breakouts.js';
import { ConferenceMedia } from './conference_media.js';
import { conferenceRoom, toConference } from './conference_signalling.js';
import { KEYS } from './controls.js';
import { prepareDevices } from './devices.js';
import { LectureChat } from './lecture_chat.js';
import { Sounds } from './sounds.js';
import { prepareTiles } from './tiles.js';

const WORDS = { en: './conference_english.js', zh: './conference_chinese.js' };
const ROLES = ['audio', 'screen', 'camera'];
/** The time for which a message is shown. */
const TOLD_MS = 8_000;
/** When to ask again for a place, after a refusal and without an answer. */
const REFUSED_MS = 5_000;
const UNHEARD_MS = 3_000;
/** A `pong` that took longer came over a path that was dead. */
const LATE_MS = 800;
/** After `joined`, the server tells of breakout rooms within this time, or there are none any more. */
const UNTOLD_MS = 3_000;
/** The time since its last second in a breakout room in which a reloaded page goes on by itself. */
const RESUME_MS = 20_000;
/** What the page gets of the lecture meanwhile, and what afterwards. */
const NOTHING = { type: 'receive', screen: 'none', camera: 'none' };
const ALL = { type: 'receive', screen: 'full', camera: 'full' };

/** Makes the part on a student's page; `room` is the student's room. */
export async function startBreakouts(room) {
  await prepareDevices();
  return start((breakouts) => new Student(room, breakouts));
}

/** Makes the part on the page of a teacher: see `teach_breakouts.js`. */
export const startVisits = (teacher) => start(() => teacher);

async function start(make) {
  const [elements] = await Promise.all([
    elementsOf('./lecture_breakouts.html'), prepareTiles(), addWords(WORDS),
    addStyle('./conference.css'), addStyle('./lecture_breakouts.css'),
  ]);
  $('stage').append(...elements.children);
  const breakouts = new LectureBreakouts();
  const person = make(breakouts);
  await breakouts.begin(person, await startStrip(breakouts.hostOf(person), $('breakout')));
  translate();
  return breakouts;
}

class LectureBreakouts {
  /** The place: a breakout room, or 0 for the lecture. */
  #at = 0;
  #isIn = false;
  /** Whether this person still chooses what to send, before it takes part. */
  #isAtEntrance = false;
  /** When to ask for a place, by `performance.now()`. */
  #askAt = 0;
  #joinedAt = 0;
  #told = { text: '', until: 0 };
  #sends = '';
  #person;
  #strip;
  #media;
  #chat;
  #sounds = new Sounds(() => this.#person.volume);

  /** What the strip needs of a conference. */
  hostOf(person) {
    const tell = (text) => this.tell(text);
    return {
      tell,
      main: 'mainLecture',
      get isOwner() {
        return person.isTeacher;
      },
      room: person.room,
      movable: ({ moderates, isTeacher, client }) => !moderates && !isTeacher && client === 'browser',
      more: (at) => (at > 0 ? say(person.isTeacher ? 'breakoutTeacherHere' : 'breakoutLectureGoesOn') : ''),
    };
  }

  /** `person` is a `Student`, or what a teacher's page gives in its place. */
  begin(person, strip) {
    this.#person = person;
    this.#strip = strip;
    const { room } = person;
    this.#media = new ConferenceMedia(conferenceRoom(room), person.own, $('breakout-tiles'), {
      beside: ({ sounds }) => this.#sounds.use(sounds),
      changed() {}, listed() {}, message() {}, file: () => false, needs: () => false,
      overloaded: () => room.signalling.send({ type: 'overloaded' }),
    });
    $('breakout-enter').addEventListener('click', () => this.#enter());
    this.#chat = new LectureChat(room, {
      send: (message) => room.signalling.send(message),
      joined: (channel) => this.#want(channel, NOTHING),
    });
    setInterval(() => this.#second(), 1_000);
    onLanguage(() => this.#draw());
  }

  /** Opens the dialog of the teacher. */
  open() {
    this.#strip.open();
  }

  /** Every message of the server. */
  told(message) {
    const { type } = message;
    if (type === 'joined') this.#joined();
    if (type === 'breakouts') this.#placed(message);
    if (type === 'participants') this.#listed(message);
    if (type === 'announcement') this.#strip.announced(message);
    if (type === 'channel') this.#chat.heard(message.message ?? {});
    if (type === 'join' || type === 'leave') this.#strip.draw();
    if (type === 'pong') this.#ponged();
    const of = toConference(message);
    if (of?.type === 'error') this.#media.failed(of);
    else if (of) this.#media.signalled(of);
    if (type === 'error') this.#failed(message);
  }

  /** This person sends another track, or none, in a role. */
  replace(role) {
    return this.#media?.replace(role);
  }

  /** What this person sends may be something else now. */
  look() {
    const { sends } = this.#person.own;
    const now = JSON.stringify(sends);
    if (this.#isIn && now !== this.#sends) {
      for (const role of ROLES) this.#media.replace(role);
      this.#participate();
    }
    this.#media?.draw();
    this.#draw();
  }

  /** Shows a message for some seconds. */
  tell(text) {
    this.#told = { text, until: performance.now() + TOLD_MS };
    this.#draw();
  }

  /** This person leaves the room. */
  end() {
    this.#placed({ rooms: 0 });
  }

  #joined() {
    this.#joinedAt = performance.now();
    this.#media.mend();
  }

  #ponged() {
    if (this.#person.room.signalling.waited > LATE_MS) this.#media.mend();
    else this.#media.ponged();
  }

  #placed(message) {
    this.#joinedAt = 0;
    this.#strip.told(message);
    const { at } = this.#strip.state;
    if (at === this.#at) return;
    const before = this.#at;
    this.#at = at;
    if (at === 0) return this.#leave();
    this.#chat.leave();
    if (before > 0) return;
    this.#person.away(true);
    this.#want(this.#person.channel, NOTHING);
    this.#arrive();
  }

  /** A student chooses what to send before it takes part. A teacher sends what the class gets. */
  async #arrive() {
    const kept = tab.get(this.#key);
    const goesOn = Date.now() - kept?.at < RESUME_MS;
    // A teacher's page that was loaded again has its old entry, and none of the connections that belong to it.
    const { isTeacher, own, room: { signalling, userId } } = this.#person;
    if (isTeacher) signalling.send({ type: 'hangup', targetUid: userId });
    this.#isAtEntrance = !isTeacher && !goesOn;
    this.#show(true);
    if (this.#isAtEntrance) return own.putAway();
    this.#enter();
    if (goesOn) await own.resume?.(kept);
  }

  #enter() {
    this.#isAtEntrance = false;
    this.#askAt = 0;
    // The click is what the browser wants before it plays sound.
    this.#sounds.apply();
    this.#participate();
    this.#show(true);
  }

  #leave() {
    this.#at = 0;
    this.#isIn = false;
    this.#isAtEntrance = false;
    this.#media.end();
    this.#person.own.close?.();
    this.#chat.back();
    this.#person.away(false);
    this.#want(this.#person.channel, ALL);
    tab.set(this.#key, null);
    this.#show(false);
  }

  /** Tells the lecture which pictures this page wants. */
  #want(channel, tiers) {
    if (this.#person.isTeacher || this.#at > 0 !== (tiers === NOTHING)) return;
    const send = () => channel.send(JSON.stringify(tiers));
    if (channel?.readyState === 'open') send();
    else channel?.addEventListener('open', () => this.#at > 0 === (tiers === NOTHING) && send(), { once: true });
  }

  #listed(message) {
    const isHere = (Number(message.breakout) || 0) === this.#at && this.#at > 0;
    const mine = list(message.participants, 25).some((one) => one?.userId === this.#person.room.userId);
    const wasIn = this.#isIn;
    const { moved } = this.#media;
    this.#isIn = isHere && mine;
    if (this.#isIn || wasIn) this.#media.told(this.#isIn ? message : {});
    this.#tellMoved(moved);
    if (this.#isIn && !wasIn) this.look();
    // A page that was loaded again has lost its entry.
    if (isHere && wasIn && !mine) this.#askAt = 0;
    this.#draw();
  }

  /** Says why picture and sound take another way now. */
  #tellMoved(before) {
    const { moved } = this.#media;
    if (!this.#isIn || !moved || moved === before) return;
    this.tell(say(hasWords(`moved${moved}`) ? `moved${moved}` : 'movedunknown'));
  }

  #participate() {
    const { sends } = this.#person.own;
    this.#sends = JSON.stringify(sends);
    this.#askAt = performance.now() + UNHEARD_MS;
    this.#person.room.signalling.send({ type: 'participate', sends });
  }

  #failed({ code, userId, retryAfterMs }) {
    this.#strip.failed(String(code));
    if (this.#at === 0 || this.#isIn || userId) return;
    if (code === 'meetingFull') this.tell(say('breakoutFull'));
    const after = retryAfterMs >= 0 ? Number(retryAfterMs) : REFUSED_MS;
    if (code === 'meetingFull' || code === 'targetBusy') this.#askAt = performance.now() + after;
  }

  get #key() {
    return `breakout ${this.#person.room.roomId}`;
  }

  async #second() {
    const now = performance.now();
    if (this.#joinedAt && now - this.#joinedAt > UNTOLD_MS) this.#placed({ rooms: 0 });
    if (this.#at > 0 && !this.#isAtEntrance) {
      if (!this.#isIn && now >= this.#askAt) this.#participate();
      tab.set(this.#key, { at: Date.now(), ...this.#person.own.chosen });
      await this.#media.second();
      this.#sounds.apply();
    }
    this.#draw();
  }

  #show(isIn) {
    $('breakout').classList.toggle('is-in', isIn);
    $('breakout-tiles').hidden = !isIn || this.#isAtEntrance;
    $('breakout-entrance').hidden = !isIn || !this.#isAtEntrance;
    $('breakout-bar').hidden = !isIn || this.#person.isTeacher;
    this.look();
  }

  #draw() {
    if (!this.#person) return;
    this.#person.own.draw?.();
    if (this.#isAtEntrance) this.#drawEntrance();
    const held = this.#at > 0 && this.#sounds.isHeld ? say('clickForSound') : '';
    const text = performance.now() < this.#told.until ? this.#told.text : held;
    if ($('breakout-toast').textContent !== text) $('breakout-toast').textContent = text;
    $('breakout-toast').hidden = !text;
  }

  /** What this person enters with. The strip above says where. */
  #drawEntrance() {
    const { sends } = this.#person.own;
    const has = (role) => sends.includes(role);
    const what = has('audio') ? (has('camera') ? 'Both' : 'Sound') : sends.length > 0 ? 'Camera' : 'None';
    const words = say(`enter${what}`);
    if ($('breakout-sends').textContent !== words) $('breakout-sends').textContent = words;
  }
}

/** A student of a lecture. */
class Student {
  isTeacher = false;
  own;
  room;
  #breakouts;

  constructor(room, breakouts) {
    this.room = room;
    this.#breakouts = breakouts;
    this.own = new BreakoutMedia({
      replace: (role) => breakouts.replace(role),
      changed: () => breakouts.look(),
      told: (text) => breakouts.tell(text),
    });
  }

  /** The channel of the lecture. */
  get channel() {
    return this.room.media.channel;
  }

  get volume() {
    const { muted, volume } = this.room.layout;
    return muted ? 0 : volume;
  }

  /** The student is in a breakout room now, or back. */
  away(isAway) {
    const { layout, controls, signalling, chat } = this.room;
    layout.isAway = isAway;
    layout.applyVolume();
    signalling.comesBack = isAway;
    // Nobody speaks to the class from a breakout room.
    const { channel } = this;
    if (isAway && channel?.readyState === 'open') channel.send(JSON.stringify({ type: 'stepDown' }));
    controls.takeOver(isAway ? this.#keys : KEYS, isAway ? this.#actions : {});
    chat.opened();
  }

  get #actions() {
    const { own } = this;
    return {
      microphone: () => own.toggleMicrophone(),
      camera: () => own.toggleCamera(),
      share: () => own.toggleScreen(),
    };
  }

  get #keys() {
    const here = [
      ['m', 'microphone', 'keyMicrophoneHere'], ['v', 'camera', 'keyCameraHere'], ['s', 'share', 'keyShareHere'],
    ];
    const kept = ['full', 'hand', 'write', 'people', 'help'];
    return [...here, ...KEYS.filter(([, action]) => kept.includes(action))];
  }
}

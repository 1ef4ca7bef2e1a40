// A room of the kind `meeting` or `call`: the bar, the header and the banner, and what both kinds have in common.

import { $, Part, addStyle, announce, clean, elementsOf, list, nameOf, onFrame, setIcon } from './dom.js';
import { addWords, label, onLanguage, say, translate } from './i18n.js';
import { linkTo } from './identity.js';
import { CallView } from './call_view.js';
import { begin, reduce } from './conference.js';
import { ConferenceMedia } from './conference_media.js';
import { addSetupView, prepareDevices } from './devices.js';
import { fetchFile } from './file_server.js';
import { FilesView } from './files_view.js';
import { MeetingView } from './meeting_view.js';
import { OwnMedia } from './own_media.js';
import { Owner } from './owner.js';
import { Recipients } from './recipients.js';
import { SpotlightView } from './spotlight_view.js';
import { prepareTiles } from './tiles.js';

const WORDS = { en: './conference_english.js', zh: './conference_chinese.js' };
const FILE_WORDS = { en: './files_english.js', zh: './files_chinese.js' };
/** The time for which a message is shown. */
const TOLD_MS = 8_000;
/** A `pong` that took longer came over a path that was dead. */
const LATE_MS = 800;
const MOST_HANDS = 200;
/** Tell the person when the server has been silent for this long. */
const SILENT_MS = 3_000;

/** Key, action, explanation. */
const KEYS = [
  ['m', 'microphone', 'keyMicrophoneHere'],
  ['v', 'camera', 'keyCameraHere'],
  ['s', 'share', 'keyShareHere'],
  ['Space', '', 'keyTalk'],
  ['h', 'hand', 'keyHand'],
  ['b', 'spotlight', 'keySpotlight'],
  ['l', 'layout', 'keyLayout'],
  ['c', 'write', 'keyChat'],
  ['u', 'people', 'keyPeople'],
  ['f', 'full', 'keyFull'],
  ['?', 'help', 'keyHelp'],
];

/** Makes the part of a meeting or call room. `room` is the student's room. */
export async function startConference(room) {
  const styles = ['./conference.css', './files.css'].map(addStyle);
  await Promise.all([prepareDevices(), prepareTiles(), addWords(WORDS), addWords(FILE_WORDS), ...styles]);
  const elements = await elementsOf('./conference.html');
  const part = (id) => elements.querySelector(`#${id}`);
  $('stage').append(part('conference'));
  $('controls').prepend(part('conference-start'));
  $('leave').after(part('conference-end'));
  $('more-menu').prepend(...part('conference-menu').children);
  part('conference-menu').remove();
  $('chat-form').prepend(part('chat-to-line'));
  $('chat-text').before(part('file-choose'), part('file-input'));
  document.body.append(...elements.children);
  addSetupView($('entrance'));
  $('room').classList.add('conferring');
  translate();
  return new ConferenceRoom(room);
}

class ConferenceRoom {
  /** What the server says about the room: `{ name, owner, isLocked, isCalling, isSpotlightRestricted }`. */
  info = { name: '', owner: null, isLocked: false, isCalling: false, isSpotlightRestricted: false };
  /** The state of `conference.js`; `null` before the kind of the room is known. */
  state = null;
  room;
  /** What a room of this kind shows. */
  #view = null;
  /** To whom private messages go; only in a meeting. */
  #recipients = null;
  #filesView;
  #told = { text: '', until: 0 };
  /** The place of this user: a breakout room, or 0 for the meeting. It is `null` until the server tells. */
  #at = null;
  #lastAt = 0;
  /** What only a meeting with breakout rooms needs. */
  #breakouts = new Part(async () => (await import('./breakouts.js')).startStrip(this, $('conference')));
  #lostAt = 0;
  #sends = '[]';
  #draw = onFrame(() => this.#show());

  constructor(room) {
    this.room = room;
    this.own = new OwnMedia({
      replace: (role) => this.media?.replace(role),
      changed: () => this.#sendsChanged(),
      // A page that is loaded again sends what was chosen last.
      chosen: () => this.#view?.second(),
      told: (text) => this.tell(text),
    });
    this.media = new ConferenceMedia(room, this.own, $('tiles'), {
      beside: (grid) => room.layout.beside(grid),
      changed: (states) => this.happens({ type: 'media', states }),
      listed: () => this.spotlight?.changed(),
      message: (userId, data) => this.#files.message(userId, data) || this.#view?.message(userId, data),
      file: (userId, channel) => this.#files.channel(userId, channel),
      needs: (userId) => this.#files.needs(userId),
      overloaded: () => this.happens({ type: 'overloaded' }),
    });
    this.#filesView = new FilesView(room, this.#whereFilesGo(), {
      recipient: () => this.#recipients?.chosen ?? null,
      told: (text) => this.tell(text),
    });
    this.owner = new Owner(this);
    this.spotlight = new SpotlightView(this);
    this.media.grid.actionsFor = (person) => {
      const parts = [this.spotlight.buttonsFor(person), this.owner.buttonsFor(person)];
      return { key: parts.map(({ key }) => key).join(' / '), make: () => parts.flatMap(({ make }) => make()) };
    };
    room.controls.takeOver(KEYS, {
      microphone: () => this.own.toggleMicrophone(),
      camera: () => this.own.toggleCamera(),
      screen: () => (this.own.sources.screen ? this.own.unshare() : this.own.share()),
      share: () => (this.own.sources.screen ? this.own.unshare() : this.own.share()),
      unshare: () => this.own.unshare(),
      devices: () => $('conference-devices').showModal(),
      layout: () => this.#toggleLayout(),
      spotlight: () => this.spotlight.toggle(),
      owner: () => this.owner.open(),
      hangup: () => this.#view?.leave(),
    });
    setInterval(() => this.#second(), 1_000);
    onLanguage(() => {
      this.own.draw();
      this.#draw();
    });
  }

  /** Something happens to the call or the meeting: an event of `conference.js` without its time. */
  happens(event) {
    if (!this.state) return;
    const before = this.state;
    const { state, commands } = reduce(before, { ...event, now: Date.now() });
    this.state = state;
    for (const command of commands) this.#do(command);
    this.#view.changed(before);
    this.#place();
    this.#draw();
  }

  /** The member with this id. */
  user(userId) {
    return { userId, nickname: this.room.people.user(userId)?.nickname ?? '' };
  }

  get isOwner() {
    return this.info.owner !== null && this.info.owner === this.room.userId;
  }

  /** The link to this room. */
  get link() {
    return linkTo(this.room.roomId);
  }

  /** Every message of the server. */
  told(message) {
    const { type } = message;
    this.#files.told(message);
    // This error is about nothing else.
    if (message.code === 'fileRefused') return;
    if (type === 'joined' || type === 'room') this.#is(message);
    if (type === 'joined') this.#at = null;
    if (type === 'breakouts') this.#placed(message);
    if (type === 'announcement') this.#breakouts.tell('announced', message);
    if (type === 'order') this.#ordered(message);
    if (type === 'channel') this.#heard(message.message ?? {});
    if (['offer', 'answer', 'candidate'].includes(type)) return this.media.signalled(message);
    if (type === 'hangup' && this.state?.kind === 'meeting') this.media.signalled(message);
    if (type === 'pong') this.#ponged();
    if (type === 'error') {
      this.media.failed(message);
      this.owner.failed(String(message.code));
      this.#breakouts.loaded?.failed(String(message.code));
    }
    this.happens({ type: 'message', message });
    if (type === 'joined') this.media.mend();
    this.#view?.told(message);
  }

  /** The connection to the server is lost, and will be made again. */
  lost() {
    this.#lostAt ||= performance.now();
    this.happens({ type: 'lost' });
  }

  /** The server does not let this user in again. */
  refused({ code }) {
    this.happens({ type: 'refused', code });
    this.end();
  }

  /** This user leaves the room. */
  end() {
    if (this.#view?.isIn) this.#view.leave();
    this.media.end();
    this.own.close();
  }

  /** Shows a message for some seconds. */
  tell(text) {
    this.#told = { text, until: performance.now() + TOLD_MS };
    this.#draw();
  }

  draw() {
    this.#draw();
  }

  get #files() {
    return this.#filesView.files;
  }

  /** What `Files` needs of the room. */
  #whereFilesGo() {
    const { room, media } = this;
    return {
      get userId() {
        return room.userId;
      },
      get participants() {
        return media.participants;
      },
      get isOverServer() {
        return media.host === 'server';
      },
      user: (userId) => this.user(userId),
      pairTo: (userId) => media.pairTo(userId),
      send: (message) => room.signalling.send(message),
      fetch: (number, request) => fetchFile(room, number, request),
      now: () => performance.now(),
      sleep: (ms) => new Promise((done) => setTimeout(done, ms)),
    };
  }

  /** Opens what the owner does with breakout rooms. */
  async openBreakouts() {
    await this.#breakouts.need();
    this.#breakouts.loaded?.open();
  }

  /** The message `breakouts`. Each place has a chat of its own. */
  #placed(message) {
    const at = Number(message.at) || 0;
    if (at !== (this.#at ?? this.#lastAt)) this.room.chat.clear(Infinity, -1);
    [this.#at, this.#lastAt] = [at, at];
    this.#breakouts.tell('told', message);
    if (message.rooms > 0) this.#breakouts.need();
  }

  #ponged() {
    if (this.room.signalling.waited > LATE_MS) this.media.mend();
    else this.media.ponged();
  }

  #do({ do: what, message }) {
    if (what === 'send') this.room.signalling.send(message);
    if (what === 'participants') this.media.told(message);
    if (what === 'end') {
      this.media.end();
      this.own.close();
    }
  }

  #is(message) {
    const { type, kind, isLocked, isCalling, isSpotlightRestricted } = message;
    if (type === 'joined') this.#lostAt = 0;
    this.info.name = clean((type === 'joined' ? message.roomName : message.name) ?? '', 80);
    if (!this.state && (kind === 'meeting' || kind === 'call')) {
      this.state = begin(this.room.userId, kind);
      $('room').classList.toggle('is-calling', kind === 'call');
      $('tiles').classList.toggle('is-call', kind === 'call');
      this.#view = kind === 'call' ? new CallView(this) : new MeetingView(this);
      if (kind === 'meeting') this.#recipients = new Recipients(this.room);
      this.#place();
    }
    if (type !== 'room') return;
    const flags = { isLocked, isCalling, isSpotlightRestricted };
    for (const [name, isOn] of Object.entries(flags)) this.info[name] = isOn === true;
    this.#owned(typeof message.owner === 'string' ? message.owner : null);
  }

  #owned(owner) {
    const before = this.info.owner;
    this.info.owner = owner;
    this.media.ownerId = owner;
    if (before !== null && before !== owner && owner !== null) {
      this.tell(this.isOwner ? say('youOwn') : say('ownerIs', { name: nameOf(this.user(owner)) }));
    }
    this.media.draw();
  }

  /** A message of the conversation: the hands are shown on the pictures, too. */
  #heard({ type, hands }) {
    // After `joined`, the chat comes after the place. Without a place, the breakout rooms are over.
    if (type === 'welcome' && this.#at === null) this.#placed({ rooms: 0 });
    if (hands) this.media.hands(list(hands, MOST_HANDS).map((hand) => clean(hand?.userId, 64)));
  }

  /** Somebody who moderates may have switched the microphone of this person off. */
  #ordered({ order, targetUid, userId }) {
    if (order !== 'muteMicrophone' || targetUid !== this.room.userId || !this.own.silence()) return;
    this.tell(say('mutedBy', { name: nameOf(this.user(clean(userId, 64))) }));
  }

  #sendsChanged() {
    const { sends } = this.own;
    const now = JSON.stringify(sends);
    if (now !== this.#sends) {
      this.#sends = now;
      this.happens({ type: 'sends', sends });
    }
    this.media.draw();
    this.#draw();
  }

  /** Shows the pictures, or what is there instead. */
  #place() {
    const { isIn } = this.#view;
    const phase = isIn ? 'in' : 'out';
    if ($('room').dataset.phase === phase) return;
    $('room').dataset.phase = phase;
    $('tiles').hidden = !isIn;
    this.media.keepOwn();
    this.own.studio.isLive = isIn;
    this.room.signalling.comesBack = isIn;
    if (isIn) return;
    if (document.fullscreenElement) document.exitFullscreen().catch(() => {});
    if ($('conference-devices').open) $('conference-devices').close();
    this.owner.close(true);
  }

  #toggleLayout() {
    const { grid } = this.media;
    grid.isStage = !grid.isStage;
    announce(say(grid.isStage ? 'layoutIsStage' : 'layoutIsRows'));
    this.#draw();
  }

  async #second() {
    await this.media.second();
    this.#files.second(this.media.paths);
    this.happens({ type: 'time' });
    this.#view?.second();
  }

  // The view.

  #show() {
    if (!this.#view || $('room').dataset.screen !== 'conference') return;
    this.#header();
    this.#bar();
    write('conference-banner', this.#banner());
    write('conference-toast', performance.now() < this.#told.until ? this.#told.text : '');
    this.#view.draw();
    this.owner.draw();
    this.spotlight.draw();
    this.#recipients?.draw();
    this.#filesView.isOpen = this.#view.isIn;
    this.#breakouts.loaded?.draw();
  }

  #header() {
    const { room, info, own } = this;
    const { isIn, isRinging, subtitle, facts } = this.#view;
    const name = info.name || say('room', { id: room.roomId });
    write('room-title', name);
    write('room-teacher', subtitle || (info.name ? say('room', { id: room.roomId }) : ''));
    if (!isRinging) document.title = `${isIn ? '● ' : ''}${name} – classroom`;
    const { sends } = own;
    // Where there is no space for the header, the sentence stands on the pictures.
    for (const id of ['room-state', 'live-here']) {
      write(id, isIn ? say(liveKey(sends, Boolean(this.own.sources.secondCamera))) : '');
      $(id).classList.toggle('live-badge', sends.length > 0);
    }
    for (const kind of ['live', 'waiting', 'ended']) $('room-state').classList.remove(kind);
    write('room-watching', facts);
  }

  #bar() {
    const { grid } = this.media;
    label($('layout-toggle'), say(grid.isStage ? 'toRows' : 'toOneLarge'));
    setIcon($('layout-toggle'), grid.isStage ? 'i-grid' : 'i-large');
    for (const id of ['owner-open', 'menu-owner']) $(id).hidden = !this.isOwner;
    const words = say(this.state.kind === 'call' ? 'hangUp' : 'leaveMeeting');
    $('hangup').querySelector('.name').textContent = words;
    label($('hangup'), words);
  }

  /** One sentence: the worst trouble. */
  #banner() {
    if (!this.#view.isIn) return '';
    const { own } = this;
    const silent = this.#lostAt ? performance.now() - this.#lostAt : 0;
    if (silent > SILENT_MS) return say(navigator.onLine === false ? 'bannerOfflineHere' : 'bannerServerHere');
    if (own.studio.isUnheard) return say('speaksMuted');
    if (own.sends.includes('audio') && own.studio.isSilent) return say('silentMicrophone');
    return this.#view.banner;
  }
}

/** The key of the sentence about what is live. A second camera is sent in place of the screen. */
function liveKey(sends, hasSecondCamera) {
  const live = ['audio', 'camera', 'screen'].filter((role) => sends.includes(role)).join('');
  const key = hasSecondCamera ? live.replace('camerascreen', 'cameras').replace('screen', 'camera') : live;
  return key ? `live${key}` : 'liveNothing';
}

function write(id, text) {
  if ($(id).textContent !== text) $(id).textContent = text;
  if (id.startsWith('conference-')) $(id).hidden = !text;
}

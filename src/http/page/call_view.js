// A room for calls: whom to call, a call that rings, and a call that runs. The rules are in `call_rules.js`.

import { $, announce, bdi, el, icon, nameOf, tab } from './dom.js';
import { duration, hasWords, label, say } from './i18n.js';
import { isOwnId } from './identity.js';
import { CallChannel } from './talk_channel.js';
import { Ringing } from './ringing.js';
import { clock } from './studio.js';

const RUNNING = ['connecting', 'inCall', 'reconnecting'];
/** The time since its last second in a call in which a reloaded page goes on by itself. */
const RESUME_MS = 20_000;

export class CallView {
  #conference;
  #ringing;
  /** The chat of the call that runs. */
  #talk = null;
  /** Whether the devices are being opened for a call that begins or goes on. */
  #isOpening = false;
  /** Why the last call ended: `{ user, key, time, withCamera }`. */
  #last = null;
  #drawn = '';

  constructor(conference) {
    this.#conference = conference;
    this.#ringing = new Ringing({
      cancelled: () => this.#cancel(),
      accepted: (withCamera) => this.#accept(withCamera),
      declined: (reason) => conference.happens({ type: 'decline', reason }),
    });
    $('callees-link').textContent = conference.link;
    $('callees-link').href = conference.link;
    $('callees-problem').hidden = conference.own.isPossible;
    $('callees').hidden = false;
    conference.room.chat.invites = 'writeToOne';
  }

  /** Whether the pictures are shown. */
  get isIn() {
    return RUNNING.includes(this.#conference.state.phase);
  }

  get isRinging() {
    return this.#ringing.call?.way === 'in';
  }

  get subtitle() {
    const { state } = this.#conference;
    if (!this.isIn) return '';
    const name = nameOf(state.other);
    return say(state.startedAt ? 'inCallWith' : 'connectingTo', { name });
  }

  get facts() {
    const { state, room } = this.#conference;
    if (!this.isIn) return say('present', { n: room.people.students });
    return state.startedAt ? clock(Date.now() - state.startedAt) : '';
  }

  get banner() {
    return '';
  }

  /** The state is another one than `before`. */
  changed(before) {
    const { state, own } = this.#conference;
    const { phase, other } = state;
    const wasIn = RUNNING.includes(before.phase);
    if (phase !== before.phase) {
      if (phase === 'calling') this.#ringing.out(other, state.sends);
      else if (phase === 'ringing') this.#ringing.in(other, other.sends);
      else this.#ringing.stop();
      if (this.isIn && !wasIn) this.#begin();
      if (phase === 'ended') {
        // The server ends a call whose other one does not come back.
        const isLost = before.phase === 'reconnecting' && state.reason === 'hungUp';
        this.#ended(other, isLost ? 'endedlost' : keyOf(state), before.startedAt);
      }
      if (phase === 'idle' && wasIn) this.#ended(before.other, 'endedYou', before.startedAt);
      if (phase === 'idle' && before.phase === 'calling') this.#ended(before.other, 'whyCancelled', 0);
      if (phase === 'idle' && before.phase === 'ringing') this.#ended(before.other, 'whyYouDeclined', 0);
    }
    // A call may end while the browser still asks for the devices.
    if (['idle', 'ended'].includes(phase) && !this.#isOpening && own.isOpen) own.close();
    if (state.kept && !before.kept) this.#resume();
  }

  /** Text over the data channel. */
  message(userId, data) {
    if (userId === this.#conference.state.other?.userId && typeof data === 'string') this.#talk?.heard(data);
  }

  told() {
    // Everything that the server tells of calls is in the state.
  }

  leave() {
    this.#conference.happens({ type: 'hangUp' });
  }

  second() {
    const { state, own } = this.#conference;
    if (!this.isIn) return;
    tab.set(this.#key, {
      at: Date.now(),
      userId: state.other.userId,
      isMuted: own.sound.isMuted,
      hasCamera: Boolean(own.sources.camera),
    });
  }

  // Actions of the user.

  async #call(user, withCamera) {
    const { own, state } = this.#conference;
    if (!['idle', 'ended'].includes(state.phase) || this.#isOpening) return;
    Ringing.ask();
    this.#isOpening = true;
    this.#last = { user, withCamera };
    this.#ringing.out(user, withCamera ? ['audio', 'camera'] : ['audio']);
    await own.open(withCamera);
    // The person has cancelled while the browser asked for the devices.
    if (!this.#isOpening) return this.isIn || own.close();
    this.#isOpening = false;
    this.#conference.happens({ type: 'call', ...user, sends: own.sends });
  }

  #cancel() {
    if (this.#isOpening) {
      this.#isOpening = false;
      this.#ringing.stop();
      this.#conference.own.close();
      this.#ended(this.#last.user, 'whyCancelled', 0);
    } else this.#conference.happens({ type: 'hangUp' });
  }

  async #accept(withCamera) {
    const { own, room } = this.#conference;
    this.#last = { user: this.#ringing.call.user, withCamera };
    this.#ringing.stop();
    await own.open(withCamera);
    // The click is what the browser wants before it plays sound.
    room.layout.applyVolume();
    this.#conference.happens({ type: 'accept', sends: own.sends });
  }

  /** The page was loaded again during a call, and the other one waits. */
  async #resume() {
    const { own, state } = this.#conference;
    const kept = tab.get(this.#key);
    const isIt = Date.now() - kept?.at < RESUME_MS && kept.userId === state.kept.userId;
    if (!isIt) return;
    own.sound.isMuted = kept.isMuted === true;
    this.#isOpening = true;
    await own.open(kept.hasCamera === true);
    this.#isOpening = false;
    this.#conference.happens({ type: 'resume', sends: own.sends });
  }

  /** The key under which this tab remembers its call. */
  get #key() {
    return `call ${this.#conference.room.roomId}`;
  }

  // The way of a call.

  #begin() {
    const { room, media, state } = this.#conference;
    const me = this.#conference.user(room.userId);
    this.#talk = new CallChannel(me, state.other, media.pairTo(state.other.userId));
    this.#last = { withCamera: true, ...this.#last, user: state.other };
    room.chat.attach(this.#talk);
    announce(say('connectingTo', { name: nameOf(state.other) }));
  }

  #ended(user, key, startedAt) {
    this.#talk = null;
    tab.set(this.#key, null);
    this.#conference.room.chat.attach(null);
    const time = startedAt ? duration((Date.now() - startedAt) / 1_000) : '';
    this.#last = { withCamera: true, ...this.#last, user, key, time };
    announce(this.#words());
    this.draw();
    requestAnimationFrame(() => ($('call-again') ?? $('callees-title')).focus());
  }

  // The view.

  draw() {
    this.#talk?.look();
    $('callees').hidden = this.isIn;
    const { people, userId: me } = this.#conference.room;
    const others = people.all.filter(({ userId }) => userId !== me);
    const drawn = JSON.stringify([others, this.#last, this.#conference.info.owner, say('callUser')]);
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    const has = Boolean(this.#last?.key);
    $('last-call').hidden = !has;
    $('last-call-text').textContent = has ? this.#words() : '';
    $('callees-problem').textContent = say('insecureHere');
    $('callees-nobody').hidden = others.length > 0;
    $('callees-text').textContent = others.length > 0 ? say('calleesText') : '';
    const focused = document.activeElement?.dataset?.call;
    $('callees-list').replaceChildren(...others.map((user) => this.#callee(user)));
    const isHere = has && others.some(({ userId }) => userId === this.#last.user.userId);
    $('last-call-buttons').replaceChildren(...(isHere ? [this.#again()] : []));
    if (focused) document.querySelector(`[data-call="${CSS.escape(focused)}"]`)?.focus();
  }

  #words() {
    const { key, user, time } = this.#last;
    return [say(key, { name: nameOf(user) }), time && say('callLasted', { time })].filter(Boolean).join(' ');
  }

  #again() {
    const { user, withCamera } = this.#last;
    const again = button('primary', 'i-call', say('callAgain'), () => this.#call(user, withCamera));
    again.id = 'call-again';
    return again;
  }

  #callee(user) {
    const { userId, nickname } = user;
    const face = el('span', 'face', Array.from(nameOf(user))[0] ?? '');
    face.setAttribute('aria-hidden', 'true');
    const name = el('span', 'name', bdi(nameOf(user)));
    if (nickname && !isOwnId(userId)) name.append(bdi(userId, 'soft id'));
    if (userId === this.#conference.info.owner) name.append(el('span', 'badge', say('owner')));
    const video = button('primary', 'i-camera', say('callVideo'), () => this.#call({ userId, nickname }, true));
    const sound = button('', 'i-call', say('callSound'), () => this.#call({ userId, nickname }, false));
    video.dataset.call = `video ${userId}`;
    sound.dataset.call = `sound ${userId}`;
    label(video, say('callUser', { name: nameOf(user) }));
    label(sound, say('callUserSound', { name: nameOf(user) }));
    return el('li', 'callee', face, name, el('span', 'buttons', video, sound));
  }
}

/** The key of the sentence about why a call has ended. */
function keyOf({ reason, code }) {
  const keys = [`ended${reason}`, `ended${code}`].filter(hasWords);
  return reason === 'refused' ? (keys[1] ?? keys[0] ?? 'endedunknown') : (keys[0] ?? 'endedunknown');
}

function button(className, sign, words, onClick) {
  const made = el('button', className, icon(sign), el('span', 'word', words));
  made.type = 'button';
  made.addEventListener('click', onClick);
  return made;
}

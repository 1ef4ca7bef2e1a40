// A room for a meeting: what a person sees before it enters, in the meeting, and after it. `meeting_rules.js` has the
// rules.

import { $, announce, nameOf, tab } from './dom.js';
import { duration, hasWords, say } from './i18n.js';
import { Ringing } from './ringing.js';
import { SignallingChannel } from './talk_channel.js';
import { clock } from './studio.js';

/** The time since its last second in the meeting in which a reloaded page goes on by itself. */
const RESUME_MS = 20_000;
/** The names of those who are in the meeting already. */
const MOST_NAMES = 4;

export class MeetingView {
  #conference;
  #ringing;
  #talk;
  /** Whether the entrance is shown, and not what was after the last meeting. */
  #isAtEntrance = true;
  /** How the last meeting ended for this person: the key of the sentence, and for how long it was there. */
  #over = { key: 'leftMeeting', time: '' };

  constructor(conference) {
    this.#conference = conference;
    const { room } = conference;
    this.#talk = new SignallingChannel((message) => room.signalling.send(message));
    this.#ringing = new Ringing({
      cancelled() {},
      accepted: (withCamera) => this.#accept(withCamera),
      declined: (reason) => conference.happens({ type: 'decline', reason }),
    });
    room.chat.attach(this.#talk);
    $('entrance-form').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#enter();
    });
    $('enter-again').addEventListener('click', () => {
      this.#isAtEntrance = true;
      this.#prepare();
      $('entrance-title').focus();
    });
    $('alone-link').href = conference.link;
    const kept = tab.get(this.#key);
    if (Date.now() - kept?.at < RESUME_MS) this.#resume(kept);
    else this.#prepare();
  }

  /** Whether the pictures are shown. */
  get isIn() {
    return ['in', 'reconnecting'].includes(this.#conference.state.phase);
  }

  get isRinging() {
    return Boolean(this.#ringing.call);
  }

  get subtitle() {
    const n = this.#conference.state.participants.length;
    return n > 0 ? say('inTheMeeting', { n }) : '';
  }

  get facts() {
    const { state, room } = this.#conference;
    return this.isIn ? clock(Date.now() - state.startedAt) : say('present', { n: room.people.students });
  }

  get banner() {
    return this.isIn && this.#conference.info.isCalling ? say('isCalling') : '';
  }

  /** The state is another one than `before`. */
  changed(before) {
    const { state, own } = this.#conference;
    const { phase, other, moved } = state;
    if (other && !before.other) this.#ringing.in(other, other.sends, true);
    if (!other && before.other) this.#ringing.stop();
    if (this.isIn && before.phase === 'entering') {
      this.#isAtEntrance = true;
      announce(say('youAreIn'));
    }
    const wasIn = ['in', 'reconnecting', 'entering'].includes(before.phase);
    if (wasIn && phase === 'ended') {
      const key = state.reason === 'refused' ? `enter${state.code}` : `${state.reason}Meeting`;
      this.#finish(hasWords(`${key}Title`) ? key : 'refusedMeeting', before.startedAt);
    }
    if (wasIn && phase === 'outside') this.#finish('leftMeeting', before.startedAt);
    if (this.isIn && moved && moved !== before.moved) {
      const key = `moved${moved}`;
      this.#conference.tell(say(hasWords(key) ? key : 'movedunknown'));
    }
    if (!this.isIn && phase !== 'entering' && !this.#isAtEntrance && own.isOpen) own.close();
  }

  /** A message of the server that is not in the state. */
  told({ type, message }) {
    if (type === 'channel' && message && typeof message === 'object') this.#talk.heard(message);
  }

  message() {
    // In a meeting, the data channels carry nothing for this page.
  }

  leave() {
    this.#conference.happens({ type: 'leave' });
  }

  second() {
    const { own, state } = this.#conference;
    if (!this.isIn) return;
    const { isMuted } = own.sound;
    tab.set(this.#key, { at: Date.now(), startedAt: state.startedAt, isMuted, hasCamera: Boolean(own.sources.camera) });
  }

  // Actions of the user.

  async #prepare() {
    this.draw();
    await this.#conference.own.open(true);
    this.#conference.draw();
  }

  async #resume({ isMuted, hasCamera }) {
    const { own } = this.#conference;
    own.sound.isMuted = isMuted === true;
    await own.open(hasCamera === true);
    this.#conference.happens({ type: 'enter', sends: own.sends });
  }

  #enter() {
    Ringing.ask();
    // The click is what the browser wants before it plays sound.
    this.#conference.room.layout.applyVolume();
    this.#conference.happens({ type: 'enter', sends: this.#conference.own.sends });
  }

  async #accept(withCamera) {
    const { own, room } = this.#conference;
    this.#ringing.stop();
    const { sources } = own;
    if (!withCamera && sources.camera) sources.close('camera');
    const has = sources.microphone && (!withCamera || sources.camera);
    if (!has) await own.open(withCamera);
    room.layout.applyVolume();
    this.#conference.happens({ type: 'accept', sends: own.sends });
  }

  /** The key under which this tab remembers that it takes part. */
  get #key() {
    return `meeting ${this.#conference.room.roomId}`;
  }

  #finish(key, startedAt) {
    this.#over = { key, time: startedAt ? duration((Date.now() - startedAt) / 1_000) : '' };
    this.#isAtEntrance = false;
    tab.set(this.#key, null);
    this.draw();
    requestAnimationFrame(() => $('meeting-over').focus());
  }

  // The view.

  draw() {
    const { own, info, room, state } = this.#conference;
    const { participants } = state;
    const n = participants.length;
    $('entrance').hidden = this.isIn || !this.#isAtEntrance;
    $('meeting-over').hidden = this.isIn || this.#isAtEntrance;
    $('alone').hidden = !(this.isIn && n === 1);
    if ($('alone-link').textContent !== this.#conference.link) $('alone-link').textContent = this.#conference.link;
    write('entrance-title', info.name || say('room', { id: room.roomId }));
    const names = participants.slice(0, MOST_NAMES).map(nameOf).join(', ');
    const more = n > MOST_NAMES ? ` ${say('andMore', { n: n - MOST_NAMES })}` : '';
    write('entrance-who', n === 0 ? say('nobodyInYet') : `${say('inAlready', { names })}${more}`);
    const { sends } = own;
    const has = (role) => sends.includes(role);
    const what = has('audio') ? (has('camera') ? 'Both' : 'Sound') : sends.length > 0 ? 'Camera' : 'None';
    write('entrance-sends', say(`enter${what}`));
    write('entrance-problem', own.isPossible ? '' : say('insecureHere'));
    $('entrance-problem').hidden = own.isPossible;
    $('enter-meeting').setAttribute('aria-busy', state.phase === 'entering');
    write('meeting-over-title', say(`${this.#over.key}Title`));
    write('meeting-over-text', this.#over.time ? say('meetingLasted', { time: this.#over.time }) : '');
  }
}

function write(id, text) {
  if ($(id).textContent !== text) $(id).textContent = text;
}

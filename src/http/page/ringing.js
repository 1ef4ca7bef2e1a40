// A call that rings: the dialogs, the sound, the title and the notification, for the caller and for the callee.

import { $, announce, nameOf } from './dom.js';
import { onLanguage, say } from './i18n.js';
import { RingTone } from './ring_tone.js';

/** How often the title of the window changes while a call comes in. */
const TITLE_MS = 1_000;

export class Ringing {
  #on;
  #tone = new RingTone();
  #title = 0;
  #usualTitle = '';
  #notification = null;
  /** `{ way, user, since, isForAll }` of the call that rings; `way` is `in` or `out`. */
  #call = null;

  /**
   * `on` has `cancelled()` for the caller, and for the callee `accepted(withCamera)` and `declined(reason)`, a
   * `DeclineReason` of the protocol.
   */
  constructor(on) {
    this.#on = on;
    $('ring-cancel').addEventListener('click', () => on.cancelled());
    $('ring-accept').addEventListener('click', () => on.accepted(true));
    $('ring-accept-sound').addEventListener('click', () => on.accepted(false));
    $('ring-decline').addEventListener('click', () => on.declined('declined'));
    $('ring-busy').addEventListener('click', () => on.declined('busy'));
    $('ring-in').addEventListener('cancel', (event) => {
      event.preventDefault();
      on.declined('declined');
    });
    $('ring-out').addEventListener('cancel', (event) => {
      event.preventDefault();
      on.cancelled();
    });
    onLanguage(() => this.#words());
  }

  /** The call that rings, or `null`. */
  get call() {
    return this.#call;
  }

  /** Calls a user; `sends` are the tracks that this person will send. */
  out(user, sends) {
    this.stop();
    this.#call = { way: 'out', user, sends };
    this.#words();
    $('ring-out').showModal();
    $('ring-cancel').focus();
    this.#tone.start('out');
  }

  /** A user calls; `isForAll` if it is the owner of a meeting, who calls everybody. */
  in(user, sends, isForAll = false) {
    this.stop();
    this.#call = { way: 'in', user, sends, isForAll };
    this.#words();
    $('ring-in').showModal();
    // A key that was meant for another element must not answer.
    $('ring-in-title').focus();
    this.#tone.start('in');
    this.#blink();
    this.#notify();
    announce($('ring-in-title').textContent);
  }

  /** The call does not ring any more. */
  stop() {
    this.#tone.stop();
    for (const id of ['ring-out', 'ring-in']) if ($(id).open) $(id).close();
    clearInterval(this.#title);
    if (this.#call?.way === 'in') document.title = this.#usualTitle;
    this.#notification?.close();
    this.#notification = null;
    this.#call = null;
  }

  /** Asks whether this page may show notifications; to be called after a click. */
  static ask() {
    if (globalThis.Notification?.permission === 'default') Notification.requestPermission().catch(() => {});
  }

  #words() {
    if (!this.#call) return;
    const { way, user, sends, isForAll } = this.#call;
    const name = nameOf(user);
    const has = sends.includes('camera') ? 'Both' : 'Sound';
    const initial = Array.from(name)[0] ?? '';
    if (way === 'out') {
      $('ring-out-face').textContent = initial;
      $('ring-out-title').textContent = say('callingTitle', { name });
      $('ring-out-text').textContent = say(`calling${has}`);
    } else {
      $('ring-in-face').textContent = initial;
      $('ring-in-title').textContent = say(isForAll ? 'calledToMeeting' : 'calledTitle', { name });
      $('ring-in-text').textContent = say(isForAll ? 'calledToMeetingText' : `called${has}`, { name });
    }
  }

  /** The title of the window changes, so that it is noticed in another tab. */
  #blink() {
    this.#usualTitle = document.title;
    let isOn = false;
    const next = () => {
      isOn = !isOn;
      document.title = isOn ? `☎ ${$('ring-in-title').textContent}` : this.#usualTitle;
    };
    next();
    clearInterval(this.#title);
    this.#title = setInterval(next, TITLE_MS);
  }

  #notify() {
    if (!document.hidden || globalThis.Notification?.permission !== 'granted') return;
    try {
      const options = { tag: 'classroom-call', requireInteraction: true };
      this.#notification = new Notification($('ring-in-title').textContent, options);
      this.#notification.onclick = () => {
        globalThis.focus();
        this.#notification?.close();
      };
    } catch {
      // Chromium on Android shows notifications only from a service worker; the sound and the title remain.
    }
  }
}

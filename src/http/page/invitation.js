// The invitation to the stage: a dialog with a preview of what the class would see and hear, and the time to answer.

import { $, nameOf } from './dom.js';
import { onLanguage, say } from './i18n.js';

/** The dialog stays this long after its time, for the message that ends it. */
const GRACE_MS = 2_000;

export class Invitation {
  #speaker;
  #on;
  #until = 0;
  #timer = 0;
  #isAsked = false;

  /**
   * `speaker` has `sources` and `studio`, `teacher`, the user who invites, or `null`, and `isFloor`. `on` has
   * `answered(accepted, why)` for an answer of the student, and `closed()` for every other end.
   */
  constructor(speaker, on) {
    this.#speaker = speaker;
    this.#on = on;
    $('accept').addEventListener('click', () => this.#answer(true));
    $('decline').addEventListener('click', () => this.#answer(false));
    $('invitation').addEventListener('cancel', (event) => {
      event.preventDefault();
      this.#answer(false);
    });
    onLanguage(() => this.draw());
  }

  get isOpen() {
    return $('invitation').open;
  }

  /** Asks the student, who has `withinMs` to answer. */
  async open(withinMs) {
    this.#until = Date.now() + withinMs;
    clearInterval(this.#timer);
    this.#timer = setInterval(() => this.#second(), 1_000);
    if (!this.isOpen) {
      this.#isAsked = false;
      $('invitation').showModal();
      // A key that was meant for the chat must not answer.
      $('invitation-title').focus();
      this.draw();
      if (navigator.mediaDevices) await this.#speaker.sources.openBoth();
      this.#isAsked = true;
    }
    this.draw();
  }

  /** Closes the dialog without an answer. */
  close() {
    clearInterval(this.#timer);
    if (this.isOpen) $('invitation').close();
  }

  /** Shows what can be sent, and the time that is left. */
  draw() {
    if (!this.isOpen) return;
    const { sources, teacher, isFloor } = this.#speaker;
    const hasMedia = Boolean(sources.microphone || sources.camera || sources.screen);
    const name = teacher ? nameOf(teacher) : say('teacher');
    $('invitation-title').textContent = isFloor ? say('floorTitle') : say('invitationTitle', { name });
    $('accept').disabled = !hasMedia;
    const problem = !navigator.mediaDevices ? 'stageInsecure' : this.#isAsked && !hasMedia ? 'nothingToSend' : '';
    $('invitation-problem').hidden = !problem;
    $('invitation-problem').textContent = problem && say(problem);
    const left = Math.max(0, Math.ceil((this.#until - Date.now()) / 1_000));
    $('invitation-left').textContent = say('timeToAnswer', { n: left });
  }

  #second() {
    if (Date.now() < this.#until + GRACE_MS) return this.draw();
    this.close();
    this.#on.closed();
  }

  #answer(accepted) {
    const { sources } = this.#speaker;
    const hasDevice = !this.#isAsked || Boolean(sources.microphone || sources.camera || sources.screen);
    this.close();
    this.#on.answered(accepted, !accepted && !hasDevice ? 'noDevice' : undefined);
  }
}

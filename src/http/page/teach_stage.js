// The stage on a teacher's page: the pictures and the sound of the speakers, and the orders about them.

import { $, announce, nameOf, onFrame, store } from './dom.js';
import { say } from './i18n.js';
import { DeviceInvitation } from './device_invitation.js';
import { KeptButtons } from './kept_buttons.js';
import { Stage } from './stage.js';
import { Tiles, prepareTiles } from './tiles.js';

export const prepareStage = prepareTiles;

export class TeacherStage {
  #teacher;
  #stage;
  #tiles;
  #phone;
  /** The buttons on the pictures. */
  #buttons = new KeptButtons();
  /** The elements whose sound the browser holds back until a click. */
  #refused = new Set();
  #isAway = false;
  #draw = onFrame(() => this.#show());

  /**
   * `teacher` has `signalling`, `iceServers`, `userId`, `order`, `invite`, and `tell(text)` for a message to
   * the person.
   */
  constructor(teacher) {
    this.#teacher = teacher;
    this.#tiles = new Tiles($('on-air'), { changed: ({ sounds }) => this.#play(sounds) });
    this.#tiles.actionsFor = (speaker) => this.#buttonsFor(speaker);
    this.#stage = new Stage({
      get signalling() {
        return teacher.signalling;
      },
      get iceServers() {
        return teacher.iceServers;
      },
      get userId() {
        return teacher.userId;
      },
      changed: () => this.#draw(),
    });
    this.#phone = new DeviceInvitation(teacher);
    const loudness = $('stage-volume');
    loudness.value = store.get('volume', 100);
    loudness.addEventListener('input', () => {
      store.set('volume', Number(loudness.value));
      this.#play(this.#tiles.sounds);
    });
    for (const event of ['pointerdown', 'keydown']) {
      document.addEventListener(event, () => this.#refused.size > 0 && this.#play(this.#tiles.sounds));
    }
  }

  /** A message of the data channel. */
  told(message) {
    if (message.type === 'welcome') this.#stage.welcomed();
    if (message.type === 'stage') this.#staged(message);
    if (message.type === 'stageEnded' && !this.#phone.owns(message.userId)) {
      const text = this.#teacher.order.stageEnded(message);
      if (text) this.#teacher.tell(text);
    }
  }

  /** An answer, a candidate or a hangup that comes from another user. */
  signalled(message) {
    this.#stage.signalled(message);
  }

  /** An error of signalling. Returns whether it concerns a speaker. */
  failed(error) {
    return this.#stage.failed(error);
  }

  /** Signalling works; `isAgain` after a path that was dead. */
  ponged(isAgain) {
    if (isAgain) this.#stage.mend();
    else this.#stage.offerNow();
  }

  /** Clients wait in the lobby. This teacher's own devices get in. */
  waiting(users) {
    this.#phone.waiting(users);
  }

  /** Whether the teacher is in a breakout room, where the class is not heard. */
  set isAway(isAway) {
    this.#isAway = isAway;
    this.#play(this.#tiles.sounds);
  }

  /** Opens the invitation of a phone. */
  invitePhone() {
    this.#phone.open();
  }

  /** To be called once a second. */
  async second() {
    this.#phone.second();
    await this.#stage.second();
  }

  /** The lecture is over. */
  end() {
    this.#stage.clear();
  }

  #staged(message) {
    const before = new Map(this.#stage.speakers.map((speaker) => [speaker.userId, speaker]));
    this.#stage.told(message);
    this.#teacher.order.staged(message);
    for (const speaker of this.#stage.speakers) {
      if (before.delete(speaker.userId)) continue;
      announce(say('cameToStage', { name: nameOf(speaker) }));
      this.#headphones(speaker);
    }
    for (const speaker of before.values()) announce(say('leftStage', { name: nameOf(speaker) }));
    this.#phone.second();
  }

  /** Says once that loudspeakers may be heard again by the microphone. */
  #headphones({ userId, tracks, silent }) {
    const isHeard = tracks.includes('audio') && !silent.includes('audio');
    if (!isHeard || this.#phone.owns(userId) || store.get('headphones', false)) return;
    store.set('headphones', true);
    this.#teacher.tell(say('useHeadphones'));
  }

  #show() {
    const { speakers, spotlight, most, isOpen, invited } = this.#stage;
    this.#tiles.show(speakers, spotlight);
    this.#teacher.order.stage.show({ speakers, spotlight, most, isOpen, invited });
    this.#buttons.keep(speakers.map(({ userId }) => userId));
    $('stage-volume-part').hidden = most === 0;
    $('phone').hidden = most === 0;
  }

  #buttonsFor(speaker) {
    const key = JSON.stringify([nameOf(speaker), this.#stage.spotlight === speaker.userId, say('offStage')]);
    return this.#buttons.of(speaker.userId, key, () => this.#teacher.order.stage.pictureButtons(speaker));
  }

  async #play(sounds) {
    this.#refused.clear();
    for (const sound of sounds) {
      sound.volume = store.get('volume', 100) / 100;
      sound.muted = this.#isAway;
      try {
        await sound.play();
      } catch (error) {
        if (error.name === 'NotAllowedError') this.#refused.add(sound);
      }
    }
  }
}

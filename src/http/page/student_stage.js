// The stage on a student's page: the tiles of the speakers, and this student's own part once it is invited.

import { $, Part, announce, nameOf, onFrame } from './dom.js';
import { say } from './i18n.js';
import { Stage } from './stage.js';
import { Tiles, prepareTiles } from './tiles.js';

/** Makes the stage of a room: what `Room` has. */
export async function startStage(room) {
  await prepareTiles();
  return new StudentStage(room);
}

class StudentStage {
  #room;
  #stage;
  #tiles;
  /** What only a student who is invited needs. */
  #speaker = new Part(async () => {
    const { startSpeaker } = await import('./speaker.js');
    return startSpeaker(this.#room, () => this.#draw());
  });
  #draw = onFrame(() => this.#show());

  constructor(room) {
    this.#room = room;
    this.#tiles = new Tiles($('pictures'), { changed: (tiles) => room.layout.beside(tiles) });
    this.#stage = new Stage({
      get signalling() {
        return room.signalling;
      },
      get iceServers() {
        return room.iceServers;
      },
      get userId() {
        return room.userId;
      },
      changed: () => this.#draw(),
    });
  }

  /** A message of the data channel: `welcome`, `stage`, `invited` or `offStage`. */
  told(message) {
    if (message.type === 'welcome') this.#stage.welcomed();
    if (message.type === 'stage') this.#staged(message);
    if (message.type === 'invited') {
      this.#speaker.tell('invited', { ...message, isFloor: this.#stage.isOpen });
      this.#speaker.need();
    }
    if (message.type === 'offStage') this.#speaker.loaded?.ended(String(message.reason));
  }

  /** An answer, a candidate or a hangup that does not come from the teacher. */
  signalled(message) {
    if (message.userId === this.#room.userId) this.#speaker.loaded?.signalled(message);
    else this.#stage.signalled(message);
  }

  /** An error of signalling. Returns whether it concerns the stage, as far as one can know. */
  failed(error) {
    const isOwn = this.#speaker.loaded?.failed(error) ?? false;
    return this.#stage.failed(error) || isOwn;
  }

  /** Signalling works; `isAgain` after a path that was dead. */
  ponged(isAgain) {
    for (const part of [this.#stage, this.#speaker.loaded]) {
      if (isAgain) part?.mend();
      else part?.offerNow();
    }
  }

  /** To be called once a second. */
  async second() {
    await Promise.all([this.#stage.second(), this.#speaker.loaded?.second()]);
  }

  /** The lecture has no media any more. */
  end() {
    this.#stage.clear();
    this.#speaker.loaded?.end();
  }

  #staged(message) {
    const before = new Map(this.#stage.speakers.map((speaker) => [speaker.userId, speaker]));
    const wasOpen = this.#stage.isOpen;
    this.#stage.told(message);
    const { isOpen } = this.#stage;
    if (isOpen !== wasOpen) announce(say(isOpen ? 'floorOpen' : 'floorClosed'));
    const others = this.#stage.speakers.filter(({ isMe }) => !isMe);
    for (const speaker of others) if (!before.delete(speaker.userId)) tell('cameToStage', speaker);
    before.delete(this.#room.userId);
    for (const speaker of before.values()) tell('leftStage', speaker);
    // After a reload of this page, the student still speaks.
    const me = this.#stage.speaker(this.#room.userId);
    if (me) this.#speaker.need();
    if (me || this.#speaker.loaded) this.#speaker.tell('listed', me ?? null);
  }

  #show() {
    const { isOpen } = this.#stage;
    $('hand').classList.toggle('floor-open', isOpen);
    this.#room.controls.handWords = isOpen ? 'speak' : null;
    this.#room.controls.hand();
    const own = this.#speaker.loaded?.own;
    const speakers = this.#stage.speakers.map((speaker) => (speaker.isMe ? { ...speaker, own } : speaker));
    this.#tiles.show(speakers, this.#stage.spotlight);
  }
}

const tell = (key, speaker) => announce(say(key, { name: nameOf(speaker) }));

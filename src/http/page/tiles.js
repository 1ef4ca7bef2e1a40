// The pictures of the speakers, in a row beside that of the lecture. One of them may be large, and the lecture small.

import { addStyle, el, nameOf } from './dom.js';
import { addWords, label, onLanguage, say } from './i18n.js';
import { Pin } from './pin.js';
import { Tile, pinButton } from './tile.js';

/** A pin of the lecture, which is small while a speaker is large for everybody. No user has this id. */
const LECTURE = '';
const WORDS = { en: './stage_english.js', zh: './stage_chinese.js' };

/** Loads the words and the style of the tiles; to be awaited before the first tile is made. */
export const prepareTiles = () => Promise.all([addWords(WORDS), addStyle('./stage.css')]);

export class Tiles {
  /** Elements for more actions on a speaker, such as those of a teacher: `actionsFor(speaker)` makes them. */
  actionsFor = () => [];
  #main;
  #on;
  #tiles = new Map();
  #speakers = [];
  #spotlight = null;
  /** The user whom this person wants large, or `LECTURE`; without a pin, the teacher decides. */
  #pin = new Pin(() => this.#draw());
  #lectureButton = pinButton();
  #lectureName = el('p', 'tile-name');

  /**
   * `main` is the element with the lecture, in a stage; the tiles are put beside it. `on` has `changed(tiles)` for
   * another large picture or other sounds.
   */
  constructor(main, on) {
    this.#main = main;
    this.#on = on;
    this.#lectureButton.classList.add('lecture-pin');
    this.#lectureButton.addEventListener('click', () => this.pin(LECTURE));
    main.classList.add('beside-tiles');
    main.append(this.#lectureName, this.#lectureButton);
    main.addEventListener('dblclick', () => this.large !== null && this.pin(LECTURE));
    onLanguage(() => this.#draw());
  }

  /**
   * Shows these speakers, as `Stage` has them. `spotlight` is the user who is large for everybody. A speaker that is
   * this user has an element `own` with its own picture.
   */
  show(speakers, spotlight) {
    const before = new Set(this.#tiles.keys());
    this.#speakers = speakers;
    this.#spotlight = spotlight;
    for (const { userId } of speakers) {
      if (before.delete(userId)) continue;
      const tile = new Tile(() => this.pin(userId));
      this.#tiles.set(userId, tile);
      this.#main.parentElement.append(tile.element);
    }
    for (const userId of before) {
      this.#tiles.get(userId).remove();
      this.#tiles.delete(userId);
      this.#pin.forget(userId);
    }
    this.#draw();
  }

  /** Makes the picture of a user large for this person, or, if it is that already, leaves that to the teacher. */
  pin(userId) {
    this.#pin.toggle(userId, this.#speakers.find((one) => one.userId === userId));
  }

  /** The user whose picture is large; `null` for the lecture. Nobody sees itself large. */
  get large() {
    const wanted = this.#pin.now ?? this.#spotlight;
    const speaker = this.#speakers.find(({ userId }) => userId === wanted);
    return speaker && !speaker.isMe ? wanted : null;
  }

  /** The large video of a speaker; `null` while the lecture is large. */
  get video() {
    return this.#tiles.get(this.large)?.video ?? null;
  }

  /** The elements that play sound. */
  get sounds() {
    return [...this.#tiles.values()].filter((tile) => tile.hasSound).map((tile) => tile.audio);
  }

  #draw() {
    const { large } = this;
    const area = this.#main.parentElement;
    const small = this.#speakers.filter(({ userId }) => userId !== large);
    area.classList.toggle('has-speakers', this.#speakers.length > 0);
    area.style.setProperty('--tiles', small.length + (large === null ? 0 : 1));
    this.#main.classList.toggle('as-tile', large !== null);
    for (const one of [this.#lectureButton, this.#lectureName]) one.hidden = large === null;
    this.#lectureName.textContent = say('lecture');
    label(this.#lectureButton, say('pinLecture'));
    // The lecture comes first in the row.
    const first = large === null ? 0 : 1;
    for (const speaker of this.#speakers) {
      const place = speaker.userId === large ? null : first + small.indexOf(speaker);
      const isPinned = this.#pin.now === speaker.userId;
      const tile = this.#tiles.get(speaker.userId);
      const trouble = speaker.isLost ? say('speakerLost', { name: nameOf(speaker) }) : '';
      tile.show({ ...speaker, trouble }, { place, isPinned, isSpotlight: speaker.userId === this.#spotlight });
      tile.actions(this.actionsFor(speaker));
    }
    this.#on.changed(this);
  }
}

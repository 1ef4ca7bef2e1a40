// The breakout rooms of a lecture on the teacher's page, which visits them with what it sends to the class.

import { $, store } from './dom.js';
import { startVisits } from './lecture_breakouts.js';
import { SentTracks } from './own_tracks.js';

/** Makes the part; `teacher` is the page of a teacher. */
export const startBreakouts = (teacher) => startVisits(new Visitor(teacher));

/** The teacher as a participant of a breakout room. */
class Visitor {
  isTeacher = true;
  own;
  /** What the part needs of a student's room: the teacher's page has the same. */
  room;

  constructor(teacher) {
    this.room = teacher;
    this.own = new TeacherMedia(teacher);
  }

  get volume() {
    return store.get('volume', 100);
  }

  /** The teacher visits a breakout room now, or is back. */
  away(isAway) {
    this.room.isVisiting = isAway;
  }
}

/** What the teacher sends to those in a breakout room: the same as to the class. */
class TeacherMedia extends SentTracks {
  #teacher;

  constructor(teacher) {
    super();
    this.#teacher = teacher;
  }

  get preview() {
    return $('live-preview');
  }

  /** Puts the own picture back into the place where the class is shown. */
  putAway() {
    if (this.preview.parentElement !== $('on-air')) $('on-air').prepend(this.preview);
  }

  get sources() {
    return this.#teacher.sources;
  }

  get sound() {
    return this.#teacher.sound;
  }
}

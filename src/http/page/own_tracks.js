// The microphone, camera and screen that this person sends to other participants.

import { say } from './i18n.js';
import { Sound } from './sound.js';
import { Sources } from './sources.js';

const ROLES = ['audio', 'screen', 'camera'];
/** A voice is louder than this, in the scale of `Sound.level`. */
const VOICE = 0.45;

/** What is sent of `sources` and `sound`, which a subclass has. */
export class SentTracks {
  /** The tracks to send, `{ audio, screen, camera }`. A microphone that is off sends nothing, so others see that. */
  get tracks() {
    const { screen, camera, tabSound } = this.sources;
    const audio = this.sound.isMuted && !tabSound ? null : this.sound.track;
    return { audio, screen, camera };
  }

  /** The names of the tracks that are sent. */
  get sends() {
    const { tracks } = this;
    return ROLES.filter((role) => tracks[role]);
  }

  /** Whether this person speaks, as far as others hear it. */
  get isSpeaking() {
    return !this.sound.isMuted && (this.sound.level() ?? 0) > VOICE;
  }
}

/** The same with devices of its own. A subclass has `draw()`. */
export class OwnTracks extends SentTracks {
  sound = new Sound();
  sources;

  /** `changed(kind)` is called as by `Sources`, `told(text)` for what a person has to know. */
  constructor({ changed, told }) {
    super();
    this.sources = new Sources({ changed, told: (key, values) => told(say(key, values)) });
  }

  /** Nothing is sent any more. */
  close() {
    this.sources.closeAll();
    this.sound.use(null, null);
    this.sound.isMuted = false;
    this.draw();
  }
}

// What one person has made large for itself, until it wants that no more or presses Escape.

import { announce, nameOf } from './dom.js';
import { say } from './i18n.js';

export class Pin {
  #now = null;
  #changed;

  /** `changed()` is called when something else is large. */
  constructor(changed) {
    this.#changed = changed;
    document.addEventListener('keydown', (event) => {
      const isBusy = event.defaultPrevented || document.querySelector('dialog[open], [aria-expanded=true]');
      if (event.key === 'Escape' && !isBusy && this.#now !== null) this.toggle(this.#now);
    });
  }

  /** The id of what is large; `null` without a pin. */
  get now() {
    return this.#now;
  }

  /** Makes the picture with this id large, or, if it is that already, no longer so. `user` is who is in it. */
  toggle(id, user = null) {
    this.#now = this.#now === id ? null : id;
    announce(this.#now !== null && user ? say('isLarge', { name: nameOf(user) }) : '');
    this.#changed();
  }

  /** The picture with this id is not there any more. */
  forget(id) {
    if (this.#now === id) this.#now = null;
  }
}

// Chat that flies over the video, for those who want it, and reactions that rise. Both are bounded, and chat stays at
// the top of the video; the excess is dropped.

import { $, el, icon, nameOf, store } from './dom.js';

const MOST_FLYING = 30;
const MOST_RISING = 20;
const MOST_CHARS = 80;
/** The share of the video, from the top, that chat may cover. */
const TOP_SHARE = 0.2;
/** The same for all lines, so that two in a lane meet only if the later one is much longer. */
const FLIGHT_MS = 9_000;

const calm = matchMedia('(prefers-reduced-motion: reduce)');

export class Danmaku {
  /** Whether this student wants it. */
  isWanted = store.get('danmaku', false);
  /** Whether the teacher allows it. */
  isAllowed = true;
  #videoBox;
  /** When the start of each lane is free again. */
  #free = [];

  /** `videoBox()` returns the position of the large video in its area. */
  constructor(videoBox) {
    this.#videoBox = videoBox;
  }

  get isOn() {
    return this.isWanted && this.isAllowed;
  }

  toggle() {
    this.isWanted = !this.isWanted;
    store.set('danmaku', this.isWanted);
    if (!this.isOn) this.clear();
  }

  allow(isAllowed) {
    this.isAllowed = isAllowed;
    if (!this.isOn) this.clear();
  }

  /** Removes what flies. */
  clear() {
    $('danmaku').replaceChildren();
    this.#free = [];
  }

  /** Lets a line of chat fly. */
  fly(line) {
    const sky = $('danmaku');
    if (!this.isOn || document.hidden || sky.childElementCount >= MOST_FLYING || !sky.clientWidth) return;
    const text = Array.from(line.text);
    const shown = text.slice(0, MOST_CHARS).join('') + (text.length > MOST_CHARS ? '…' : '');
    const flyer = el('bdi', line.isTeacher ? 'teacher' : '', shown);
    sky.append(flyer);
    const height = flyer.offsetHeight;
    const width = flyer.offsetWidth;
    const way = sky.clientWidth + width;
    const now = performance.now();
    const { top, height: whole } = this.#videoBox();
    // The free area above the video is used too.
    const lanes = Math.max(1, Math.floor((top + whole * TOP_SHARE) / height));
    const lane = Array.from({ length: lanes }, (_, n) => n).find((n) => (this.#free[n] ?? 0) <= now);
    if (lane === undefined) return flyer.remove();
    // The lane is free when the end of the line has entered, plus a gap.
    this.#free[lane] = now + (FLIGHT_MS * (width + 40)) / way;
    flyer.style.top = `${lane * height}px`;
    const at = (x) => ({ transform: `translateX(${x}px)` });
    const flight = flyer.animate([at(sky.clientWidth), at(-width)], FLIGHT_MS);
    flight.onfinish = () => flyer.remove();
    flight.oncancel = () => flyer.remove();
  }

  /** Lets a reaction rise. */
  rise(reaction) {
    const sky = $('reactions');
    if (document.hidden || sky.childElementCount >= MOST_RISING) return;
    const name = el('bdi', '', nameOf(reaction));
    const riser = el('span', `rising ${reaction.reaction}`, icon(`r-${reaction.reaction}`), name);
    riser.style.insetInlineStart = `${4 + Math.random() * 22}%`;
    sky.append(riser);
    const still = [{ opacity: 1 }, { opacity: 1, offset: 0.8 }, { opacity: 0 }];
    const up = [
      { transform: 'translateY(0) scale(.6)', opacity: 0 },
      { transform: 'translateY(-10%) scale(1)', opacity: 1, offset: 0.1 },
      { transform: 'translateY(-220%)', opacity: 1, offset: 0.7 },
      { transform: 'translateY(-320%)', opacity: 0 },
    ];
    riser.animate(calm.matches ? still : up, { duration: 3_500, easing: 'ease-out' }).onfinish = () => riser.remove();
  }
}

// What flies over the picture: chat for those who want it, and reactions that rise. Both are bounded, and chat keeps to
// the top of the picture; what is too much is left out.

import { $, el, icon, nameOf, store } from './dom.js';

const MOST_FLYING = 30;
const MOST_RISING = 20;
const MOST_CHARS = 80;
/** The share of the picture, from its upper edge, that lines may cover. */
const TOP_SHARE = 0.2;
/** The same time for all, so that two in a lane never meet unless the later one is much longer. */
const FLIGHT_MS = 9_000;

const calm = matchMedia('(prefers-reduced-motion: reduce)');

export class Danmaku {
  /** Whether this student wants it. */
  isWanted = store.get('danmaku', false);
  /** Whether the teacher allows it. */
  isAllowed = true;
  #videoBox;
  /** When each lane has room at its beginning again. */
  #free = [];

  /** `videoBox()` says where the large video stands in its area. */
  constructor(videoBox) {
    this.#videoBox = videoBox;
  }

  get isOn() {
    return this.isWanted && this.isAllowed;
  }

  toggle() {
    this.isWanted = !this.isWanted;
    store.set('danmaku', this.isWanted);
    if (!this.isOn) this.#clear();
  }

  allow(isAllowed) {
    this.isAllowed = isAllowed;
    if (!this.isOn) this.#clear();
  }

  #clear() {
    $('danmaku').replaceChildren();
    this.#free = [];
  }

  /** Lets a line of chat fly. */
  fly(line) {
    const sky = $('danmaku');
    if (!this.isOn || document.hidden || sky.childElementCount >= MOST_FLYING || !sky.clientWidth) return;
    const text = Array.from(line.text);
    const flyer = el('bdi', line.isTeacher ? 'teacher' : '', text.slice(0, MOST_CHARS).join(''), text.length > MOST_CHARS ? '…' : '');
    sky.append(flyer);
    const height = flyer.offsetHeight;
    const width = flyer.offsetWidth;
    const way = sky.clientWidth + width;
    const now = performance.now();
    const { top, height: whole } = this.#videoBox();
    // What is free above the picture is used, too.
    const lanes = Math.max(1, Math.floor((top + whole * TOP_SHARE) / height));
    const lane = Array.from({ length: lanes }, (_, n) => n).find((n) => (this.#free[n] ?? 0) <= now);
    if (lane === undefined) return flyer.remove();
    // Free when its end has come in, with a little distance.
    this.#free[lane] = now + (FLIGHT_MS * (width + 40)) / way;
    flyer.style.top = `${lane * height}px`;
    const flight = flyer.animate([{ transform: `translateX(${sky.clientWidth}px)` }, { transform: `translateX(${-width}px)` }], FLIGHT_MS);
    flight.onfinish = () => flyer.remove();
    flight.oncancel = () => flyer.remove();
  }

  /** Lets a reaction rise. */
  rise(reaction) {
    const sky = $('reactions');
    if (document.hidden || sky.childElementCount >= MOST_RISING) return;
    const riser = el('span', `rising ${reaction.reaction}`, icon(`r-${reaction.reaction}`), el('bdi', '', nameOf(reaction)));
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

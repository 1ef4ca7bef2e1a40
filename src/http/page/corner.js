// Chooses the corner of the large video where the small one hides the least, from the pixels of the large video.

/** The size to which a frame is reduced before reading it: letters still show. */
const ACROSS = 160;
const DOWN = 90;
/** Pixels that differ by less, of 255, count as equal: noise, a gradient, the lines of squared paper. */
const ALIKE = 8;
/**
 * To move, the new corner must show less than this share of the old one, and less by this amount: noise moves nothing.
 */
const CLEARLY = 0.5;
const LEAST = 1;
/** How long a corner must be better before the small video moves there, and how long it must have stood. */
const SETTLED_MS = 5_000;
const REST_MS = 20_000;

/** The corners as positions from 0 to 1. Of equal corners the first wins. */
export const CORNERS = [
  { x: 1, y: 1 },
  { x: 1, y: 0 },
  { x: 0, y: 1 },
  { x: 0, y: 0 },
];

const canvas = document.createElement('canvas');
canvas.width = ACROSS;
canvas.height = DOWN;

/** The brightness of each pixel of the reduced frame. */
export function brightness(video) {
  const context = canvas.getContext('2d', { willReadFrequently: true });
  context.drawImage(video, 0, 0, ACROSS, DOWN);
  const { data } = context.getImageData(0, 0, ACROSS, DOWN);
  const luma = (_, n) => 0.3 * data[4 * n] + 0.6 * data[4 * n + 1] + 0.1 * data[4 * n + 2];
  return Float32Array.from({ length: ACROSS * DOWN }, luma);
}

/**
 * How much a box shows: the mean difference between neighbouring pixels, which is high for letters and lines and low
 * for plain areas. The box is in shares of the frame; outside of the frame there is nothing.
 */
export function detail(points, { left, top, width, height }) {
  const [x0, x1] = [left, left + width].map((n) => Math.round(n * ACROSS));
  const [y0, y1] = [top, top + height].map((n) => Math.round(n * DOWN));
  let sum = 0;
  for (let y = Math.max(1, y0); y < Math.min(DOWN, y1); y += 1) {
    for (let x = Math.max(1, x0); x < Math.min(ACROSS, x1); x += 1) {
      const at = y * ACROSS + x;
      for (const before of [at - 1, at - ACROSS]) sum += Math.max(0, Math.abs(points[at] - points[before]) - ALIKE);
    }
  }
  return sum / Math.max(1, (x1 - x0) * (y1 - y0));
}

/** Chooses a corner, and keeps it unless another corner is clearly emptier for a while. */
export class Corner {
  /** The index of the corner; null before the first choice. */
  at = null;
  #better = null;
  #since = 0;
  #moved = 0;

  /** Updates the choice: the detail of each corner, the time in ms, and which corners are allowed. */
  look(details, now, mayMove) {
    const free = details.map((detail, corner) => (mayMove(corner) ? detail : Infinity));
    const best = free.indexOf(Math.min(...free));
    if (this.at === null) return this.#move(best, now);
    const isBetter = free[best] < CLEARLY * details[this.at] && details[this.at] - free[best] > LEAST;
    if (!isBetter || best !== this.#better) {
      this.#better = isBetter ? best : null;
      this.#since = now;
      return;
    }
    if (now - this.#since >= SETTLED_MS && now - this.#moved >= REST_MS) this.#move(best, now);
  }

  #move(corner, now) {
    this.at = corner;
    this.#better = null;
    this.#moved = now;
  }
}

// Which corner of the large picture the small one covers least in: found in the picture's own points.

/** The size to which the picture is made small before it is read: letters are still seen as something. */
const ACROSS = 160;
const DOWN = 90;
/** Neighbours that differ by less, of 255, are alike: noise, a shade, the lines of squared paper. */
const ALIKE = 8;
/** A corner must have less than this share of what the one before has, and this much less: nothing wanders over noise. */
const CLEARLY = 0.5;
const LEAST = 1;
/** So long must a corner be the better one, and so long must the small picture have stood. */
const SETTLED_MS = 5_000;
const REST_MS = 20_000;

/** The corners as places, from 0 to 1; of two that are alike the first is taken. */
export const CORNERS = [
  { x: 1, y: 1 },
  { x: 1, y: 0 },
  { x: 0, y: 1 },
  { x: 0, y: 0 },
];

const canvas = document.createElement('canvas');
canvas.width = ACROSS;
canvas.height = DOWN;

/** How bright each point of a video is, made small; nothing where it cannot be read. */
export function brightness(video) {
  const context = canvas.getContext('2d', { willReadFrequently: true });
  context.drawImage(video, 0, 0, ACROSS, DOWN);
  const { data } = context.getImageData(0, 0, ACROSS, DOWN);
  return Float32Array.from({ length: ACROSS * DOWN }, (_, n) => 0.3 * data[4 * n] + 0.6 * data[4 * n + 1] + 0.1 * data[4 * n + 2]);
}

/**
 * How much there is to see in a box: the mean difference between neighbours, which letters and lines have and plain areas
 * have not. The box is in shares of the picture; what lies outside of the picture shows nothing.
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

/** Chooses a corner, and stays with it unless another one is clearly emptier for a while. */
export class Corner {
  /** The number of the corner; nothing before the first choice. */
  at = null;
  #better = null;
  #since = 0;
  #moved = 0;

  /** Looks again: what there is to see in each corner, the time in ms, and which corners may be moved to. */
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

// Where the pictures of a meeting stand, as a function of their number and of the space. This file touches no element.

/** The widest and the narrowest picture: a camera's picture may lose its sides, but not become a strip. */
const WIDEST = 16 / 9;
const NARROWEST = 1;
/** The share of the space for the small pictures beside a large one: for few, and for many. */
const FEW = 6;
const STRIP = { few: 0.22, many: 0.3 };
/** The width of one's own picture over that of the other one in a call, as a share, and its least, in pixels. */
const INSET = 0.24;
const LEAST_INSET_PX = 96;

/** The largest box in a cell, as a picture may have it. */
function fit(width, height) {
  const ratio = Math.min(WIDEST, Math.max(NARROWEST, width / height));
  const wide = Math.min(width, height * ratio);
  return { width: wide, height: wide / ratio };
}

/** The boxes `{ left, top, width, height }` of `n` pictures in rows, as large as can be; the last row is centred. */
export function rows(n, space, gap) {
  if (n === 0) return [];
  const choices = Array.from({ length: n }, (_, i) => i + 1).map((columns) => {
    const lines = Math.ceil(n / columns);
    const wide = (space.width - gap * (columns - 1)) / columns;
    const high = (space.height - gap * (lines - 1)) / lines;
    const box = wide > 0 && high > 0 ? fit(wide, high) : { width: 0, height: 0 };
    return { columns, lines, ...box, area: box.width * box.height };
  });
  const best = choices.reduce((a, b) => (b.area > a.area * 1.001 ? b : a));
  const { columns, lines, width, height } = best;
  const top = space.top + (space.height - lines * height - gap * (lines - 1)) / 2;
  return Array.from({ length: n }, (_, i) => {
    const line = Math.floor(i / columns);
    const inLine = line === lines - 1 ? n - columns * (lines - 1) : columns;
    const left = space.left + (space.width - inLine * width - gap * (inLine - 1)) / 2;
    return { left: left + (i % columns) * (width + gap), top: top + line * (height + gap), width, height };
  });
}

/** A large picture, and `n` small ones beside or below it: `{ large, small }`. */
export function stage(n, space, gap) {
  if (n === 0) return { large: space, small: [] };
  const share = n > FEW ? STRIP.many : STRIP.few;
  const isBeside = space.width / space.height > 1.2;
  const wide = Math.min(space.width * share, n > FEW ? Infinity : (space.height / Math.max(n, 2)) * WIDEST);
  const high = Math.min(space.height * share, n > FEW ? Infinity : space.width / Math.max(n, 2));
  const large = isBeside
    ? { ...space, width: space.width - wide - gap }
    : { ...space, height: space.height - high - gap };
  const strip = isBeside
    ? { ...space, left: space.left + space.width - wide, width: wide }
    : { ...space, top: space.top + space.height - high, height: high };
  return { large, small: rows(n, strip, gap) };
}

/** A large picture, and one's own small picture in its corner: `{ large, small }`. */
export function call(space, gap) {
  const width = Math.max(LEAST_INSET_PX, Math.min(space.width * INSET, space.height * INSET * WIDEST));
  const height = width / (space.width > space.height ? WIDEST : 4 / 3);
  const left = space.left + space.width - width - 2 * gap;
  return { large: space, small: [{ left, top: space.top + space.height - height - 2 * gap, width, height }] };
}

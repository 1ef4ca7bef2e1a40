// How long packets are waited for before they are played. It knows no connection.

/** A little room for packets that come late; the browser takes more where it must. */
const USUAL_MS = 50;
const MOST_MS = 300;

/**
 * Where a repair gets lost, too, a browser asks again after 100 ms, which it looks for every 20 ms; and what is missing is
 * seen when the next picture comes. The repair itself takes a round trip.
 */
const SECOND_REPAIR_MS = 160;

/** So many repairs in a second, and this share of all packets, are more than an accident. */
const REPAIRS = 2;
const SHARE = 0.01;

/** After so many seconds without that, the line is good again. */
const CALM_S = 10;

export class Patience {
  #before = null;
  #calm = CALM_S;

  /** Told once a second of the `packets` of pictures and the `nacks` for them until now, gives milliseconds. */
  wait({ packets, nacks, roundTripMs }) {
    const before = this.#before ?? { packets, nacks };
    this.#before = { packets, nacks };
    const repairs = nacks - before.nacks;
    const isLossy = repairs >= REPAIRS && repairs >= SHARE * (packets - before.packets);
    this.#calm = isLossy ? 0 : this.#calm + 1;
    return this.#calm >= CALM_S ? USUAL_MS : Math.min(MOST_MS, SECOND_REPAIR_MS + (roundTripMs ?? 0));
  }
}

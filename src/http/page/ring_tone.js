// The sound of a call that rings: drawn by the browser, so nothing is loaded.

/** The tones of a ring, in Hz, and its rhythm, in seconds: a pair of short tones, and a pause. */
const TONES = { in: [659, 880], out: [440, 480] };
const RHYTHM = { in: [[0, 0.35], [0.45, 0.35]], out: [[0, 1]] };
const EVERY_MS = { in: 2_500, out: 4_000 };
const GAIN = 0.12;

export class RingTone {
  #context = null;
  #timer = 0;

  /** Rings until `stop()`; `kind` is `in` for a call that comes in, and `out` for one that goes out. */
  start(kind) {
    this.stop();
    // Browsers start sound only on a page that was clicked; the dialog, the title and the notification remain.
    if (navigator.userActivation?.hasBeenActive === false) return;
    try {
      this.#context ??= new AudioContext();
    } catch {
      // A computer without a sound card.
      return;
    }
    this.#context.resume().catch(() => {});
    const ring = () => this.#ring(kind);
    ring();
    this.#timer = setInterval(ring, EVERY_MS[kind]);
  }

  stop() {
    clearInterval(this.#timer);
    this.#timer = 0;
    if (this.#context?.state === 'running') this.#context.suspend().catch(() => {});
  }

  #ring(kind) {
    const context = this.#context;
    RHYTHM[kind].forEach(([after, seconds], n) => {
      const at = context.currentTime + after;
      const gain = context.createGain();
      // Without a ramp, a tone begins and ends with a click.
      gain.gain.setValueAtTime(0, at);
      gain.gain.linearRampToValueAtTime(GAIN, at + 0.02);
      gain.gain.setValueAtTime(GAIN, at + seconds - 0.05);
      gain.gain.linearRampToValueAtTime(0, at + seconds);
      gain.connect(context.destination);
      const tones = kind === 'out' ? TONES.out : [TONES.in[n]];
      for (const tone of tones) {
        const oscillator = context.createOscillator();
        oscillator.frequency.value = tone;
        oscillator.connect(gain);
        oscillator.start(at);
        oscillator.stop(at + seconds);
      }
    });
  }
}

// Elements with the sound of others, beside that of a lecture: their volume, and a browser that holds them back.

export class Sounds {
  #sounds = [];
  #held = new Set();
  #volume;

  /** `volume()` is from 0 to 100. */
  constructor(volume) {
    this.#volume = volume;
    // A click is what the browser wants before it plays sound, or what changes the volume.
    for (const event of ['pointerdown', 'keydown', 'click', 'input']) {
      document.addEventListener(event, () => this.#sounds.length > 0 && this.apply());
    }
  }

  /** Whether the browser waits for a click. */
  get isHeld() {
    return this.#held.size > 0;
  }

  /** Plays these elements from now on. */
  use(sounds) {
    this.#sounds = sounds;
    for (const sound of this.#held) if (!sounds.includes(sound)) this.#held.delete(sound);
    this.apply();
  }

  /** Applies the volume, and starts what the browser has held back. */
  apply() {
    const volume = this.#volume() / 100;
    for (const sound of this.#sounds) {
      sound.volume = volume;
      sound.muted = volume === 0;
      if (sound.paused) this.#start(sound);
    }
  }

  async #start(sound) {
    try {
      await sound.play();
      this.#held.delete(sound);
    } catch (error) {
      if (error.name === 'NotAllowedError') this.#held.add(sound);
    }
  }
}

// The sound of a lecture: the microphone, mixed with the sound of a shared tab, and a meter.

/** The range of the meter, in dBFS: a quiet room is below, a clipped microphone above. */
const QUIET_DB = -60;
const LOUD_DB = -6;
/** A voice is louder than this, in the meter's scale. */
const VOICE = 0.45;

export class Sound {
  /** The track to send; `null` without any sound. */
  track = null;
  #context = null;
  #analyser = null;
  #samples = new Float32Array(1_024);
  /** The microphone that is sent. The meter listens to the device itself, also while this one is muted. */
  #voice = null;
  #isMuted = false;
  #used = { microphone: null, tabSound: null };
  #nodes = [];

  constructor() {
    // Browsers start audio only after a click.
    for (const event of ['pointerdown', 'keydown']) {
      document.addEventListener(event, () => this.#context?.state === 'suspended' && this.#context.resume());
    }
  }

  get isMuted() {
    return this.#isMuted;
  }

  set isMuted(isMuted) {
    this.#isMuted = isMuted;
    if (this.#voice) this.#voice.enabled = !isMuted;
  }

  /** Uses these sources, each may be `null`. Other sources make another `track`. */
  use(microphone, tabSound) {
    if (microphone === this.#used.microphone && tabSound === this.#used.tabSound) return;
    this.#used = { microphone, tabSound };
    const before = this.#voice;
    for (const node of this.#nodes.splice(0)) node.disconnect();
    this.#analyser = null;
    this.#voice = microphone?.clone() ?? null;
    if (this.#voice) this.#voice.enabled = !this.#isMuted;
    if (microphone) this.#listen(microphone);
    if (!tabSound) this.track = this.#voice;
    else if (!this.#voice) this.track = tabSound;
    else this.track = this.#mix([this.#voice, tabSound]);
    before?.stop();
  }

  /** The level of the microphone from 0 to 1; `null` where none can be measured. */
  level() {
    if (!this.#analyser || this.#context.state !== 'running') return null;
    this.#analyser.getFloatTimeDomainData(this.#samples);
    const power = this.#samples.reduce((sum, sample) => sum + sample * sample, 0) / this.#samples.length;
    const db = 10 * Math.log10(power + 1e-12);
    return Math.min(1, Math.max(0, (db - QUIET_DB) / (LOUD_DB - QUIET_DB)));
  }

  /** Whether somebody speaks into a microphone that is off. */
  get isUnheard() {
    return this.#isMuted && (this.level() ?? 0) > VOICE;
  }

  #listen(microphone) {
    const source = this.#source(microphone);
    this.#analyser = this.#context.createAnalyser();
    this.#analyser.fftSize = 2 * this.#samples.length;
    source.connect(this.#analyser);
  }

  #mix(tracks) {
    const mixed = this.#context.createMediaStreamDestination();
    this.#nodes.push(mixed);
    for (const track of tracks) this.#source(track).connect(mixed);
    return mixed.stream.getAudioTracks()[0];
  }

  #source(track) {
    this.#context ??= new AudioContext();
    const source = this.#context.createMediaStreamSource(new MediaStream([track]));
    this.#nodes.push(source);
    return source;
  }
}

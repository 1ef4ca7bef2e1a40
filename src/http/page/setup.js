// The form before a lecture: name, key, code, and why a lecture did not start.

import { $, store } from './dom.js';
import { hasWords, onLanguage, say } from './i18n.js';
import { keepTeachingKey, teachingKey } from './identity.js';

export class Setup {
  #room;
  #wasLive = false;
  #phase = 'setup';
  /** Shows the trouble again in another language. */
  #complains = () => {};

  /** `start({ nickname, key, withCode })` is called with what the teacher has typed. */
  constructor(room, me, start) {
    this.#room = room;
    $('teach-name').value = me.nickname;
    $('with-code').checked = store.get('withCode', false);
    $('setup-form').addEventListener('submit', (event) => {
      event.preventDefault();
      const key = $('teach-key').value.trim() || teachingKey();
      if (!$('key-part').hidden && !key) return this.#needKey('teachKeyMissing');
      store.set('withCode', $('with-code').checked);
      start({ nickname: $('teach-name').value.trim(), key, withCode: $('with-code').checked });
    });
    onLanguage(() => {
      $('setup-title').textContent = say('teachTitle', { id: room });
      this.#complains();
      this.#words();
    });
  }

  set phase(phase) {
    this.#phase = phase;
    this.#words();
  }

  /** The server has let the teacher in, so the key is right. */
  accepted(key) {
    if (key) keepTeachingKey(key);
    $('key-part').hidden = true;
    $('teach-key').value = '';
  }

  /** Says why the lecture was refused, or, with `null`, nothing. `wasLive` if it was on air. */
  complain(error, wasLive = false) {
    this.#wasLive = wasLive;
    this.#words();
    if (!error) return this.#say(() => '');
    const { code } = error;
    if (code === 'teachingKeyRequired') {
      // The server asks for a key again: a key that was sent is wrong.
      const wasWrong = Boolean($('teach-key').value.trim() || teachingKey());
      keepTeachingKey(null);
      return this.#needKey(wasWrong ? 'teachKeyWrong' : 'teachKeyRequiredText');
    }
    this.#say(() => say(hasWords(`teach${code}`) ? `teach${code}` : 'teachunknown', { code, id: this.#room }));
  }

  /** The page is not secure, so the browser gives it no devices. */
  complainInsecure() {
    this.#say(() => `${say('insecureTitle')}. ${say('insecure')} ${say('insecureHow')}`);
    $('secure-links').hidden = false;
    $('secure-link').href = location.href.replace(/^http:/, 'https:');
    $('start').disabled = true;
    $('ca-link').hidden = true;
    fetch('/ca/help', { method: 'HEAD' }).then(({ ok }) => ($('ca-link').hidden = !ok), () => {});
  }

  #needKey(words) {
    $('key-part').hidden = false;
    this.#say(() => say(words));
    $('teach-key').select();
    $('teach-key').focus();
  }

  #say(words) {
    this.#complains = () => {
      $('setup-error').textContent = words();
      $('setup-error').hidden = !words();
    };
    this.#complains();
  }

  #words() {
    const key = this.#phase === 'starting' ? 'starting' : this.#wasLive ? 'goOnTeaching' : 'start';
    $('start').textContent = say(key);
    $('start').setAttribute('aria-busy', this.#phase === 'starting');
  }
}

// The invitation of students: the link, its QR code, and the code of the room.

import { $ } from './dom.js';
import { label, onLanguage, say } from './i18n.js';
import { isHere, linkTo } from './identity.js';

/** The digits of a code (`JoinCode` of the server). */
const DIGITS = 6;

/** Draws a code. */
export function drawnCode() {
  const draws = crypto.getRandomValues(new Uint32Array(DIGITS));
  return Array.from(draws, (draw) => draw % 10).join('');
}

/** A code in groups, as people read it. */
const shown = (code) => (/^\d{6}$/.test(code) ? `${code.slice(0, 3)} ${code.slice(3)}` : code);

export class Invite {
  #room;
  #code = null;
  #drawn = '';
  /** The origin by which students reach the server. */
  #origin = location.origin;

  /** `changeCode(code)` sets another code of the room; none if it is `null`. */
  constructor(room, changeCode) {
    this.#room = room;
    $('change-code').addEventListener('click', () => changeCode(this.#code ? null : drawnCode()));
    onLanguage(() => this.#show());
    if (isHere(location.hostname)) this.#findOrigin();
  }

  /** The code of the room; `null` if it has none. */
  get code() {
    return this.#code;
  }

  set code(code) {
    this.#code = code;
    this.#show();
  }

  /** The code stands in the fragment, which browsers do not send to a server. */
  get link() {
    return this.#plain + (this.#code ? `#code=${encodeURIComponent(this.#code)}` : '');
  }

  get #plain() {
    return linkTo(this.#room, this.#origin);
  }

  open() {
    $('invite-dialog').showModal();
    this.#draw();
  }

  #show() {
    for (const id of ['invite-link', 'setup-link']) {
      // Before the lecture the room has no code yet.
      const link = id === 'setup-link' ? this.#plain : this.link;
      $(id).textContent = link;
      $(id).href = link;
    }
    $('invite-code-part').hidden = !this.#code;
    $('invite-code').textContent = shown(this.#code ?? '');
    $('change-code').textContent = say(this.#code ? 'dropCode' : 'addCode');
    label($('invite-qr'), say('qrOf', { link: this.#plain }));
    $('invite-only-here').hidden = !isHere(new URL(this.#plain).hostname);
    if ($('invite-dialog').open) this.#draw();
  }

  /** On the server's own computer, the address of this page is of no use to others. */
  async #findOrigin() {
    try {
      const response = await fetch('/api/origin', { cache: 'no-store', signal: AbortSignal.timeout(5_000) });
      if (!response.ok) return;
      this.#origin = new URL(await response.text()).origin;
      this.#show();
    } catch {
      // The page says that its own link is for this computer only.
    }
  }

  /** The server draws the QR code. The link travels in the body, because it may have the code of the room. */
  async #draw() {
    const { link } = this;
    if (link === this.#drawn) return;
    $('invite-qr').hidden = true;
    try {
      const response = await fetch('/api/qr', { method: 'POST', body: link, signal: AbortSignal.timeout(5_000) });
      if (!response.ok || link !== this.link) return;
      $('invite-qr').src = `data:image/svg+xml,${encodeURIComponent(await response.text())}`;
      $('invite-qr').hidden = false;
      this.#drawn = link;
    } catch {
      // The link and the code are there without a picture.
    }
  }
}

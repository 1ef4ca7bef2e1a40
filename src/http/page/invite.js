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

/** The QR code of a text as the source of an image, or `null`. The server draws it; the text travels in the body. */
export async function qrOf(text) {
  try {
    const response = await fetch('/api/qr', { method: 'POST', body: text, signal: AbortSignal.timeout(5_000) });
    return response.ok ? `data:image/svg+xml,${encodeURIComponent(await response.text())}` : null;
  } catch {
    return null;
  }
}

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
    return this.linkWith();
  }

  /** The link with this query. */
  linkWith(query = '') {
    return this.#plain + query + (this.#code ? `#code=${encodeURIComponent(this.#code)}` : '');
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

  async #draw() {
    const { link } = this;
    if (link === this.#drawn) return;
    $('invite-qr').hidden = true;
    const source = await qrOf(link);
    // Without a picture, the link and the code are still there.
    if (!source || link !== this.link) return;
    $('invite-qr').src = source;
    $('invite-qr').hidden = false;
    this.#drawn = link;
  }
}

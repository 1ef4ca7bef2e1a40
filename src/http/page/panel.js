// The panel with chat and people: beside the video, or below it in narrow windows.

import { $, press, store } from './dom.js';

const TABS = ['chat', 'people'];

/** Where the panel is below the video and not beside it; controls.css has the same condition. */
const narrow = matchMedia(
  '(max-width: 34rem) and (max-aspect-ratio: 3/2), (max-width: 64rem) and (max-aspect-ratio: 5/4)',
);
/** A phone in landscape has no space for the panel unless asked. */
const low = matchMedia('(max-height: 30rem)');

export class Panel {
  #opened;

  /** `opened()` is called when the chat is shown. */
  constructor(opened) {
    this.#opened = opened;
    for (const tab of TABS) {
      $(`tab-${tab}`).addEventListener('click', () => this.#tab(tab));
      $(`tab-${tab}`).addEventListener('keydown', (event) => {
        if (event.key !== 'ArrowLeft' && event.key !== 'ArrowRight') return;
        const other = TABS.find((name) => name !== tab);
        this.#tab(other);
        $(`tab-${other}`).focus();
      });
    }
    narrow.addEventListener('change', () => this.show(narrow.matches || store.get('panel', true), false));
    this.show(narrow.matches || (!low.matches && store.get('panel', true)), false);
  }

  /** Whether the panel takes space beside the video. */
  get isBeside() {
    return !$('panel').hidden && !narrow.matches;
  }

  /** Opens or closes the panel; the next visit remembers that. */
  show(isOpen, remember = true) {
    $('room').classList.toggle('has-panel', isOpen);
    $('panel').hidden = !isOpen && !narrow.matches;
    if (remember) store.set('panel', isOpen);
    if (isOpen) this.#opened();
    this.#pressed();
  }

  /** Shows a tab, or closes the panel if the tab is shown. */
  toggle(tab) {
    const isShown = !$('panel').hidden && !$(tab).hidden;
    this.show(!isShown);
    if (!isShown) this.#tab(tab);
  }

  /** Opens the chat for writing. */
  write() {
    this.show(true);
    this.#tab('chat');
    $('chat-text').focus();
  }

  close() {
    this.show(false);
    $('chat-toggle').focus();
  }

  #tab(shown) {
    for (const tab of TABS) {
      const button = $(`tab-${tab}`);
      $(tab).hidden = tab !== shown;
      button.setAttribute('aria-selected', tab === shown);
      button.tabIndex = tab === shown ? 0 : -1;
    }
    if (shown === 'chat') this.#opened();
    this.#pressed();
  }

  #pressed() {
    for (const tab of TABS) press($(`${tab}-toggle`), !$('panel').hidden && !$(tab).hidden);
  }
}

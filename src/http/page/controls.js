// The bar of buttons, its menus, full screen and the keyboard shortcuts.

import { $, announce, el, icon, press, setIcon } from './dom.js';
import { label, onLanguage, say } from './i18n.js';
import { REACTIONS } from './chat.js';
import { Panel } from './panel.js';

/** How long the bar stays over a full screen without a movement. */
const IDLE_MS = 2_500;

/** The sum of a menu's distances from the bar and from the edge of the window. */
const MENU_EDGE_PX = 16;

/** Buttons and the menus that they open. */
const MENUS = [['react', 'react-menu'], ['more', 'more-menu'], ['mark', 'mark-text']];

/** Key, action, explanation. */
export const KEYS = [
  ['f', 'full', 'keyFull'],
  ['m', 'mute', 'keyMute'],
  ['h', 'hand', 'keyHand'],
  ['c', 'write', 'keyChat'],
  ['u', 'people', 'keyPeople'],
  ['p', 'pip', 'keyPip'],
  ['s', 'swap', 'keySwap'],
  ['v', 'camera', 'keyCamera'],
  ['d', 'danmaku', 'keyDanmaku'],
  ['i', 'stats', 'keyStats'],
  ['?', 'help', 'keyHelp'],
  ['← ↑ → ↓', '', 'keyArrows'],
];

export class Controls {
  /** The sentence on a hand that is down, if another one than usual: with an open floor it leads to the stage. */
  handWords;
  #layout;
  #chat;
  #people;
  #danmaku;
  #stats;
  #leave;
  #panel;
  #idle = 0;
  /** Whether the panel was open before the full screen. */
  #hadPanel = false;
  #position = 0;
  #allowed = { comments: true, reactions: true };
  #word = '';
  #isOnStage = false;
  #keys = KEYS;
  #others = {};

  constructor({ layout, chat, people, danmaku, stats, leave }) {
    this.#layout = layout;
    this.#chat = chat;
    this.#people = people;
    this.#danmaku = danmaku;
    this.#stats = stats;
    this.#leave = leave;
    $('room').addEventListener('click', (event) => {
      const button = event.target.closest('[data-action]');
      if (button && !button.disabled) this.#do(button.dataset.action);
      else if (!event.target.closest('.holder')) this.#closeMenus();
    });
    $('volume').addEventListener('input', (event) => layout.setVolume(Number(event.target.value)));
    $('sound-wanted').addEventListener('click', () => layout.toggleMute());
    document.addEventListener('keydown', (event) => this.#key(event));
    document.addEventListener('fullscreenchange', () => this.#fullChanged());
    addEventListener('resize', () => this.#closeMenus());
    for (const id of ['screen-video', 'camera-video']) {
      $(id).addEventListener('enterpictureinpicture', () => this.refresh());
      $(id).addEventListener('leavepictureinpicture', () => this.refresh());
    }
    // On the document, because a key event without a focused element does not pass the room.
    for (const event of ['pointermove', 'pointerdown', 'keydown', 'focusin']) {
      document.addEventListener(event, () => this.#wake());
    }
    this.#panel = new Panel(() => chat.opened());
    onLanguage(() => {
      this.#menus();
      this.refresh();
    });
  }

  /** Updates the buttons. */
  refresh() {
    const layout = this.#layout;
    const silent = layout.muted || layout.isBlocked;
    setIcon($('mute'), silent ? 'i-muted' : 'i-sound');
    label($('mute'), say(silent ? 'unmute' : 'mute'));
    $('mute').disabled = !layout.hasAudio;
    $('volume').disabled = !layout.hasAudio;
    $('volume').value = silent ? 0 : layout.volume;
    $('sound-wanted').hidden = !layout.isBlocked || !layout.hasAudio;
    $('swap').hidden = !layout.isInsetShown;
    $('camera-toggle').hidden = !layout.hasTwo;
    press($('camera-toggle'), layout.isInsetShown);
    $('pip').hidden = !document.pictureInPictureEnabled || !layout.main()?.requestPictureInPicture;
    press($('pip'), Boolean(document.pictureInPictureElement));
    press($('danmaku-toggle'), this.#danmaku.isOn);
    const comments = say(this.#allowed.comments ? 'danmaku' : 'commentsOff');
    label($('danmaku-toggle'), comments);
    $('danmaku-name').textContent = comments;
    $('danmaku-toggle').setAttribute('aria-disabled', !this.#allowed.comments);
    press($('stats-toggle'), this.#stats.isShown);
    const isFull = Boolean(document.fullscreenElement);
    press($('full'), isFull);
    setIcon($('full'), isFull ? 'i-small' : 'i-full');
    label($('full'), say(isFull ? 'notFull' : 'full'));
    $('room').classList.toggle('is-full', isFull);
    this.hand();
  }

  /** Whether the student speaks on the stage, where nobody raises a hand. */
  set isOnStage(isOnStage) {
    this.#isOnStage = isOnStage;
    this.refresh();
  }

  /** Other keys and actions than those of a lecture. */
  takeOver(keys, actions) {
    this.#keys = keys;
    this.#others = actions;
    this.#menus();
  }

  /** Shows the student's own hand and its position. */
  hand() {
    const position = this.#people.handPosition;
    const button = $('hand');
    button.hidden = this.#isOnStage;
    $('react').disabled = !this.#chat.isOpen;
    button.disabled = !this.#chat.isOpen || this.#isOnStage;
    $('react').setAttribute('aria-disabled', !this.#allowed.reactions);
    label($('react'), say(this.#allowed.reactions ? 'react' : 'reactionsOff'));
    if (!this.#chat.isOpen) this.#closeMenus();
    press(button, position > 0);
    const place = position > 0 ? say('handPlace', { n: position }) : '';
    if (position !== this.#position) announce(place);
    this.#position = position;
    $('hand-place').hidden = !place;
    $('hand-place').textContent = position;
    const words = place || say(this.handWords ?? 'raiseHand');
    $('hand-label').textContent = words;
    label(button, place ? `${place}. ${say('lowerHand')}` : words);
  }

  /** What the teacher allows the class. A forbidden button can still be focused, and says why. */
  allow(allowed) {
    const before = this.#allowed;
    this.#allowed = allowed;
    for (const what of ['comments', 'reactions']) {
      if (before[what] && !allowed[what]) announce(say(`${what}Off`));
    }
    if (!allowed.reactions) this.#closeMenus(true, 'react');
    this.refresh();
  }

  /**
   * A problem that does not justify covering the video: `{ word, text }`, the word in the bar and the sentence in a
   * menu.
   */
  mark(mark) {
    $('mark').hidden = !mark;
    if (!mark) this.#closeMenus(false, 'mark');
    else {
      $('mark-word').textContent = mark.word;
      $('mark-text').textContent = mark.text;
      label($('mark'), mark.text);
    }
    // The bandwidth in the sentence changes every second, so only a new word is announced.
    if (mark && mark.word !== this.#word) announce(mark.text);
    this.#word = mark?.word ?? '';
  }

  #do(action) {
    const layout = this.#layout;
    const actions = {
      mute: () => layout.toggleMute(),
      full: () => this.#full(),
      pip: () => this.#pip(),
      swap: () => layout.swap(),
      camera: () => layout.toggleInset(),
      danmaku: () => (this.#allowed.comments ? this.#danmaku.toggle() : announce(say('commentsOff'))),
      stats: () => this.#stats.toggle(),
      hand: () => this.#chat.hand(this.#people.handPosition === 0),
      react: () => (this.#allowed.reactions ? this.#menu('react', 'react-menu') : announce(say('reactionsOff'))),
      mark: () => this.#menu('mark', 'mark-text'),
      more: () => this.#menu('more', 'more-menu'),
      chat: () => this.#panel.toggle('chat'),
      people: () => this.#panel.toggle('people'),
      write: () => this.#panel.write(),
      closePanel: () => this.#panel.close(),
      help: () => $('help-dialog').showModal(),
      leave: this.#leave,
      ...this.#others,
    };
    if (!(action in actions)) return;
    if (!MENUS.some(([button]) => button === action)) this.#closeMenus();
    actions[action]();
    this.refresh();
  }

  #key(event) {
    if ($('room').hidden || event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
    if (event.key === 'Escape') {
      if (event.target === $('chat-text')) event.target.blur();
      return this.#closeMenus(true);
    }
    if (event.target.closest?.('input, textarea, select, dialog') || event.repeat) return;
    const [, action] = this.#keys.find(([key]) => key === event.key.toLowerCase()) ?? [];
    if (!action || (action === 'hand' && $('hand').disabled)) return;
    event.preventDefault();
    this.#do(action);
  }

  async #full() {
    try {
      if (document.fullscreenElement) await document.exitFullscreen();
      else if ($('room').requestFullscreen) {
        this.#hadPanel = this.#panel.isBeside;
        this.#panel.show(false, false);
        await $('room').requestFullscreen();
        // A phone turns to landscape, where it can.
        screen.orientation?.lock?.('landscape').catch(() => {});
      } else this.#layout.main()?.webkitEnterFullscreen?.();
    } catch {
      // The browser or the user refused; nothing changes.
      this.#fullChanged();
    }
  }

  #fullChanged() {
    if (!document.fullscreenElement && this.#hadPanel) this.#panel.show(true, false);
    if (!document.fullscreenElement) this.#hadPanel = false;
    this.refresh();
    this.#wake();
  }

  async #pip() {
    try {
      if (document.pictureInPictureElement) await document.exitPictureInPicture();
      else await this.#layout.main()?.requestPictureInPicture();
    } catch {
      // As above.
    }
  }

  #menus() {
    $('react-menu').replaceChildren(...REACTIONS.map((reaction) => {
      const button = el('button', `control ${reaction}`, icon(`r-${reaction}`), el('span', 'name', say(reaction)));
      button.type = 'button';
      label(button, say(reaction));
      button.addEventListener('click', () => {
        this.#chat.react(reaction);
        this.#closeMenus(true);
      });
      return button;
    }));
    $('keys').replaceChildren(...this.#keys.flatMap(([key, , text]) => [
      el('dt', '', el('kbd', '', key.length === 1 ? key.toUpperCase() : key)),
      el('dd', '', say(text)),
    ]));
  }

  #menu(button, menu) {
    const isOpen = $(button).getAttribute('aria-expanded') === 'true';
    this.#closeMenus();
    if (isOpen) return;
    $(button).setAttribute('aria-expanded', 'true');
    $(menu).classList.add('open');
    $(menu).hidden = false;
    fit($(menu));
    $(menu).querySelector('button:not([hidden])')?.focus();
  }

  /** Closes the menu of this button, or all menus. The focus may return to the button. */
  #closeMenus(giveBack = false, only = null) {
    for (const [button, menu] of MENUS) {
      if ((only ?? button) !== button || $(button).getAttribute('aria-expanded') !== 'true') continue;
      const hadFocus = $(menu).contains(document.activeElement);
      $(button).setAttribute('aria-expanded', 'false');
      $(menu).classList.remove('open');
      if (menu !== 'more-menu') $(menu).hidden = true;
      if (giveBack && hadFocus) $(button).focus();
    }
  }

  #wake() {
    $('room').classList.remove('idle');
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => {
      const busy = $('controls').matches(':hover') || $('controls').querySelector('.open');
      const waits = !$('room').classList.contains('is-full') && !$('sound-wanted').hidden;
      if (!busy && !waits) $('room').classList.add('idle');
    }, IDLE_MS);
  }
}

/** Opens a menu on the side of the bar that has more space, and bounds its height. */
function fit(menu) {
  const bar = $('controls').getBoundingClientRect();
  const above = bar.top;
  const below = (globalThis.visualViewport?.height ?? innerHeight) - bar.bottom;
  menu.classList.toggle('down', below > above);
  menu.style.setProperty('--most', `${Math.max(above, below) - MENU_EDGE_PX}px`);
}


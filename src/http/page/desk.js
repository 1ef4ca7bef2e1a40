// The bar of a teacher, its dialogs and keys, and the facts in the header.

import { $, announce, bdi, el, nameOf, press } from './dom.js';
import { label, onLanguage, say } from './i18n.js';
import { Panel } from './panel.js';
import { RIDS } from './publisher.js';
import { clock } from './studio.js';

/** Key, action, explanation. */
const KEYS = [
  ['m', 'microphone', 'keyMicrophone'],
  ['v', 'camera', 'keyCameraOnOff'],
  ['s', 'share', 'keyShare'],
  ['i', 'invite', 'keyInvite'],
  ['b', 'breakouts', 'breakoutsManageHere'],
  ['c', 'write', 'keyWrite'],
  ['u', 'people', 'keyPeople'],
  ['?', 'help', 'keyHelp'],
];
/** Actions that also work before the lecture. */
const EARLY = ['microphone', 'camera', 'screen', 'share', 'help'];

/** A tier, and how many students watch it, if that is known and not nobody. */
const watchers = (tier, n) => (n ? say('watchedBy', { tier, n }) : tier);

const mbps = (bps) => `${(bps / 1e6).toFixed(1)} Mbit/s`;

export class Desk {
  #teacher;
  #panel;
  #badge = '';
  #allowed = { comments: true, reactions: true };

  /** `on` has `end(isOver)` and `again()`. */
  constructor(teacher, on) {
    this.#teacher = teacher;
    this.#panel = new Panel(() => teacher.chat.opened());
    $('room').addEventListener('click', (event) => {
      const button = event.target.closest('[data-action]');
      if (button && !button.disabled) this.#do(button.dataset.action);
    });
    document.addEventListener('keydown', (event) => this.#key(event));
    $('again').addEventListener('click', on.again);
    $('end-dialog').addEventListener('close', () => {
      const { returnValue } = $('end-dialog');
      if (returnValue === 'end' || returnValue === 'leave') on.end(returnValue === 'end');
    });
    for (const what of ['comments', 'reactions']) {
      const button = el('button');
      button.type = 'button';
      button.id = `allow-${what}`;
      button.addEventListener('click', () => teacher.chat.allow({ ...this.#allowed, [what]: !this.#allowed[what] }));
      $('clear-chat').before(button);
    }
    const split = el('button');
    split.type = 'button';
    split.id = 'breakouts-open';
    split.addEventListener('click', () => teacher.openBreakouts());
    $('clear-chat').before(split);
    onLanguage(() => {
      this.allows(this.#allowed);
      split.textContent = say('breakoutsManageHere');
      this.hands();
      $('keys').replaceChildren(...KEYS.flatMap(([key, , text]) => [
        el('dt', '', el('kbd', '', key.toUpperCase())),
        el('dd', '', say(text)),
      ]));
    });
  }

  /** Shows what the class may do: `{ comments, reactions }`. */
  allows({ comments, reactions }) {
    this.#allowed = { comments, reactions };
    for (const [what, isAllowed] of Object.entries(this.#allowed)) {
      $(`allow-${what}`).textContent = say(`${what}${isAllowed ? 'Forbid' : 'Allow'}`);
      press($(`allow-${what}`), !isAllowed);
    }
  }

  /** Shows how many hands are up. */
  hands() {
    const hands = this.#teacher.people.handsUp;
    const before = Number($('hands-count').textContent) || 0;
    $('hands-count').textContent = hands.length;
    $('hands-count').hidden = hands.length === 0;
    const count = hands.length > 0 ? `, ${say('hands')}: ${hands.length}` : '';
    label($('people-toggle'), say('people') + count);
    if (hands.length > before) announce(`${say('hands')}: ${hands.map(nameOf).join(', ')}`);
  }

  /** Draws the facts of the header and the button for the screen. */
  show({ isLive, since, hadScreen }) {
    const { broadcast, people, sources } = this.#teacher;
    const isSending = broadcast.isConnected && broadcast.isFlowing;
    const badge = !isLive ? 'notOnAir' : isSending ? 'onAir' : 'reconnecting';
    const text = isLive && isSending ? `${say(badge)} ${clock(Date.now() - since)}` : say(badge);
    $('room-state').textContent = text;
    $('room-state').className = `badge ${{ onAir: 'air', reconnecting: 'waiting', notOnAir: '' }[badge]}`;
    if (badge !== this.#badge && isLive) announce(say(badge));
    this.#badge = badge;
    $('room-watching').textContent = isLive ? say('students', { n: people.students }) : '';
    const bps = broadcast.uplink.bps(performance.now());
    const uplink = document.querySelector('.uplink');
    uplink.textContent = isLive && isSending ? say('toServer', { rate: mbps(bps) }) : '';
    $('sent').replaceChildren(...(isLive && isSending ? this.#sent() : []));
    const again = isLive && hadScreen && !sources.screen;
    $('share').classList.toggle('primary', again);
    if (again) {
      $('share').querySelector('.name').textContent = say('shareAgain');
      label($('share'), say('shareAgain'));
    }
  }

  /** Says that the lecture is over. */
  finished(isOver, time) {
    $('finished-title').textContent = say(isOver ? 'overTitle' : 'awayTitle');
    $('finished-text').textContent = say(isOver ? 'overText' : 'awayText', { time });
    requestAnimationFrame(() => $('finished').focus());
  }

  /** What leaves this computer for the class, video by video. */
  #sent() {
    const { broadcast, sources } = this.#teacher;
    const videos = broadcast.uplink.numbers?.videos;
    if (!videos) return [];
    const parts = [];
    for (const [role, words] of [['screen', 'theScreen'], ['camera', 'theCamera']]) {
      if (!sources[role]) continue;
      const { width, height, fps, tiers, bps } = videos[role];
      const sent = [['full', 'inFull'], ['low', 'inLow']].filter(([tier]) => tiers.includes(RIDS[tier]));
      if (sent.length === 0) continue;
      const what = sent.map(([tier, name]) => watchers(say(name), broadcast.uplink.watching(role, tier))).join(', ');
      const numbers = [`${width}×${height}`, say('perSecond', { n: Math.round(fps) }), mbps(bps)].join(', ');
      parts.push(el('span', '', bdi(`${say('watched', { track: say(words), tiers: what })}, ${numbers}`)));
    }
    if (parts.length === 0 && (sources.screen || sources.camera)) parts.push(el('span', '', say('nobodyWatches')));
    return parts;
  }

  #do(action) {
    const { sources, sound, invite, stage, studio, phase } = this.#teacher;
    const actions = {
      microphone: () => {
        if (!sources.microphone) return sources.open('microphone');
        sound.isMuted = !sound.isMuted;
        announce(say(sound.isMuted ? 'microphoneOff' : 'microphoneOn'));
        studio.draw();
      },
      camera: () => (sources.camera ? sources.close('camera') : sources.open('camera')),
      // Before the lecture, the button of the screen also ends the sharing.
      screen: () => (sources.screen ? sources.unshare() : sources.share()),
      share: () => sources.share(),
      unshare: () => sources.unshare(),
      settings: () => $('settings-dialog').showModal(),
      invite: () => invite.open(),
      phone: () => stage.invitePhone(),
      breakouts: () => this.#teacher.openBreakouts(),
      chat: () => this.#panel.toggle('chat'),
      people: () => this.#panel.toggle('people'),
      write: () => this.#panel.write(),
      closePanel: () => this.#panel.close(),
      help: () => $('help-dialog').showModal(),
      end: () => this.#askEnd(),
    };
    if (!(action in actions) || (phase !== 'live' && !EARLY.includes(action))) return;
    if (!navigator.mediaDevices && ['microphone', 'camera', 'screen', 'share'].includes(action)) return;
    actions[action]();
    this.#teacher.changed();
  }

  #askEnd() {
    const n = this.#teacher.people.students;
    $('end-text').textContent = n > 0 ? say('endText', { n }) : say('endTextNobody');
    $('end-dialog').returnValue = '';
    $('end-dialog').showModal();
  }

  #key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing || event.repeat) return;
    if (event.key === 'Escape' && event.target === $('chat-text')) return event.target.blur();
    if (event.target.closest?.('input, textarea, select, dialog') || document.querySelector('dialog[open]')) return;
    const [, action] = KEYS.find(([key]) => key === event.key.toLowerCase()) ?? [];
    if (!action) return;
    event.preventDefault();
    this.#do(action);
  }
}

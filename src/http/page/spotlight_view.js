// The buttons and sentences about the participant of a meeting who is large for everybody: take that place, give it up,
// ask the owner for it; and the owner gives it and takes it back.

import { $, announce, el, icon, nameOf, press } from './dom.js';
import { label, onLanguage, say } from './i18n.js';

export class SpotlightView {
  #conference;
  #before = { named: null, isAsking: false };
  /** Whether this user has taken its request back, and not the owner. */
  #hasWithdrawn = false;
  #drawn = '';

  constructor(conference) {
    this.#conference = conference;
    const { media } = conference;
    $('spotlight-give').addEventListener('click', () => this.#order('spotlight', media.asking?.userId));
    $('spotlight-refuse').addEventListener('click', () => this.#order('spotlightOff', media.asking?.userId));
    $('restrict-spotlight').addEventListener('change', ({ target }) => {
      this.#send({ type: 'order', order: 'restrictSpotlight', restricted: target.checked });
    });
    onLanguage(() => this.draw());
  }

  /** This user takes the place, gives it up, asks for it, or asks no more. */
  toggle() {
    const { media, own, state } = this.#conference;
    if (state?.kind !== 'meeting' || !media.me) return;
    const isOn = media.spotlight.isMine || media.me.isAsking;
    if (!isOn && !own.sends.some((role) => role !== 'audio')) return this.#conference.tell(say('spotlightNoPicture'));
    this.#hasWithdrawn = isOn;
    this.#conference.happens({ type: 'spotlight', on: !isOn });
  }

  /** The buttons about a participant on its tile, and what they depend on: `{ key, make }`. */
  buttonsFor(person) {
    const { isOwner, media, state } = this.#conference;
    const isOn = media.spotlight.named === person.userId;
    const none = { key: '', make: () => [] };
    if (state?.kind !== 'meeting') return none;
    if (person.isMe) {
      const words = this.#ownWords();
      return { key: words, make: () => [tool(words, isOn || person.isAsking, () => this.toggle())] };
    }
    const hasPicture = person.tracks.some((role) => role !== 'audio');
    if (!isOwner || !(hasPicture || isOn)) return none;
    const words = say(isOn ? 'spotlightOffFor' : 'spotlightFor', { name: nameOf(person) });
    const order = isOn ? 'spotlightOff' : 'spotlight';
    return { key: words, make: () => [tool(words, isOn, () => this.#order(order, person.userId))] };
  }

  /** The list of participants has changed. */
  changed() {
    const { isOwner, media } = this.#conference;
    const { named, isMine } = media.spotlight;
    const isAsking = Boolean(media.me?.isAsking);
    const before = this.#before;
    this.#before = { named, isAsking };
    if (isMine && named !== before.named) this.#conference.tell(say('spotlightIsYours'));
    else if (named !== before.named && before.named === media.me?.userId) this.#conference.tell(say('spotlightIsOver'));
    else if (named !== null && named !== before.named) {
      announce(say('isLargeForAll', { name: nameOf(this.#conference.user(named)) }));
    }
    if (isAsking && !before.isAsking) this.#conference.tell(say('spotlightAsked'));
    const isRefused = before.isAsking && !isAsking && !isMine && media.me && !this.#hasWithdrawn;
    if (isRefused) this.#conference.tell(say('spotlightRefused'));
    if (!isAsking) this.#hasWithdrawn = false;
    if (isOwner) this.draw();
  }

  draw() {
    const { info, isOwner, media, state } = this.#conference;
    const isMeeting = state?.kind === 'meeting';
    const asking = isOwner ? media.asking : null;
    const words = this.#ownWords();
    const isOn = media.spotlight.isMine || Boolean(media.me?.isAsking);
    const drawn = JSON.stringify([isMeeting, info.isSpotlightRestricted, asking, words, isOn]);
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    for (const id of ['spotlight-toggle', 'menu-spotlight']) {
      $(id).hidden = !isMeeting;
      press($(id), isOn);
    }
    label($('spotlight-toggle'), words);
    $('menu-spotlight').querySelector('.name').textContent = words;
    $('restrict-spotlight').checked = info.isSpotlightRestricted;
    $('restrict-spotlight-part').hidden = !isMeeting;
    $('spotlight-request').hidden = !asking;
    if (asking) $('spotlight-request-text').textContent = say('spotlightRequest', { name: nameOf(asking) });
  }

  #ownWords() {
    const { info, isOwner, media } = this.#conference;
    if (media.spotlight.isMine) return say('spotlightEnd');
    if (media.me?.isAsking) return say('spotlightWithdraw');
    return say(info.isSpotlightRestricted && !isOwner ? 'spotlightAsk' : 'spotlightTake');
  }

  #order(order, targetUid) {
    if (targetUid) this.#send({ type: 'order', order, targetUid });
  }

  #send(message) {
    this.#conference.room.signalling.send(message);
  }
}

function tool(words, isPressed, work) {
  const button = el('button', 'dark round', icon('i-spotlight'));
  button.type = 'button';
  press(button, isPressed);
  label(button, words);
  button.addEventListener('click', work);
  return button;
}

// A teacher's phone as document camera: the dialog with its link, and its way to the stage.

import { $, clean, list, tab } from './dom.js';
import { onLanguage, say } from './i18n.js';
import { drawnId, isHere } from './identity.js';
import { qrOf } from './invite.js';

/** The most devices of a lecture that are remembered. */
const MOST_DEVICES = 8;
/** The interval between two orders for a device that is in the room and not on the stage. */
const REPEAT_MS = 3_000;

export class DeviceInvitation {
  #teacher;
  /** The user ids of this teacher's devices; only those are brought to the stage. */
  #ids;
  /** The id of the next device, which the dialog shows. */
  #next = '';
  #orderedAt = new Map();
  /** The devices that were on the stage since they came: what was taken off stays off. */
  #wereLive = new Set();
  #link = '';

  /** `teacher` has `roomId`, `order`, `people`, `invite` and `signalling`. */
  constructor(teacher) {
    this.#teacher = teacher;
    this.#ids = list(tab.get(this.#key), MOST_DEVICES).map((id) => clean(id, 64));
    $('phone-large').addEventListener('click', () => this.#order('spotlight'));
    $('phone-off').addEventListener('click', () => this.#order('offStage'));
    $('phone-on').addEventListener('click', () => this.#order('stage'));
    onLanguage(() => this.#draw());
  }

  /** Whether a user is a device of this teacher. */
  owns(userId) {
    return this.#ids.includes(userId);
  }

  open() {
    const isUsed = this.#ids.some((id) => id === this.#next && this.#teacher.people.user(id));
    if (!this.#next || !isUsed) this.#draft();
    $('phone-dialog').showModal();
    this.#draw();
    this.second();
  }

  /** To be called once a second: brings a device to the stage that has come into the room. */
  second() {
    const { order, people } = this.#teacher;
    const now = performance.now();
    for (const { userId } of order.stage.stage.speakers) if (this.#ids.includes(userId)) this.#wereLive.add(userId);
    for (const id of this.#ids) {
      if (!people.user(id)) {
        this.#orderedAt.delete(id);
        this.#wereLive.delete(id);
      } else if (!order.stage.has(id) && !order.stage.isFull && !this.#wereLive.has(id)) {
        this.#stage(id, now);
      }
    }
    if ($('phone-dialog').open) this.#state();
  }

  /** Clients wait for admission. This teacher has admitted its own devices already. */
  waiting(users) {
    for (const user of list(users, 100)) {
      if (!this.#ids.includes(user?.userId)) continue;
      this.#teacher.signalling?.send({ type: 'order', order: 'admit', targetUid: user.userId });
    }
  }

  #stage(id, now) {
    if (now - (this.#orderedAt.get(id) ?? -Infinity) < REPEAT_MS) return;
    this.#orderedAt.set(id, now);
    this.#teacher.order.stage.order('stage', id);
  }

  #order(order) {
    if (order === 'spotlight' && this.#teacher.order.stage.stage.spotlight === this.#next) {
      this.#teacher.order.stage.order('spotlightOff');
    } else {
      this.#teacher.order.stage.order(order, this.#next);
    }
  }

  get #key() {
    return `devices ${this.#teacher.roomId}`;
  }

  #draft() {
    this.#next = drawnId('doc');
    this.#ids = [this.#next, ...this.#ids].slice(0, MOST_DEVICES);
    tab.set(this.#key, this.#ids);
  }

  async #draw() {
    if (!$('phone-dialog').open) return;
    this.#state();
    const query = new URLSearchParams({ userId: this.#next, device: 'camera' });
    const link = this.#teacher.invite.linkWith(`?${query}`);
    $('phone-link').textContent = link;
    $('phone-link').href = link;
    const { protocol, hostname } = new URL(link);
    const problem = isHere(hostname) ? 'onlyHere' : protocol === 'https:' ? '' : 'phoneNeedsHttps';
    $('phone-problem').hidden = !problem;
    $('phone-problem').textContent = problem && say(problem);
    if (link === this.#link) return;
    this.#link = link;
    $('phone-qr').hidden = true;
    const source = await qrOf(link);
    if (!source || link !== this.#link) return;
    $('phone-qr').src = source;
    $('phone-qr').alt = say('qrOf', { link });
    $('phone-qr').hidden = false;
  }

  #state() {
    const { people } = this.#teacher;
    const stage = this.#teacher.order.stage;
    const id = this.#next;
    const isLive = stage.stage.speakers.some(({ userId }) => userId === id);
    const isHereNow = Boolean(people.user(id));
    const isFull = stage.isFull && !stage.has(id);
    const isOff = isHereNow && !stage.has(id) && this.#wereLive.has(id);
    const here = isFull ? 'phoneFull' : isOff ? 'phoneOff' : 'phoneComes';
    const key = isLive ? 'phoneLive' : isHereNow ? here : 'phoneAwaited';
    const words = say(key);
    if ($('phone-state').textContent !== words) $('phone-state').textContent = words;
    $('phone-state').classList.toggle('ready', isLive);
    $('phone-large').hidden = !isLive;
    $('phone-large').textContent = say(stage.stage.spotlight === id ? 'meLarge' : 'phoneLarge');
    $('phone-off').hidden = !isLive;
    $('phone-on').hidden = !isOff || isFull;
  }
}

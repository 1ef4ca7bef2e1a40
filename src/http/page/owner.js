// What the owner of a meeting or call room does: name, lock, call everybody, hand over, put out, end.

import { $, bdi, el, icon, nameOf } from './dom.js';
import { hasWords, label, onLanguage, say } from './i18n.js';

export class Owner {
  #conference;
  #drawn = '';

  constructor(conference) {
    this.#conference = conference;
    const send = (message) => conference.room.signalling.send(message);
    const order = (given) => send({ type: 'order', ...given });
    $('rename-form').addEventListener('submit', (event) => {
      event.preventDefault();
      const name = $('rename').value.trim();
      if (name) order({ order: 'rename', name });
      else this.#complain('nameMissing');
    });
    $('owner-lock').addEventListener('click', () => order({ order: 'lock', locked: !conference.info.isLocked }));
    $('owner-call-all').addEventListener('click', () => {
      conference.happens({ type: 'callAll' });
      $('owner-dialog').close();
      conference.tell(say('callAllBegun'));
    });
    $('owner-mute-all').addEventListener('click', () => {
      order({ order: 'muteMicrophone' });
      $('owner-dialog').close();
      conference.tell(say('microphonesAreOff'));
    });
    $('owner-breakouts').addEventListener('click', () => {
      $('owner-dialog').close();
      conference.openBreakouts();
    });
    $('hand-over-now').addEventListener('click', () => {
      const targetUid = $('hand-over').value;
      if (targetUid) order({ order: 'handOver', targetUid });
    });
    $('end-for-all').addEventListener('click', () => {
      order({ order: 'end' });
      $('owner-dialog').close();
    });
    conference.room.people.moreFor = (user) => {
      return user.userId === conference.info.owner ? [el('span', 'badge teacher', say('owner'))] : [];
    };
    onLanguage(() => this.draw());
  }

  open() {
    this.#complain('');
    $('rename').value = this.#conference.info.name;
    this.draw();
    $('owner-dialog').showModal();
  }

  /** Closes the dialog, if `isOver` or if this user is not the owner any more. */
  close(isOver) {
    if ($('owner-dialog').open && (isOver || !this.#conference.isOwner)) $('owner-dialog').close();
  }

  /** The server has refused something. */
  failed(code) {
    if (!$('owner-dialog').open) return;
    $('owner-problem').textContent = say(hasWords(code) ? code : 'unknown');
  }

  draw() {
    const { info, room, media, state, isOwner } = this.#conference;
    const others = room.people.all.filter(({ userId }) => userId !== room.userId);
    const seen = [info, isOwner, others.map(nameOf), media.others.length, say('ownerTools')];
    const drawn = JSON.stringify(seen);
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    this.close(false);
    room.people.draw();
    const isMeeting = state?.kind === 'meeting';
    $('owner-lock').textContent = say(info.isLocked ? 'unlock' : 'lock');
    $('owner-call-all').hidden = !isMeeting;
    $('owner-breakouts').hidden = !isMeeting;
    $('owner-mute-all').hidden = !isMeeting;
    const absent = others.filter(({ userId }) => !media.others.some((one) => one.userId === userId)).length;
    $('owner-call-all').disabled = absent === 0 || info.isCalling;
    const words = info.isCalling ? 'isCalling' : absent > 0 ? 'callAll' : 'callAllNobody';
    $('owner-call-all').querySelector('.name').textContent = say(words, { n: absent });
    $('end-for-all').textContent = say(isMeeting ? 'endMeeting' : 'endCalls');
    const chosen = $('hand-over').value;
    $('hand-over').replaceChildren(...others.map((user) => new Option(nameOf(user), user.userId)));
    if (others.some(({ userId }) => userId === chosen)) $('hand-over').value = chosen;
    $('hand-over-now').disabled = others.length === 0;
  }

  /** The buttons about a participant on its picture, as `KeptButtons` wants them. */
  buttonsFor(user) {
    const { room, state, isOwner } = this.#conference;
    if (!isOwner || user.isMe) return { key: '', make: () => [] };
    const order = (name) => room.signalling.send({ type: 'order', order: name, targetUid: user.userId });
    const buttons = [['i-close', 'putOutName', () => this.#ask(user, () => order('kick'))]];
    const isHeard = state?.kind === 'meeting' && user.tracks.includes('audio');
    if (isHeard) buttons.unshift(['i-mic-off', 'muteName', () => order('muteMicrophone')]);
    const words = buttons.map(([, key]) => say(key, { name: nameOf(user) }));
    const make = () => buttons.map(([sign, , act], n) => {
      const button = el('button', 'dark round', icon(sign));
      button.type = 'button';
      label(button, words[n]);
      button.addEventListener('click', act);
      return button;
    });
    return { key: words.join(' / '), make };
  }

  /** Asks before somebody is put out: the button is small, and its neighbours are others. */
  #ask(user, work) {
    const dialog = el('dialog', 'sure');
    const title = el('h2', '', ...[say('putOutSure')], ' ', bdi(nameOf(user)));
    title.id = 'sure-title';
    dialog.setAttribute('aria-labelledby', 'sure-title');
    const yes = el('button', 'danger', say('kick'));
    const no = el('button', 'primary', say('close'));
    yes.type = 'button';
    no.type = 'button';
    no.autofocus = true;
    yes.addEventListener('click', () => {
      work();
      dialog.close();
    });
    no.addEventListener('click', () => dialog.close());
    dialog.addEventListener('close', () => dialog.remove());
    dialog.append(title, el('p', 'soft', say('putOutText')), el('p', 'buttons', yes, no));
    document.body.append(dialog);
    dialog.showModal();
  }

  #complain(key) {
    $('owner-problem').textContent = key && say(key);
  }
}

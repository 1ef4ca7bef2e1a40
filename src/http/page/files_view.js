// Files in the chat: choosing them, the answer to an offer, how far they are, and saving them. Nothing is opened here:
// a file that has arrived is a link to save.

import { $, announce, bdi, el, icon, nameOf, onFrame } from './dom.js';
import { hasWords, label, onLanguage, say, timeOfDay } from './i18n.js';
import { sizeOf } from './file_rules.js';
import { Files } from './files.js';

/** How often files on their way are looked after. */
const LOOK_MS = 100;
/** The states that are announced to a person who waits for them. */
const TOLD = ['done', 'shared', 'declined', 'cancelled', 'lost', 'failed', 'expired'];

export class FilesView {
  files;
  #room;
  #on;
  /** Of each item: its element, the rows of its transfers, and their last state. */
  #shown = new Map();
  #changed = new Set();
  #draw = onFrame(() => this.#show());

  /**
   * `here` as for `Files`. `on` has `recipient()`, the chosen receiver or `null`, and `told(text)`, which shows a
   * message for some seconds.
   */
  constructor(room, here, on) {
    this.#room = room;
    this.#on = on;
    this.files = new Files(here, {
      added: (item) => this.#added(item),
      changed: (item) => {
        this.#changed.add(item);
        this.#draw();
      },
      removed: (item) => this.#removed(item),
    });
    const input = $('file-input');
    $('file-choose').addEventListener('click', () => input.click());
    input.addEventListener('change', () => {
      this.#send([...input.files]);
      input.value = '';
    });
    // Anywhere, because a file that is dropped beside the chat would replace this page.
    addEventListener('dragover', (event) => {
      if (event.dataTransfer.types.includes('Files')) event.preventDefault();
    });
    addEventListener('drop', (event) => {
      const { files } = event.dataTransfer;
      if (files.length === 0) return;
      event.preventDefault();
      if (!$('file-choose').disabled) this.#send([...files]);
    });
    setInterval(() => this.files.look(), LOOK_MS);
    onLanguage(() => {
      for (const item of this.#shown.keys()) this.#changed.add(item);
      this.#draw();
    });
  }

  /** Whether files can be sent now. */
  set isOpen(isOpen) {
    if ($('file-choose').disabled === !isOpen) return;
    $('file-choose').disabled = !isOpen;
  }

  #send(files) {
    for (const file of files) {
      const problem = this.files.send(file, this.#on.recipient());
      this.#room.chat.complain(problem ? say(problem.key, problem.values) : '');
      if (problem) return;
    }
  }

  #added(item) {
    const { name, size, isMine, user } = item;
    const head = el('p', 'who', bdi(nameOf(user)));
    const title = el('p', 'file-name', icon('i-file'), el('span', 'name', bdi(name)), el('span', 'soft', sizeOf(size)));
    const rows = el('div', 'file-rows');
    const element = el('li', isMine ? 'line file mine' : 'line file', head, el('div', 'file-card', title, rows));
    const shown = { element, head, rows, parts: new Map() };
    this.#shown.set(item, shown);
    this.#changed.add(item);
    this.#show();
    this.#room.chat.put(element, isMine);
    if (isMine) return announce(say('fileSends', { name }));
    this.#on.told(say('fileOffers', { name: nameOf(user), file: name, size: sizeOf(size) }));
  }

  #removed(item) {
    const shown = this.#shown.get(item);
    this.#shown.delete(item);
    for (const { url } of shown?.parts.values() ?? []) if (url) URL.revokeObjectURL(url);
    shown?.element.remove();
  }

  // The view.

  #show() {
    for (const item of this.#changed) {
      const shown = this.#shown.get(item);
      if (shown) this.#showItem(item, shown);
    }
    this.#changed.clear();
  }

  #showItem(item, shown) {
    const signs = [];
    if (item.isMine) signs.push(el('span', 'soft', say('you')));
    const { to } = item;
    const toOne = () => (item.isMine ? [`${say('privatelyTo')} `, bdi(nameOf(to))] : [say('privatelyToYou')]);
    if (to) signs.push(el('span', 'badge private', ...toOne()));
    const [name] = shown.head.children;
    shown.head.replaceChildren(name, ...signs, el('time', 'soft', timeOfDay(item.at)));
    for (const transfer of item.transfers) this.#showTransfer(item, transfer, shown);
  }

  #showTransfer(item, transfer, shown) {
    const part = shown.parts.get(transfer) ?? this.#makePart(item, transfer, shown);
    const { state, done, size } = transfer;
    const isMoving = state === 'running' || state === 'checking';
    part.progress.hidden = !isMoving;
    part.progress.value = size > 0 ? done / size : 0;
    write(part.words, this.#words(item, transfer));
    const drawn = `${state} ${say('fileAccept')}`;
    if (part.drawn === drawn) return;
    const isNews = part.state !== state;
    Object.assign(part, { drawn, state });
    const hadFocus = part.buttons.contains(document.activeElement);
    part.buttons.replaceChildren(...this.#buttons(item, transfer, part));
    if (hadFocus) (part.buttons.querySelector('button, a') ?? part.row).focus();
    label(part.progress, say('fileProgress', { file: item.name }));
    part.row.classList.toggle('is-over', transfer.isOver && state !== 'done');
    if (isNews && TOLD.includes(state)) announce(`${item.name}: ${this.#words(item, transfer)}`);
  }

  #makePart(item, transfer, shown) {
    const part = {
      progress: el('progress'),
      words: el('span', 'soft words'),
      buttons: el('span', 'file-buttons'),
      drawn: '',
      state: 'offered',
      url: '',
    };
    part.progress.max = 1;
    // The log announces what is added, and numbers that change are no news.
    part.words.setAttribute('aria-live', 'off');
    const hasName = item.isMine && !item.to && transfer.user;
    const name = hasName ? [bdi(nameOf(transfer.user), 'file-to')] : [];
    part.row = el('div', 'file-row', ...name, part.progress, part.words, part.buttons);
    part.row.tabIndex = -1;
    shown.rows.append(part.row);
    shown.parts.set(transfer, part);
    return part;
  }

  /** The state in words. */
  #words(item, transfer) {
    const { state, reason, done, size, speed } = transfer;
    const side = item.isMine ? 'out' : 'in';
    if (state === 'running') {
      const values = { done: sizeOf(done), size: sizeOf(size), speed: sizeOf(speed) };
      return say(speed > 0 ? 'fileRunning' : 'fileStarts', values);
    }
    const keys = [`file${side}${state}${reason}`, `file${state}${reason}`, `file${side}${state}`, `file${state}`];
    return say(keys.find(hasWords) ?? 'filefailed');
  }

  #buttons(item, transfer, part) {
    const { state, isOver } = transfer;
    const { name } = item;
    if (state === 'done' && transfer.blob) return [this.#saveLink(name, transfer, part)];
    if (isOver) return [];
    if (state === 'offered' && !item.isMine) {
      return [
        button('primary', say('fileAccept'), say('acceptFile', { file: name }), () => transfer.accept()),
        button('', say('fileDecline'), say('declineFile', { file: name }), () => transfer.decline()),
      ];
    }
    const isShared = state === 'shared';
    const words = isShared ? [say('fileWithdraw'), say('withdrawFile', { file: name })]
      : [say('fileCancel'), say('cancelFile', { file: name })];
    return [button('quiet', ...words, () => transfer.cancel())];
  }

  /** A link that saves the file. Its blob has no type, so that a browser that opens it shows no page of a stranger. */
  #saveLink(name, transfer, part) {
    part.url ||= URL.createObjectURL(transfer.blob);
    const link = el('a', 'button primary', say('fileSave'));
    link.href = part.url;
    link.download = name;
    link.setAttribute('aria-label', say('saveFile', { file: name }));
    return link;
  }
}

function button(className, words, description, onClick) {
  const made = el('button', className, words);
  made.type = 'button';
  made.setAttribute('aria-label', description);
  made.addEventListener('click', onClick);
  return made;
}

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

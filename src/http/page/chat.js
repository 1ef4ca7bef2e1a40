// The messages of the data channel: chat, hands, reactions, tiers; and the lines in the panel.

import { $, announce, bdi, clean, el, list, nameOf, onFrame } from './dom.js';
import { hasWords, label, onLanguage, say, timeOfDay } from './i18n.js';

const MOST_CHARS = 1_000;
/** The most lines on the page; the oldest are removed. */
const MOST_LINES = 500;
const MOST_HANDS = 200;
/** The list follows new lines if its end is at most this far away. */
const NEAR_PX = 60;

/** The codes of all reactions. */
export const REACTIONS = ['like', 'clap', 'heart', 'laugh', 'wow', 'confused'];

export class Chat {
  /** Adds the receiver to a message; `null` if the message can't be sent. */
  address = (message) => message;
  /** Takes what `attach` would, while another conversation is held in the meantime. */
  lender = null;
  /** Elements beside the name of who has written a line. */
  signsFor = () => [];
  #invites = 'writeSomething';
  #on;
  #me = '';
  #channel = null;
  #last = -1;
  /** The place of the own hand in the next list, if that list is too long to hold the hand. */
  #place = 0;
  #pending = [];
  #unread = 0;
  #state = 'later';
  /** Messages up to this id are cleared. */
  #clearedUpTo = 0;
  /** Whether the student may write, and how often. */
  #canWrite = true;
  /** The last message `allows`. */
  #rules = {};
  #slowMs = 0;
  #isFree = false;
  /** The text that was sent last, until the teacher's computer has answered. */
  #sent = '';
  /** Whether the reader is at the end and follows new lines. */
  #follows = true;
  #draw = onFrame(() => this.#flush());

  /**
   * `on` has `line(message)`, `cleared()`, `hands(list)`, `reaction(r)`, `tier(message)`,
   * `allows({ comments, reactions, muteAll, slowMs })`, `stopped({ screen, camera })` and `state(isOpen)`; and, if
   * wanted, `other(message)` for `welcome` and for a message that does not concern the conversation, and
   * `refused(error)` for an error, which says whether the error does not concern the conversation.
   */
  constructor(on) {
    this.#on = on;
    const text = $('chat-text');
    $('chat-form').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#submit();
    });
    text.addEventListener('keydown', (event) => {
      // Enter that commits a word in an input method does not send.
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#submit();
    });
    text.addEventListener('input', () => this.#typed());
    // A tap must not close the keyboard, which would move the button away from the finger.
    $('chat-send').addEventListener('mousedown', (event) => event.preventDefault());
    $('chat-scroll').addEventListener('scroll', () => {
      this.#follows = this.#isAtEnd();
      if (this.#follows) this.read();
    }, { passive: true });
    $('chat-newest').addEventListener('click', () => this.#toEnd());
    onLanguage(() => this.#show());
  }

  /** Sets the student's own id. */
  iAm(userId) {
    this.#me = userId;
  }

  /** Uses this channel from now on; none if it is `null`. */
  attach(channel, isComing = false) {
    if (this.lender) return this.lender(channel);
    this.#use(channel, channel || isComing ? 'connecting' : 'later');
  }

  /** Leaves this conversation for that of `channel`. Returns what `back` needs. */
  leave(channel) {
    this.#flush();
    const kept = {
      ids: [this.#last, this.#clearedUpTo],
      rules: this.#rules,
      lines: [...$('chat-lines').children],
      channel: this.#channel,
      state: this.#state,
    };
    this.#go({ ids: [-1, -1], rules: {}, lines: [], channel, state: 'connecting' });
    return kept;
  }

  /** Goes on with the conversation that was left, over `channel`. */
  back(kept, channel) {
    this.#go({ ...kept, channel, state: channel === kept.channel ? kept.state : 'connecting' });
  }

  #go({ ids, rules, lines, channel, state }) {
    [this.#last, this.#clearedUpTo] = ids;
    this.#allows(rules);
    this.#pending = [];
    this.#unread = 0;
    $('chat-lines').replaceChildren(...lines);
    $('chat-empty').hidden = lines.length > 0;
    this.#use(channel, state);
    this.#toEnd();
  }

  #use(channel, state) {
    this.#channel = channel;
    this.#state = state;
    if (channel) {
      channel.onmessage = ({ data }) => channel === this.#channel && this.#receive(data);
      channel.onclose = () => channel === this.#channel && this.attach(null, true);
    }
    this.#show();
  }

  get isOpen() {
    return this.#state === 'open';
  }

  hand(raised) {
    return this.#send({ type: 'hand', raised });
  }

  react(reaction) {
    return this.#send({ type: 'reaction', reaction });
  }

  /** An order of a member who moderates. */
  moderate(order) {
    return this.#send({ type: 'moderate', ...order });
  }

  /** Sets the permissions of the class: `{ comments, reactions }`. */
  allow(allowed) {
    return this.#send({ type: 'allow', ...allowed });
  }

  /** A message that does not concern the conversation. Returns whether it was sent. */
  tell(message) {
    return this.#send(message);
  }

  /** Whether slow mode does not concern this member, who moderates. */
  set isFree(isFree) {
    if (this.#isFree === isFree) return;
    this.#isFree = isFree;
    this.#show();
  }

  /** The sentence in the empty field. */
  set invites(key) {
    this.#invites = key;
    this.#show();
  }

  /** Shows an element that is no message, such as a file. */
  put(element, isMine) {
    this.#flush();
    $('chat-lines').append(element);
    if (isMine) this.#toEnd();
    else this.#unread += 1;
    this.#flush();
  }

  /** Says below the lines what is wrong; nothing if empty. */
  complain(text) {
    $('chat-error').textContent = text;
  }

  /** Marks all lines as read. */
  read() {
    if ($('chat').hidden || !$('chat').checkVisibility?.()) return;
    this.#unread = 0;
    this.#count();
  }

  /** The panel was opened. */
  opened() {
    if (this.#follows || this.#unread > 0) this.#toEnd();
    this.read();
  }

  #send(message) {
    if (!this.isOpen || this.#channel?.readyState !== 'open') return false;
    this.#channel.send(JSON.stringify(message));
    return true;
  }

  #receive(data) {
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return;
    }
    if (typeof message !== 'object' || message === null) return;
    switch (message.type) {
      case 'welcome':
        this.#state = 'open';
        // Before the history: this page may have been away when the chat was cleared.
        this.clear(message.clearedUpTo);
        for (const line of list(message.history, MOST_LINES)) this.#line(line, false);
        this.#hands(message.hands);
        this.#show();
        this.#on.other?.(message);
        break;
      case 'msg':
        this.#line(message, true);
        break;
      case 'cleared':
        this.clear(message.upTo);
        break;
      case 'handPlace':
        this.#place = Number(message.place) || 0;
        break;
      case 'hands':
        this.#hands(message.hands);
        break;
      case 'reaction':
        if (REACTIONS.includes(message.reaction)) this.#on.reaction({ ...person(message), reaction: message.reaction });
        break;
      case 'tier':
        this.#on.tier(message);
        break;
      case 'allows':
        this.#allows(message);
        break;
      case 'stopped':
        this.#on.stopped(stoppedOf(message));
        break;
      case 'error':
        if (!this.#on.refused?.(message)) this.#refused(message);
        break;
      default:
        this.#on.other?.(message);
    }
  }

  #line(message, isNew) {
    // The history comes again with each new connection.
    const id = Number(message.id);
    if (!(id > this.#last)) return;
    this.#last = id;
    if (typeof message.text !== 'string') return;
    const line = {
      id,
      ...person(message),
      isTeacher: message.pub === 'pub',
      text: clean(message.text, MOST_CHARS),
      to: clean(message.to, 64),
      at: Number(message.at) || Date.now(),
    };
    this.#pending.push(line);
    if (this.#pending.length > MOST_LINES) this.#pending.shift();
    // A message of one's own comes back when it is accepted.
    if (line.userId === this.#me) this.#sent = '';
    if (isNew) {
      if (line.userId !== this.#me) this.#unread += 1;
      // Others may see the picture, over which a line may fly.
      if (!line.to) this.#on.line(line);
    }
    this.#draw();
  }

  /**
   * Removes the lines up to this id, also those that fly over the picture. From now on, lines after `last` are new;
   * where another conversation begins, `Infinity` and -1 leave nothing of the last one but its files.
   */
  clear(upTo, last = Math.max(this.#last, upTo)) {
    if (!(upTo > this.#clearedUpTo)) return;
    this.#last = last;
    this.#clearedUpTo = Math.min(last, upTo);
    this.#pending = this.#pending.filter((line) => line.id > upTo);
    for (const item of [...$('chat-lines').children]) if (item.dataset.id <= upTo) item.remove();
    this.#unread = 0;
    this.#on.cleared();
    this.#draw();
  }

  #allows(message) {
    this.#rules = message;
    const slowMs = Number(message.slowMs) || 0;
    const allowed = { comments: message.comments !== false, reactions: message.reactions !== false };
    this.#on.allows({ ...allowed, muteAll: message.muteAll === true, slowMs });
    const was = this.#canWrite;
    this.#canWrite = message.chat !== false;
    this.#slowMs = slowMs;
    if (was !== this.#canWrite) announce(say(was ? 'muted' : 'unmuted'));
    if (this.#canWrite) this.complain('');
    this.#show();
  }

  /** A message was refused. Its words come back, so that they can be sent later. */
  #refused({ code, retryAfterMs }) {
    const n = Math.ceil(Number(retryAfterMs) / 1_000) || 1;
    const input = $('chat-text');
    const words = code === 'slowMode' ? 'tooSoon' : code;
    this.complain(say(hasWords(words) ? words : 'unknown', { n }));
    if ((code === 'slowMode' || code === 'muted') && !input.value) input.value = this.#sent;
    this.#sent = '';
    this.#typed();
  }

  #hands(hands) {
    this.#on.hands(list(hands, MOST_HANDS).map(person), this.#place);
    this.#place = 0;
  }

  #flush() {
    const lines = $('chat-lines');
    const mine = this.#pending.some((line) => line.userId === this.#me);
    lines.append(...this.#pending.splice(0).map((line) => this.#element(line)));
    while (lines.childElementCount > MOST_LINES) lines.firstElementChild.remove();
    $('chat-empty').hidden = lines.childElementCount > 0;
    if (this.#follows || mine) this.#toEnd();
    this.#count();
  }

  #element(line) {
    const head = el('p', 'who', bdi(nameOf(line)));
    if (line.isTeacher) head.append(el('span', 'badge teacher', say('teacher')));
    else if (line.userId === this.#me) head.append(el('span', 'soft', say('you')));
    head.append(...this.signsFor(line));
    const time = el('time', 'soft', timeOfDay(line.at));
    head.append(time);
    const text = el('p', 'text', ...withLinks(line.text));
    text.dir = 'auto';
    const item = el('li', line.isTeacher ? 'line teacher' : 'line', head, text);
    item.dataset.id = line.id;
    if (line.userId === this.#me) item.classList.add('mine');
    if (line.to) item.classList.add('is-private');
    return item;
  }

  #submit() {
    const input = $('chat-text');
    const text = input.value.trim();
    if (!text) return;
    const message = this.address({ type: 'msg', text: clean(text, MOST_CHARS) });
    if (!message) return;
    if (!this.#send(message)) return this.complain(say('notSent'));
    this.#sent = text;
    input.value = '';
    this.complain('');
    this.#typed();
  }

  #typed() {
    const input = $('chat-text');
    const left = MOST_CHARS - Array.from(input.value).length;
    $('chat-left').textContent = left < 200 ? say('charsLeft', { n: left }) : '';
    input.style.height = 'auto';
    input.style.height = `${Math.min(input.scrollHeight + 2, 160, innerHeight / 4)}px`;
  }

  #placeholder() {
    if (!this.#canWrite) return say('muted');
    const isSlow = this.#slowMs > 0 && !this.#isFree;
    return isSlow ? say('writeSlowly', { n: Math.round(this.#slowMs / 1_000) }) : say(this.#invites);
  }

  #isAtEnd() {
    const box = $('chat-scroll');
    return box.scrollHeight - box.scrollTop - box.clientHeight < NEAR_PX;
  }

  #toEnd() {
    const box = $('chat-scroll');
    box.scrollTop = box.scrollHeight;
    this.read();
  }

  #count() {
    if (this.#isAtEnd() && !document.hidden) {
      const seen = !$('chat').hidden && $('chat').checkVisibility?.() !== false;
      if (seen) this.#unread = 0;
    }
    const unread = this.#unread > 99 ? '99+' : this.#unread;
    for (const badge of document.querySelectorAll('#tab-chat .unread, #chat-toggle .unread')) {
      badge.hidden = this.#unread === 0;
      badge.textContent = unread;
    }
    label($('chat-toggle'), this.#unread > 0 ? say('chatUnread', { n: unread }) : say('chat'));
    $('chat-newest').hidden = this.#unread === 0 || this.#isAtEnd();
  }

  #show() {
    const open = this.isOpen;
    const text = $('chat-text');
    text.disabled = !open || !this.#canWrite;
    $('chat-send').disabled = text.disabled;
    text.placeholder = this.#placeholder();
    const hint = { later: 'chatLater', connecting: 'chatConnecting', open: 'chatEmpty' }[this.#state];
    $('chat-empty').textContent = say(hint);
    this.#count();
    this.#on.state(open);
  }
}

/** A web address ends at a space, a quotation mark or Chinese punctuation. */
const ADDRESS = /\bhttps?:\/\/[^\s<>"'`{}|\\^\u3000-\u303f\uff00-\uffef\u2018-\u201f]+/gi;

/** The text in pieces, with links for web addresses. */
function withLinks(text) {
  const pieces = [];
  let end = 0;
  for (const { 0: found, index } of text.matchAll(ADDRESS)) {
    const address = withoutEnd(found);
    if (!isAddress(address)) continue;
    const link = el('a', '', address);
    link.href = address;
    link.target = '_blank';
    link.rel = 'noopener noreferrer';
    pieces.push(text.slice(end, index), link);
    end = index + address.length;
  }
  return [...pieces, text.slice(end)].filter((piece) => piece !== '');
}

function isAddress(text) {
  try {
    return new URL(text).hostname !== '';
  } catch {
    return false;
  }
}

/** Removes what belongs to the sentence: punctuation, and a bracket that was opened before the address. */
function withoutEnd(address) {
  let kept = address.replace(/[.,;:!?*_~]+$/, '');
  for (const [open, close] of ['()', '[]']) {
    const count = (sign) => kept.split(sign).length;
    while (kept.endsWith(close) && count(close) > count(open)) kept = kept.slice(0, -1).replace(/[.,;:!?]+$/, '');
  }
  return kept;
}

function person(message) {
  return { userId: clean(message?.userId, 64), nickname: clean(message?.nickname, 40) };
}

/** The message `stopped`, checked: `{ screen, camera, unsent: { screen, camera } }`. */
function stoppedOf({ screen, camera, unsent }) {
  const videos = (from) => ({ screen: from?.screen === true, camera: from?.camera === true });
  return { ...videos({ screen, camera }), unsent: videos(unsent) };
}

// The form that creates a room of one of the three kinds, and what follows: the link, and how to go on.

import { $, addStyle, elementsOf } from './dom.js';
import { addWords, onLanguage, say, translate } from './i18n.js';
import { isId, keepTeachingKey, linkTo, teachCommand, teachingKey, teachingLink } from './identity.js';

const WORDS = { en: './new_room_english.js', zh: './new_room_chinese.js' };
/** What the codes of a refusal mean here. */
const REFUSALS = {
  floodedMessages: 'createFlooded',
  serverFull: 'createFull',
  badRequest: 'createBadName',
  wrongKind: 'createWrongKind',
  notAllowed: 'createWrongKind',
};

/** Loads the form and shows it. `created()` is called when there is a new room. */
export async function startNewRoom(created) {
  const [elements] = await Promise.all([
    elementsOf('./new_room.html'), addWords(WORDS), addStyle('./new_room.css'), addStyle('./boxes.css'),
  ]);
  $('actions').append(...elements.children);
  translate();
  new NewRoom(created);
}

/** The chosen kind. */
const kind = () => new FormData($('create')).get('kind');

class NewRoom {
  #created;
  /** `{ id, kind }` of the room that was created last. */
  #room = null;
  #isCreating = false;

  constructor(created) {
    this.#created = created;
    $('create').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#create($('create-name').value.trim(), kind());
    });
    const explain = () => ($('kind-text').textContent = say(`kind${kind()}Text`));
    $('create').addEventListener('change', explain);
    onLanguage(() => {
      explain();
      this.#show();
    });
  }

  async #create(name, wanted) {
    const error = $('create-error');
    error.textContent = name ? '' : say('nameMissing');
    if (!name) return $('create-name').focus();
    // A second click makes no second room.
    if (this.#isCreating) return;
    this.#isCreating = true;
    const key = $('create-key').value.trim() || teachingKey();
    try {
      const response = await fetch('/api/rooms', {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...(key ? { authorization: `Bearer ${key}` } : {}) },
        body: JSON.stringify({ name, kind: wanted }),
        signal: AbortSignal.timeout(5_000),
      });
      const answer = await response.json().catch(() => ({}));
      if (!response.ok || !isId(answer.roomId)) {
        if (answer.code === 'teachingKeyRequired') this.#askForKey(Boolean(key));
        else error.textContent = say(REFUSALS[answer.code] ?? 'cannotCreate');
        return;
      }
      if (key) keepTeachingKey(key);
      this.#room = { id: answer.roomId, kind: wanted };
      $('create-name').value = '';
      this.#show();
      $('created').focus();
      this.#created();
    } catch {
      error.textContent = `${say('cannotCreate')} ${say('noServer')}`;
    } finally {
      this.#isCreating = false;
    }
  }

  /** Only a teacher may create a room on this server. */
  #askForKey(isWrong) {
    $('create-key-part').hidden = false;
    $('create-error').textContent = say(isWrong ? 'teachingKeyWrong' : 'teachingKeyNeeded');
    $('create-key').focus();
  }

  /** Shows the link of the new room, and how its creator goes on. */
  #show() {
    if (!this.#room) return;
    const { id, kind: made } = this.#room;
    const isLecture = made === 'lecture';
    const link = linkTo(id);
    $('created').hidden = false;
    $('created-title').textContent = say('createdTitle', { id });
    $('share-text').textContent = say(isLecture ? 'shareLink' : 'shareLinkWithAll');
    $('share-link').textContent = link;
    $('share-link').href = link;
    $('teach-new').textContent = say(isLecture ? 'teachInRoom' : 'goInto');
    $('teach-new').href = isLecture ? teachingLink(id) : `${link}?kind=${made}`;
    for (const part of ['teach-here', 'teach-command-part']) $(part).hidden = !isLecture;
    $('created-command').textContent = teachCommand(id);
  }
}

// What is true of files whoever sends them: names, sizes, and what a peer may say about a file. Everything from outside
// is hostile here, and no element is touched.

/** The largest files, from participant to participant and over the server, in bytes. */
export const MOST_BYTES = { pair: 100_000_000, server: 10_000_000 };
/** The largest message of a data channel that carries a file. */
export const CHUNK_BYTES = 16 * 1024;
/** The bytes of one request to the server (`FILE_PART_BYTES`). */
export const PART_BYTES = 256 * 1024;
/** The name of the way to the server, among the user ids of those to participants. */
export const SERVER = Symbol('server');
/** The label of a data channel that carries a file; its protocol is the id of the file. */
export const FILE_LABEL = 'file';
/** Why a participant does not take a file. */
export const DECLINES = ['declined', 'noFiles', 'busy', 'tooLarge'];

const MOST_NAME = 120;
const MOST_ENDING = 16;
/** Control characters, and what hides or reorders others (Unicode TR 9). */
const HIDDEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0]/gu;
/** Separators of paths, and the signs that Windows keeps for itself. */
const SEPARATORS = /[/\\:*?"<>|]/g;
/** Names that Windows keeps for itself, whatever their ending. */
const DEVICES = /^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/i;

/** A name that is safe to show and to save: no path, nothing hidden, not too long, never empty. */
export function safeName(text) {
  if (typeof text !== 'string') return 'file';
  const plain = text.slice(0, 4 * MOST_NAME).replace(HIDDEN, '').replace(SEPARATORS, '_').replace(/\s/g, ' ');
  const name = plain.replace(/^[. ]+|[. ]+$/g, '');
  const letters = Array.from(DEVICES.test(name) ? `_${name}` : name);
  if (letters.length === 0) return 'file';
  if (letters.length <= MOST_NAME) return letters.join('');
  const dot = letters.lastIndexOf('.');
  const ending = dot > 0 && letters.length - dot <= MOST_ENDING ? letters.slice(dot) : [];
  return [...letters.slice(0, MOST_NAME - ending.length), ...ending].join('');
}

const isId = (id) => typeof id === 'string' && /^[A-Za-z0-9]{1,32}$/.test(id);

/** A random id, also on a page without a secure context. */
export function newFileId() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** What a participant says about a file, checked: `file`, `fileAnswer` or `fileCancel`; `null` for other messages. */
export function readMessage(text) {
  if (typeof text !== 'string' || text.length > 4_000) return null;
  let message;
  try {
    message = JSON.parse(text);
  } catch {
    return null;
  }
  const { type, id, name, size, only, accepted, reason } = message ?? {};
  if (!isId(id)) return null;
  if (type === 'file') {
    const isOffer = Number.isSafeInteger(size) && size > 0;
    return isOffer ? { type, id, name: safeName(name), size, isOnly: only === true } : null;
  }
  if (type === 'fileCancel') return { type, id };
  if (type !== 'fileAnswer') return null;
  return { type, id, accepted: accepted === true, reason: DECLINES.includes(reason) ? reason : 'declined' };
}

/** A size in words: kB below 1 MB, as the file managers of most systems count. */
export function sizeOf(bytes) {
  if (bytes < 1_000) return `${bytes} B`;
  if (bytes < 999_500) return `${Math.round(bytes / 1_000)} kB`;
  const mega = bytes / 1_000_000;
  return `${mega.toFixed(mega < 9.95 ? 1 : 0)} MB`;
}

/** The SHA-256 of a file in hexadecimal; empty on a page without a secure context, which has no cryptography. */
export async function digestOf(blob) {
  if (!globalThis.crypto?.subtle) return '';
  const hash = await crypto.subtle.digest('SHA-256', await blob.arrayBuffer());
  return Array.from(new Uint8Array(hash), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

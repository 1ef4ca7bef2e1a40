// The language of the page: the browser's, or the chosen one.

import { bdi, store } from './dom.js';

/** The files with the sentences; only that of the language in use is loaded. */
const FILES = { en: './english.js', zh: './chinese.js' };
/** The files with the sentences of modules that are loaded on demand, such as those for teachers. */
const more = [];
const words = {};

const listeners = new Set();
let language = pick();
await load(language);

function pick() {
  const chosen = store.get('lang');
  if (chosen in FILES) return chosen;
  const liked = (navigator.languages ?? [navigator.language ?? 'en']).map((tag) => tag.toLowerCase().split('-')[0]);
  return liked.find((tag) => tag in FILES) ?? 'en';
}

async function load(wanted) {
  const files = await Promise.all([FILES, ...more].map((files) => import(files[wanted])));
  words[wanted] = Object.assign(words[wanted] ?? {}, ...files.map((file) => file[wanted]));
}

/** Adds the sentences of these files, one for each language. */
export async function addWords(files) {
  more.push(files);
  await load(language);
}

/** Who keeps order in the room of this page. */
let keeper = 'theTeacher';

/** Whether the owner keeps order in a room of this kind, and not a teacher. */
export const isOwned = (kind) => kind === 'meeting' || kind === 'call';

/** From now on sentences are about a room of this kind. */
export function speakOf(kind) {
  keeper = isOwned(kind) ? 'theOwner' : 'theTeacher';
}

/** A sentence in the page's language. If `n` is 1, the sentence `KEYOne` is used where it exists. */
export function say(key, values = {}) {
  const one = values.n === 1 && words[language][`${key}One`];
  const text = one || (words[language][key] ?? key);
  const who = words[language][keeper];
  const all = { keeper: who, Keeper: who[0].toUpperCase() + who.slice(1), ...values };
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in all ? all[name] : whole));
}

/** A sentence around a name, which keeps its own direction. */
export function sayOf(key, name) {
  const [before, after] = say(key, { name: '\u0000' }).split('\u0000');
  return [before, bdi(name), after];
}

/** Whether a sentence exists: error codes of a newer server have none. */
export const hasWords = (key) => Object.hasOwn(words[language], key);

/** Calls `listener` now, and again when the language changes. */
export function onLanguage(listener) {
  listeners.add(listener);
  listener();
}

/** Switches to the other language. */
export async function switchLanguage() {
  const other = language === 'en' ? 'zh' : 'en';
  await load(other);
  language = other;
  store.set('lang', language);
  translate();
  for (const listener of listeners) listener();
}

/** The local time of day. */
export function timeOfDay(ms) {
  return new Date(ms).toLocaleTimeString(language, { hour: '2-digit', minute: '2-digit', hour12: false });
}

/** A duration in words. */
export function duration(s) {
  if (s < 60) return say('seconds', { n: Math.floor(s) });
  if (s < 3600) return say('minutes', { n: Math.floor(s / 60) });
  return say('hours', { h: Math.floor(s / 3600), m: Math.floor(s / 60) % 60 });
}

/** Sets the label of an element for screen readers and its tooltip. */
export function label(element, text) {
  element.setAttribute('aria-label', text);
  if (element.matches('button, a, input[type=range]')) element.title = text;
}

/** Fills in the texts of the HTML. */
export function translate() {
  document.documentElement.lang = language === 'zh' ? 'zh-CN' : 'en';
  for (const e of document.querySelectorAll('[data-i18n]')) e.textContent = say(e.dataset.i18n);
  for (const e of document.querySelectorAll('[data-label]')) label(e, say(e.dataset.label));
  for (const e of document.querySelectorAll('[data-placeholder]')) e.placeholder = say(e.dataset.placeholder);
}

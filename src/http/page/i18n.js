// The language of the page: that of the browser, or the one chosen and remembered.

import { words } from './words.js';
import { bdi, store } from './dom.js';

const listeners = new Set();
let language = pick();

function pick() {
  const chosen = store.get('lang');
  if (chosen in words) return chosen;
  const liked = (navigator.languages ?? [navigator.language ?? 'en']).map((tag) => tag.toLowerCase().split('-')[0]);
  return liked.find((tag) => tag in words) ?? 'en';
}

/** A sentence in the language of the page; of one thing (`n` is 1) it may say something else, by the key with `One`. */
export function say(key, values = {}) {
  const one = values.n === 1 && words[language][`${key}One`];
  const text = one || (words[language][key] ?? words.en[key] ?? key);
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

/** A sentence around somebody's name, which keeps the direction that it has. */
export function sayOf(key, name) {
  const [before, after] = say(key, { name: '\u0000' }).split('\u0000');
  return [before, bdi(name), after];
}

/** Whether there is such a sentence: error codes of a newer server have none. */
export const hasWords = (key) => Object.hasOwn(words.en, key);

/** Calls `listener` now, and again when the language changes. */
export function onLanguage(listener) {
  listeners.add(listener);
  listener();
}

/** Goes over to the other language. */
export function switchLanguage() {
  language = language === 'en' ? 'zh' : 'en';
  store.set('lang', language);
  translate();
  for (const listener of listeners) listener();
}

/** The time of day, as people here write it. */
export const timeOfDay = (ms) => new Date(ms).toLocaleTimeString(language, { hour: '2-digit', minute: '2-digit', hour12: false });

/** A length of time in words. */
export function duration(s) {
  if (s < 60) return say('seconds', { n: Math.floor(s) });
  if (s < 3600) return say('minutes', { n: Math.floor(s / 60) });
  return say('hours', { h: Math.floor(s / 3600), m: Math.floor(s / 60) % 60 });
}

/** Labels an element for the eye that hovers and for the ear. */
export function label(element, text) {
  element.setAttribute('aria-label', text);
  if (element.matches('button, a, input[type=range]')) element.title = text;
}

/** Fills in every text that stands in the HTML. */
export function translate() {
  document.documentElement.lang = language === 'zh' ? 'zh-CN' : 'en';
  for (const e of document.querySelectorAll('[data-i18n]')) e.textContent = say(e.dataset.i18n);
  for (const e of document.querySelectorAll('[data-label]')) label(e, say(e.dataset.label));
  for (const e of document.querySelectorAll('[data-placeholder]')) e.placeholder = say(e.dataset.placeholder);
}

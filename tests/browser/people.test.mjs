// The list of people of the page, in Node.js: the modules of the page with the few parts of a document that they use.

import assert from 'node:assert/strict';
import { test } from 'node:test';

const elements = {};
const element = () => ({ textContent: '', children: [], append() {}, setAttribute() {}, replaceChildren(...children) {
  this.children = children;
} });
globalThis.document = {
  hidden: false,
  getElementById: (id) => (elements[id] ??= element()),
  createElement: element,
  createElementNS: element,
};
globalThis.requestAnimationFrame = (run) => run();
Object.defineProperty(globalThis, 'navigator', { value: { languages: ['en'] }, configurable: true });
globalThis.location = { pathname: '/room/1', search: '', hash: '' };

const { People } = await import('../../src/http/page/people.js');

const student = (n) => ({ userId: String(n), nickname: `Student ${n}`, epoch: 1 });
const students = (from, to) => Array.from({ length: to - from }, (_, n) => student(from + n));
const teacher = { userId: '9999', nickname: 'Ms Li', pub: 'pub', epoch: 1 };
const shown = () => ({
  count: Number(elements['people-count'].textContent),
  listed: elements.users.children.length,
  more: elements['users-more'].textContent,
});

function people() {
  const list = new People(() => {}, () => []);
  list.iAm('1');
  return list;
}

test('a class of 612 is counted whole, and the list says that it is not', () => {
  const list = people();
  list.set([teacher, ...students(1, 500)], 612);
  assert.deepEqual(shown(), { count: 612, listed: 200, more: '612 people are here. Only 200 names are listed.' });
  assert.equal(list.students, 611);
});

test('a class whose names fit is listed whole, without a remark', () => {
  const list = people();
  list.set([teacher, ...students(1, 31)], 31);
  assert.deepEqual(shown(), { count: 31, listed: 31, more: '' });
  list.set([teacher, ...students(1, 31)], 0);
  assert.equal(shown().count, 31, 'an older server does not count');
});

test('leaves of people without a name count, and the count of the server corrects what nobody can know', () => {
  const list = people();
  list.set([teacher, ...students(1, 500)], 612);
  list.leave(['2', '611']);
  assert.equal(shown().count, 610);
  list.join([student(700)]);
  assert.equal(shown().count, 611);
  // This student was one of the 612 when this page joined.
  list.join([student(550)]);
  list.count(611);
  assert.equal(shown().count, 611);
  list.leave(students(3, 500).map(({ userId }) => userId));
  list.count(114);
  assert.deepEqual(shown(), { count: 114, listed: 4, more: '114 people are here. Only 4 names are listed.' });
});

test('in a breakout room only those who are there are listed, and the others are counted', () => {
  const list = people();
  list.set([teacher, ...students(1, 31)], 31);
  list.near = new Set(['1', '2', '77']);
  assert.deepEqual([shown().count, shown().listed], [2, 2]);
  assert.equal(list.here.length, 2);
  assert.equal(list.students, 30, 'the class is as large as before');
  list.near = null;
  assert.deepEqual(shown(), { count: 31, listed: 31, more: '' });
});

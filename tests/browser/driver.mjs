// Drives one browser for the tests in tests/it/browser: commands come in on stdin and answers go out on stdout, one
// JSON object a line. What a page does by itself (requests, messages on the console, dialogs) is told as an event.
//
//   node driver.mjs chromium|firefox PROGRAM [PROFILE]
//
// PROFILE is a folder with a database of certificates: Chromium's home directory, or the profile of Firefox.
//
//   {"id":1,"do":"open","page":"p1","person":"anna","url":"http://127.0.0.1:18080/"}    {"id":1,"value":null}
//   {"id":2,"do":"evaluate","page":"p1","code":"document.title"}                        {"id":2,"value":"classroom"}
//
// The end of stdin ends the browser too, so nothing is left running when a test is killed.

import { createInterface } from 'node:readline';

const [which, program, profile] = process.argv.slice(2);
const tell = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);
// Nobody reads any more; the end of stdin follows.
process.stdout.on('error', () => {});

const { launch } = await import(`./${which}.mjs`);
const browser = await launch(program, profile);
const contexts = new Map();
const pages = new Map();

/** A person's browser profile, shared by that person's windows. */
function contextOf(person, options) {
  if (!contexts.has(person)) contexts.set(person, browser.context(options));
  return contexts.get(person);
}

const commands = {
  async open({ page: name, person = name, url, options = {} }) {
    const page = await browser.page(await contextOf(person, options), options);
    const say = (event, more) => tell({ event, page: name, ...more });
    page.on('request', (request) => say('request', { url: request.url() }));
    page.on('websocket', (socket) => say('request', { url: socket.url() }));
    page.on('console', (message) => say('console', { kind: message.type(), text: message.text() }));
    page.on('download', async (file) => say('download', { name: file.suggestedFilename(), path: await file.path() }));
    page.on('pageerror', (error) => say('exception', { text: String(error?.stack ?? error) }));
    page.on('dialog', async (dialog) => {
      say('dialog', { text: dialog.message() });
      // A page that asks before it closes is closed.
      const isAboutLeaving = dialog.type() === 'beforeunload';
      await (isAboutLeaving ? dialog.accept() : dialog.dismiss()).catch(() => {});
    });
    pages.set(name, page);
    await browser.goto(page, url);
  },
  goto: ({ page, url }) => browser.goto(pages.get(page), url),
  reload: async ({ page }) => void (await pages.get(page).reload({ waitUntil: 'domcontentloaded' })),
  evaluate: ({ page, code }) => browser.evaluate(pages.get(page), code),
  async click({ page, role, name }) {
    // Of two windows of a person, the hidden one renders one frame per second. On a display that is shared, what is in
    // front is part of the test.
    if (!process.env.SHARED_DISPLAY) await pages.get(page).bringToFront();
    await browser.click(pages.get(page), role, name);
  },
  choose: ({ page, selector, files }) => pages.get(page).setInputFiles(selector, files),
  press: ({ page, key }) => pages.get(page).keyboard.press(key),
  type: ({ page, text }) => pages.get(page).keyboard.type(text),
  screenshot: async ({ page, file, options }) => void (await pages.get(page).screenshot({ path: file, ...options })),
  async close({ page }) {
    await pages.get(page).close();
    pages.delete(page);
  },
};

async function obey(line) {
  const { id, do: verb, ...rest } = JSON.parse(line);
  try {
    tell({ id, value: (await commands[verb](rest)) ?? null });
  } catch (error) {
    tell({ id, error: String(error?.stack ?? error) });
  }
}

async function finish() {
  // If the browser hangs, its library kills it when this process exits.
  setTimeout(() => process.exit(1), 4_000).unref();
  await browser.close().catch(() => {});
  process.exit(0);
}

createInterface({ input: process.stdin }).on('line', obey).on('close', finish);
tell({ event: 'ready' });

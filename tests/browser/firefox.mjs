// Drives Firefox ESR with Puppeteer, because Playwright drives only its own build of Firefox.

import puppeteer from 'puppeteer-core';
import { smallCamera } from './small_camera.mjs';
import { witness } from './witness.mjs';

const prefs = {
  // The tests' classes are on loopback, where Firefox gathers no candidate by itself. Without permission for the
  // microphone it gathers only those of the default route.
  'media.peerconnection.ice.loopback': true,
  'permissions.default.microphone': 1,
  // A camera that shows changing colours and a microphone that hums, for those who teach from a browser.
  'permissions.default.camera': 1,
  'media.navigator.streams.fake': true,
  // Contacts no other host: everything outside of this machine and of a `Lan` goes to a closed port.
  'network.proxy.type': 1,
  'network.proxy.http': '127.0.0.1',
  'network.proxy.http_port': 9,
  'network.proxy.ssl': '127.0.0.1',
  'network.proxy.ssl_port': 9,
  'network.proxy.no_proxies_on': '127.0.0.1, 10.13.0.0/24',
  'media.gmp-manager.updateEnabled': false,
  'network.captive-portal-service.enabled': false,
  'network.connectivity-service.enabled': false,
  'services.settings.server': 'data:,',
  'app.update.disabledForTesting': true,
};

/** How long a click may take to find its button, in milliseconds. */
const PATIENCE_MS = 50_000;

/** Puppeteer's own search by role and name takes seconds in Firefox. */
const candidates = { button: 'button', link: 'a', tab: '[role=tab]', textbox: 'input, textarea' };

/** The visible, enabled element with this name. */
function find(selector, name) {
  const nameOf = (it) => it.getAttribute('aria-label') ?? it.labels?.[0]?.textContent ?? it.textContent;
  const isIt = (it) => globalThis.witness.sees(it) && !it.disabled && nameOf(it).trim() === name;
  return [...document.querySelectorAll(selector)].find(isIt);
}

/** `profile` is a folder for the profile, which may have a database of certificates. */
export async function launch(program, profile) {
  const browser = await puppeteer.launch({
    browser: 'firefox',
    executablePath: program,
    headless: true,
    userDataDir: profile,
    extraPrefsFirefox: prefs,
  });
  return {
    context: () => browser.createBrowserContext(),
    async page(context, { width = 1280, height = 720, hasSmallCamera = false }) {
      const page = await context.newPage();
      await page.setViewport({ width, height });
      await page.evaluateOnNewDocument(witness);
      if (hasSmallCamera) await page.evaluateOnNewDocument(smallCamera);
      return page;
    },
    evaluate: (page, expression) => page.evaluate(expression),
    goto: async (page, url) => void (await page.goto(url, { waitUntil: 'domcontentloaded' })),
    async click(page, role, name) {
      const found = await page.waitForFunction(find, { timeout: PATIENCE_MS }, candidates[role], name);
      await found.click();
    },
    close: () => browser.close(),
  };
}

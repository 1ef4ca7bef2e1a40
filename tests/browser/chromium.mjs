// Drives Chromium with Playwright.

import { readFileSync } from 'node:fs';
import { chromium } from 'playwright-core';
import { smallCamera } from './small_camera.mjs';
import { witness } from './witness.mjs';

/**
 * Cameras that show a clock, microphones that beep, and a screen, each given without a question, for people who send
 * from a browser. The second of these cameras gives pictures in Y16, which Chromium shows and does not encode.
 */
const devices = [
  '--use-fake-device-for-media-stream=fps=10,device-count=3,display-media-type=monitor',
  '--use-fake-ui-for-media-stream',
];

/** Two such cameras and microphones, and the real screen of the display that shows the browser's windows. */
const devicesOfDisplay = [
  '--use-fake-device-for-media-stream=fps=10,device-count=2',
  '--auto-accept-camera-and-microphone-capture',
  '--auto-select-desktop-capture-source=Entire screen',
];

/** Contacts no other host: neither the browser's makers nor a name server. 10.13.0.0/24 is `Lan`'s network. */
const flags = `--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
  --disable-component-update --disable-sync
  --enable-blink-features=ComputedAccessibilityInfo`.split(/\s+/);
const nobodyElse = '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE 10.13.0.*';

/**
 * The headless shell answers no mDNS, so two of its pages would not find each other. Chromium takes the last list of
 * features: the others are those of Playwright's list that the shell has.
 */
const ofShell =
  '--disable-features=WebRtcHideLocalIpsWithMdns,HttpsUpgrades,PaintHolding,ThirdPartyStoragePartitioning';

const behind = readFileSync(new URL('behind.js', import.meta.url), 'utf8').trim();

/** How long a click may take to find its button, in milliseconds. */
const PATIENCE_MS = 50_000;

/**
 * `home` is a home directory, in which Chromium looks for certificates (`.pki/nssdb`). With `$SHARED_DISPLAY` the
 * windows are on that display, and a page that shares its screen shares the display.
 */
export async function launch(program, home) {
  const sessions = new WeakMap();
  const { SHARED_DISPLAY: display } = process.env;
  const env = { ...process.env, ...(home && { HOME: home }), ...(display && { DISPLAY: display }) };
  const args = [...flags, ...(display ? devicesOfDisplay : devices), nobodyElse];
  if (program.endsWith('headless-shell')) args.push(ofShell);
  const browser = await chromium.launch({ executablePath: program, headless: !display, args, env });
  return {
    async context(options) {
      const { lang = 'en', width = 1280, height = 720, scheme = 'light' } = options;
      const { bypassCsp = false, scale = 1, emulator, hasSmallCamera = false } = options;
      const context = await browser.newContext({
        locale: lang,
        viewport: { width, height },
        deviceScaleFactor: scale,
        colorScheme: scheme,
        bypassCSP: bypassCsp,
      });
      await context.addInitScript(witness);
      if (hasSmallCamera) await context.addInitScript(smallCamera);
      if (emulator) await context.addInitScript(`(${behind})(${JSON.stringify(emulator)})`);
      return context;
    },
    async page(context) {
      const page = await context.newPage();
      sessions.set(page, await context.newCDPSession(page));
      return page;
    },
    // Not Playwright's `evaluate`, which counts as a click: a page that was evaluated once could play sound.
    async evaluate(page, expression) {
      const asked = { expression, awaitPromise: true, returnByValue: true, userGesture: false };
      const { result, exceptionDetails: wrong } = await sessions.get(page).send('Runtime.evaluate', asked);
      if (wrong) throw new Error(wrong.exception?.description ?? wrong.text);
      return result.value;
    },
    async goto(page, url) {
      try {
        await page.goto(url, { waitUntil: 'domcontentloaded' });
      } catch (error) {
        // The browser's own page about the error is a navigation that would interrupt the next one.
        if (String(error).includes('net::ERR_')) {
          await page.waitForURL(/^chrome-error:/, { timeout: PATIENCE_MS }).catch(() => {});
        }
        throw error;
      }
    },
    click: (page, role, name) => page.getByRole(role, { name, exact: true }).click({ timeout: PATIENCE_MS }),
    version: () => `Chromium ${browser.version()}`,
    close: () => browser.close(),
  };
}

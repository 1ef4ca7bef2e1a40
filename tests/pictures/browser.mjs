// What the pictures of the page have in common: the program, a browser, and a folder that is gone afterwards.

import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

export const here = path.dirname(fileURLToPath(import.meta.url));
const root = path.join(here, '../..');
const chromium = process.env.CLASSROOM_CHROMIUM ?? ['chromium', 'chromium-browser', 'google-chrome']
  .flatMap((name) => process.env.PATH.split(':').map((folder) => path.join(folder, name))).find(existsSync);

/** The path of the classroom program. */
export const program = process.argv[2] ?? path.join(root, 'target/release/classroom');

/**
 * Calls `make({ browser, work, start })`, and ends everything after it: `work` is a folder, and `start(arguments)`
 * starts the program, which prints events and reads lines.
 */
export async function withBrowser(make) {
  mkdirSync(path.join(root, 'target/tmp'), { recursive: true });
  const work = mkdtempSync(path.join(root, 'target/tmp/p-'));
  process.env.TMPDIR = work;
  const { launch } = await import(pathToFileURL(path.join(root, 'tests/browser/chromium.mjs')));
  const browser = await launch(chromium);
  const children = [];
  const start = (given) => {
    const child = spawn(program, [...given, '--json', '--quiet'], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { ...process.env, XDG_STATE_HOME: work, DISPLAY: '', WAYLAND_DISPLAY: '' },
    });
    children.push(child);
    return child;
  };
  try {
    await make({ browser, work, start });
  } finally {
    for (const child of children) child.kill();
    await browser.close();
    rmSync(work, { recursive: true, force: true });
  }
}

/** A picture was made. */
export const made = (name) => console.log(`made ${path.relative(process.cwd(), path.join(here, name))}`);

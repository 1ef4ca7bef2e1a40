// The service worker: a copy of the page for a reload while no server answers. An answer of the server takes
// precedence. The worker is served at the root, because it serves every room.

const NAME = 'classroom {{assets}}';
const FILES = {{files}};
/** A server that takes longer counts as absent. */
const ANSWER_WITHIN_MS = 4_000;

addEventListener('install', (event) => event.waitUntil(fill()));
addEventListener('activate', (event) => event.waitUntil(forgetOthers()));
addEventListener('fetch', (event) => {
  const { mode, url, method } = event.request;
  const { pathname, origin } = new URL(url);
  if (method !== 'GET' || origin !== location.origin) return;
  const isPage = mode === 'navigate' && (pathname === '/' || pathname.startsWith('/room/'));
  if (isPage) event.respondWith(page(event.request));
  else if (pathname.startsWith('/assets/')) event.respondWith(file(event.request));
});

async function fill() {
  const cache = await caches.open(NAME);
  await cache.addAll(['/', ...FILES]);
  await skipWaiting();
}

/** Removes the files of other versions. */
async function forgetOthers() {
  const names = await caches.keys();
  await Promise.all(names.filter((name) => name !== NAME).map((name) => caches.delete(name)));
  await clients.claim();
}

/** One page serves every room. */
async function page(request) {
  const kept = async () => (await caches.match('/', { cacheName: NAME })) ?? Response.error();
  const late = new Promise((done) => setTimeout(done, ANSWER_WITHIN_MS)).then(kept);
  return Promise.race([fetch(request).catch(kept), late]);
}

/** A file's URL changes with its content, so a cached file is current. */
const file = async (request) => (await caches.match(request, { cacheName: NAME })) ?? fetch(request);

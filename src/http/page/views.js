// What there is to see in a room, by what is known: no element is touched here.

import { hasWords, say, timeOfDay } from './i18n.js';

/** Silence of the server that is worth a word. */
const SILENT_MS = 3_000;
/** Connecting for so long is worth a word about firewalls. */
const UDP_HINT_MS = 15_000;
/** The names of the codecs of an `error` (`VideoCodec` of the protocol). */
const CODECS = { h264: 'H.264', vp8: 'VP8' };

/**
 * `{ screen, title, text, more, actions, ask, banner, mark }`: `screen` is `ask`, `connecting`, `waiting`,
 * `live`, `sound`, `ended` or `error`; all else may be missing. A banner stands over a picture that stands still, and a
 * mark, `{ word, text }`, in the bar.
 */
export function view(known) {
  const { asking, refused, rejected, signal, lesson, wasIn, tracks } = known;
  if (asking) return askView(asking);
  const error = refused ?? (signal.error?.code === 'userIdTaken' ? signal.error : null);
  if (error) return errorView(error, known);
  const went = wentBy(known);
  if (went === 'ended') return endedView(known);
  if (rejected) return errorView(rejected, known);
  // Of a port it is only spoken where all else works.
  const isLate = signal.isOpen && lesson.since > 0 && Date.now() - Math.max(lesson.since, signal.since) > UDP_HINT_MS;
  const gone = stoppedVideos(known);
  if (known.isConnected && gone.length > 0 && gone.length === videosOf(known).length) {
    const key = gone.length > 1 ? 'bothStopped' : `${gone[0]}Stopped`;
    return { screen: 'sound', title: say(key), text: say(tracks.audio ? 'stoppedSound' : 'stoppedText'), banner: banner(known, isLate) };
  }
  if (known.hasVideo) return { screen: 'live', banner: banner(known, isLate), mark: mark(known, gone) };
  if (!wasIn && !went) return entryView(known);
  if (!lesson.publisher) return waitingView(known, went);
  if (tracks && known.isConnected && !tracks.screen && !tracks.camera) {
    const key = tracks.audio ? 'soundOnly' : 'nothing';
    return { screen: 'sound', title: say(`${key}Title`), text: say(`${key}Text`) };
  }
  const sent = living(known);
  if (known.isConnected && sent && waits(sent)) {
    return { screen: 'sound', title: say('soundOnlyTitle'), text: less(sent) };
  }
  return { screen: 'connecting', title: say('pictureTitle'), text: say(isLate ? 'udpText' : 'pictureText') };
}

function askView(why) {
  const actions = why === 'change' ? ['back'] : [];
  return { screen: 'ask', title: say('whoTitle'), text: say('whoText'), ask: why === 'badUserId' ? say('badUserId') : ' ', actions };
}

/** How the teacher went who is not here; where no server answers, as it was when this browser was here last. */
function wentBy({ lesson, wasIn, signal, last }) {
  if (lesson.publisher) return null;
  return lesson.wentBy ?? (!wasIn && signal.cause ? (last?.by ?? null) : null);
}

/** Before the server let us in. */
function entryView(known) {
  const { error, cause, since } = known.signal;
  if (error) return { ...errorView(error, known), screen: 'connecting' };
  if (known.isOffline) return { screen: 'connecting', title: say('offlineTitle'), text: say('offlineText') };
  const isSilent = cause === 'silent' || Date.now() - since > SILENT_MS;
  const text = cause === 'refused' ? 'serverGone' : isSilent ? 'serverSilent' : 'connectingText';
  return { screen: 'connecting', title: say('connectingTitle'), text: say(text), banner: noReload(known) };
}

function waitingView(known, went) {
  const { students, signal, isOffline } = known;
  const others = students - 1;
  const how = { left: 'left', lost: 'lost' }[went];
  const seen = { screen: 'waiting', title: say(how ? `${how}Title` : 'waitingTitle'), text: say(how ? 'backText' : 'waitingText') };
  if (signal.isOpen) {
    seen.more = others > 1 ? say('waitingMany', { n: others }) : say(others === 1 ? 'waitingOne' : 'waitingFirst');
  } else if (isOffline) seen.banner = say('bannerOffline');
  // A teacher who went may have taken the server along.
  else if (signal.cause === 'refused') seen.banner = how ? '' : say('serverGone');
  else if (signal.cause === 'silent') seen.banner = say('serverSilent');
  return { ...seen, banner: noReload(known) || seen.banner };
}

function endedView(known) {
  const more = known.last?.by === 'ended' ? say('endedAt', { time: timeOfDay(known.last.at) }) : '';
  return { screen: 'ended', title: say('endedTitle'), text: say('endedText'), more, actions: ['rooms'], banner: noReload(known) };
}

/** What was wanted just now, and why it was not done. */
const noReload = ({ wantsReload, signal }) => (wantsReload && !signal.isOpen ? say('noReload') : '');

/** Sentences of the server and of the teacher's program are for programs and terminals; a page has its own. */
function errorView(error, { userId, refused }) {
  const code = hasWords(`${error.code}Title`) ? error.code : 'unknown';
  const seen = { screen: 'error', title: say(`${code}Title`), text: say(code, { user: userId }), actions: ['retry', 'rooms'] };
  if (code === 'userIdTaken') {
    seen.ask = ' ';
    seen.actions = ['rooms'];
    if (!refused) seen.more = say('userIdHeld');
  } else if (code === 'replaced') seen.actions = ['takeBack', 'rooms'];
  else if (code === 'badRequest') seen.actions = ['rooms'];
  else if (code === 'noCommonCodec') Object.assign(seen, codecView(error.codec));
  return seen;
}

/** Names the codec that is missing, and what to do in this browser. */
function codecView(sent) {
  const codec = CODECS[sent] ?? CODECS.h264;
  const remedy = codec === CODECS.h264 ? CODECS.vp8 : CODECS.h264;
  const isFirefox = navigator.userAgent.includes('Firefox/') && codec === CODECS.h264;
  return { text: say('noCommonCodec', { codec }), more: say(isFirefox ? 'noCommonCodecFirefox' : 'noCommonCodecOther', { remedy }) };
}

/** What is wrong while the last picture stands, if anything. */
function banner(known, isLate) {
  const { lesson, signal, isConnected, isFlowing } = known;
  const code = signal.error?.code;
  if (isConnected && isFlowing) {
    const sent = living(known);
    if (signal.isOpen) return sent && waits(sent) ? less(sent) : '';
    // Whether the lecture goes on is known after some silence.
    if (!hasWords(code)) return Date.now() - signal.since > SILENT_MS ? say('bannerSignal') : '';
    return say(code);
  }
  if (known.isOffline) return say('bannerOffline');
  if (noReload(known)) return noReload(known);
  if (!signal.isOpen) return say(signal.cause === 'silent' ? 'bannerSilent' : 'bannerTeacher');
  if (!lesson.publisher) return say('bannerTeacher');
  if (isLate) return say('bannerUdp');
  return say(isConnected && known.isHeard ? 'bannerTeacher' : 'bannerMedia');
}

/** What is less than it could be while the lecture goes on: a picture that has no source, one that is smaller. */
function mark(known, gone) {
  const { isConnected, isFlowing } = known;
  const sent = living(known);
  if (!isConnected || !isFlowing) return null;
  const [stopped] = gone;
  const lessText = sent && !waits(sent) ? less(sent) : '';
  if (stopped) {
    const word = say(`${stopped}Stopped`);
    return { word, text: [say('stoppedMore', { what: word }), lessText].filter(Boolean).join(' ') };
  }
  if (!lessText) return null;
  const { screen, camera } = sent.tiers;
  const word = screen === 'none' ? 'wordNoScreen' : screen === 'low' || camera === 'low' ? 'wordSmall' : 'wordNoCamera';
  return { word: say(word), text: lessText };
}

/** The pictures that the lecture has. */
function videosOf({ tracks }) {
  return ['screen', 'camera'].filter((role) => tracks?.[role]);
}

/** Those of them that have no source any more. */
function stoppedVideos(known) {
  return videosOf(known).filter((role) => known.stopped?.[role]);
}

/** What is sent of the pictures that have a source: of the others a narrow line is not the reason. */
function living({ sent, stopped }) {
  if (!sent?.tiers) return null;
  const tiers = Object.fromEntries(Object.entries(sent.tiers).filter(([role]) => !stopped?.[role]));
  return { ...sent, tiers };
}

/** Whether no picture at all is sent. */
function waits({ tiers }) {
  const videos = [tiers?.screen, tiers?.camera].filter((tier) => tier !== undefined);
  return videos.length > 0 && videos.every((tier) => tier === 'none');
}

/** What is sent less than everything, and why; nothing where it is everything. */
export function less(sent) {
  const screen = sent?.tiers?.screen;
  const camera = sent?.tiers?.camera;
  let what = '';
  if (sent && waits(sent)) what = 'lessWaits';
  else if (screen === 'none') what = 'lessNoScreen';
  else if (screen === 'low') what = camera === 'none' ? 'lessSmallNoCamera' : 'lessSmall';
  else if (camera === 'none') what = 'lessNoCamera';
  else if (camera === 'low') what = 'lessSmallCamera';
  else return '';
  const kbps = Number(sent.estimateKbps);
  const rate = `${(kbps / 1000).toFixed(kbps < 95 ? 2 : 1)} Mbit/s`;
  const bandwidth = kbps > 0 ? say('whyBandwidth', { rate }) : say('whyNoMore');
  const why = { loss: say('whyLoss'), silence: say('whySilence'), class: say('whyClass') }[sent.reason] ?? bandwidth;
  const needsIt = what === 'lessWaits' && !['class', 'silence'].includes(sent.reason);
  return say(what, { why: needsIt ? say('whySound', { why }) : why });
}

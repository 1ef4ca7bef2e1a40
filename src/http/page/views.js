// What there is to see in a room, by what is known: no element is touched here.

import { clean } from './dom.js';
import { hasWords, say } from './i18n.js';

/** Silence of the server that is worth a word. */
const SILENT_MS = 3_000;
/** Connecting for so long is worth a word about firewalls. */
const UDP_HINT_MS = 15_000;
const MOST_MESSAGE_CHARS = 400;

/**
 * `{ screen, title, text, more, detail, actions, ask, banner, mark }`: `screen` is `ask`, `connecting`, `waiting`,
 * `live`, `sound`, `ended` or `error`; all else may be missing. A banner stands over a picture that stands still, and a
 * mark, `{ word, text }`, in the bar.
 */
export function view(known) {
  const { asking, refused, rejected, signal, course, wasIn, tracks } = known;
  if (asking) return askView(asking);
  const error = refused ?? (signal.error?.code === 'userIdTaken' ? signal.error : null);
  if (error) return errorView(error, known);
  if (course.wentBy === 'ended' && !course.publisher) {
    return { screen: 'ended', title: say('endedTitle'), text: say('endedText'), actions: ['rooms'] };
  }
  if (rejected) return errorView(rejected, known);
  const isLate = course.since > 0 && Date.now() - course.since > UDP_HINT_MS;
  const gone = stoppedPictures(known);
  if (known.isConnected && gone.length > 0 && gone.length === pictures(known).length) {
    const key = gone.length > 1 ? 'bothStopped' : `${gone[0]}Stopped`;
    return { screen: 'sound', title: say(key), text: say(tracks.audio ? 'stoppedSound' : 'stoppedText'), banner: banner(known, isLate) };
  }
  if (known.hasPicture) return { screen: 'live', banner: banner(known, isLate), mark: mark(known, gone) };
  if (!wasIn) return entryView(known);
  if (!course.publisher) return waitingView(known);
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

/** Before the server let us in. */
function entryView(known) {
  const { error, since } = known.signal;
  if (error) return { ...errorView(error, known), screen: 'connecting' };
  const isSilent = Date.now() - since > SILENT_MS;
  return { screen: 'connecting', title: say('connectingTitle'), text: say(isSilent ? 'serverSilent' : 'connectingText') };
}

function waitingView({ students, signal, course }) {
  const others = students - 1;
  return {
    screen: 'waiting',
    title: say(course.wentBy === 'left' ? 'leftTitle' : 'waitingTitle'),
    text: say(course.wentBy === 'left' ? 'leftText' : 'waitingText'),
    more: others > 1 ? say('waitingMany', { n: others }) : say(others === 1 ? 'waitingOne' : 'waitingFirst'),
    banner: signal.isOpen ? '' : say('serverSilent'),
  };
}

function errorView(error, { userId, refused }) {
  const code = hasWords(`${error.code}Title`) ? error.code : 'unknown';
  const detail = clean(error.message, MOST_MESSAGE_CHARS);
  const seen = { screen: 'error', title: say(`${code}Title`), text: say(code, { user: userId }), actions: ['retry', 'rooms'] };
  if (detail) seen.detail = say(error.userId ? 'teacherSays' : 'serverSays', { message: detail });
  if (code === 'userIdTaken') {
    seen.ask = ' ';
    seen.actions = ['rooms'];
    if (!refused) seen.more = say('userIdHeld');
  } else if (code === 'replaced') seen.actions = ['takeBack', 'rooms'];
  else if (code === 'badRequest') seen.actions = ['rooms'];
  else if (code === 'noCommonCodec') Object.assign(seen, codecView(detail));
  return seen;
}

/** Names the codec that is missing, and what to do in this browser. */
function codecView(detail) {
  const codec = /sent as (H\.264|VP8|VP9|AV1)/.exec(detail)?.[1] ?? 'H.264';
  const remedy = codec === 'H.264' ? 'vp8' : 'h264';
  const isFirefox = navigator.userAgent.includes('Firefox/') && codec === 'H.264';
  return { text: say('noCommonCodec', { codec }), more: say(isFirefox ? 'noCommonCodecFirefox' : 'noCommonCodecOther', { remedy }) };
}

/** What is wrong while the last picture stands, if anything. */
function banner(known, isLate) {
  const { course, signal, isConnected, isFlowing } = known;
  const code = signal.error?.code;
  if (isConnected && isFlowing) {
    const sent = living(known);
    if (signal.isOpen) return sent && waits(sent) ? less(sent) : '';
    return hasWords(code) ? say(code) : say('bannerSignal');
  }
  if (isLate && course.publisher && signal.isOpen) return say('bannerUdp');
  if (!course.publisher || !signal.isOpen || isConnected) return say('bannerTeacher');
  return say('bannerMedia');
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
function pictures({ tracks }) {
  return ['screen', 'camera'].filter((role) => tracks?.[role]);
}

/** Those of them that have no source any more. */
function stoppedPictures(known) {
  return pictures(known).filter((role) => known.stopped?.[role]);
}

/** What is sent of the pictures that have a source: of the others a narrow line is not the reason. */
function living({ sent, stopped }) {
  if (!sent?.tiers) return null;
  const tiers = Object.fromEntries(Object.entries(sent.tiers).filter(([role]) => !stopped?.[role]));
  return { ...sent, tiers };
}

/** Whether no picture at all is sent. */
function waits({ tiers }) {
  const pictures = [tiers?.screen, tiers?.camera].filter((tier) => tier !== undefined);
  return pictures.length > 0 && pictures.every((tier) => tier === 'none');
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

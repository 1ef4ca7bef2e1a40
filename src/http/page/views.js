// What a room shows, as a function of its state. This file touches no element.

import { hasWords, say, timeOfDay } from './i18n.js';

/** Tell the student when the server has been silent for this long. */
const SILENT_MS = 3_000;
/** Mention firewalls when connecting takes this long. */
const UDP_HINT_MS = 15_000;
/** Errors after which nobody gets in by trying again. */
const HOPELESS = ['badRequest', 'removed', 'tokenRequired', 'badToken', 'wrongKind', 'teachingKeyRequired'];
/** The names of the codecs of an `error` (`VideoCodec` of the protocol). */
const CODECS = { h264: 'H.264', vp8: 'VP8' };

/**
 * Returns `{ screen, title, text, more, actions, ask, code, banner, mark }`. `screen` is `ask`, `connecting`,
 * `waiting`, `live`, `sound`, `ended` or `error`; all other fields are optional. A banner covers a video that stands
 * still, and a mark, `{ word, text }`, appears in the bar.
 */
export function view(known) {
  const { asking, refused, rejected, signal, lesson, wasIn, tracks } = known;
  if (asking) return askView(asking);
  const error = refused ?? (signal.error?.code === 'userIdTaken' ? signal.error : null);
  if (error) return errorView(error, known);
  if (known.isInLobby) return lobbyView(known);
  if (known.isConference && wasIn) return { screen: 'conference' };
  const went = wentBy(known);
  if (went === 'ended') return endedView(known);
  if (rejected) return errorView(rejected, known);
  // Mention a blocked port only if everything else works.
  const isLate = signal.isOpen && lesson.since > 0 && Date.now() - Math.max(lesson.since, signal.since) > UDP_HINT_MS;
  const gone = stoppedVideos(known);
  if (known.isConnected && gone.length > 0 && gone.length === videosOf(known).length) {
    const begun = begunOf(known, gone);
    // A teacher who has sent no picture yet speaks without one.
    if (begun.length === 0 && tracks.audio) {
      const words = { title: say('soundOnlyTitle'), text: say('soundOnlyText') };
      return { screen: 'sound', ...words, banner: banner(known, isLate) };
    }
    const key = begun.length > 1 ? 'bothStopped' : `${begun[0] ?? gone[0]}Stopped`;
    const text = say(tracks.audio ? 'stoppedSound' : 'stoppedText');
    return { screen: 'sound', title: say(key), text, banner: banner(known, isLate) };
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
  const ask = why === 'badUserId' ? say('badUserId') : ' ';
  return { screen: 'ask', title: say('whoTitle'), text: say('whoText'), ask, actions };
}

/** How the absent teacher left; if no server answers, how the teacher had left when this browser was here last. */
function wentBy({ lesson, wasIn, signal, last }) {
  if (lesson.publisher) return null;
  return lesson.wentBy ?? (!wasIn && signal.cause ? (last?.by ?? null) : null);
}

/** The view before the server has let the student in. */
function entryView(known) {
  const { error, cause, since } = known.signal;
  if (error) return { ...errorView(error, known), screen: 'connecting' };
  if (known.isOffline) return { screen: 'connecting', title: say('offlineTitle'), text: say('offlineText') };
  const isSilent = cause === 'silent' || Date.now() - since > SILENT_MS;
  const text = cause === 'refused' ? 'serverGone' : isSilent ? 'serverSilent' : 'connectingText';
  return { screen: 'connecting', title: say('connectingTitle'), text: say(text), banner: noReload(known) };
}

/** The teacher lets students in by name. */
function lobbyView(known) {
  const seen = { screen: 'waiting', title: say('lobbyTitle'), text: say('lobbyText'), actions: ['rooms'] };
  if (!known.signal.isOpen) seen.banner = say(known.signal.cause === 'silent' ? 'serverSilent' : 'serverGone');
  return seen;
}

function waitingView(known, went) {
  const { students, signal, isOffline } = known;
  const others = students - 1;
  const how = { left: 'left', lost: 'lost' }[went];
  const [title, text] = how ? [`${how}Title`, 'backText'] : ['waitingTitle', 'waitingText'];
  const seen = { screen: 'waiting', title: say(title), text: say(text), actions: known.mayTeach ? ['teach'] : [] };
  if (signal.isOpen) {
    seen.more = others > 1 ? say('waitingMany', { n: others }) : say(others === 1 ? 'waitingOne' : 'waitingFirst');
  } else if (isOffline) seen.banner = say('bannerOffline');
  // A teacher who left may have taken the server along.
  else if (signal.cause === 'refused') seen.banner = how ? '' : say('serverGone');
  else if (signal.cause === 'silent') seen.banner = say('serverSilent');
  return { ...seen, banner: noReload(known) || seen.banner };
}

function endedView(known) {
  const more = known.last?.by === 'ended' ? say('endedAt', { time: timeOfDay(known.last.at) }) : '';
  const [title, text] = [say('endedTitle'), say('endedText')];
  const actions = known.mayTeach ? ['teach', 'rooms'] : ['rooms'];
  return { screen: 'ended', title, text, more, actions, banner: noReload(known) };
}

/** Why the page did not reload. */
const noReload = ({ wantsReload, signal }) => (wantsReload && !signal.isOpen ? say('noReload') : '');

/** The sentences of the server and of the teacher's program are for terminals, so the page has its own. */
function errorView(error, { userId, refused }) {
  const code = hasWords(`${error.code}Title`) ? error.code : 'unknown';
  const [title, text] = [say(`${code}Title`), say(code, { user: userId })];
  const seen = { screen: 'error', title, text, actions: ['retry', 'rooms'] };
  if (code === 'userIdTaken') {
    seen.ask = ' ';
    seen.actions = ['rooms'];
    if (!refused) seen.more = say('userIdHeld');
  } else if (code === 'replaced') seen.actions = ['takeBack', 'rooms'];
  else if (code === 'codeRequired' || code === 'wrongCode') {
    seen.code = code === 'wrongCode' ? say('wrongCode') : ' ';
    seen.title = say('codeTitle');
    seen.text = say('codeText');
    seen.screen = 'ask';
    seen.actions = ['rooms'];
  } else if (HOPELESS.includes(code)) seen.actions = ['rooms'];
  else if (code === 'noCommonCodec') Object.assign(seen, codecView(error.codec));
  return seen;
}

/** Names the missing codec, and the remedy in this browser. */
function codecView(sent) {
  const codec = CODECS[sent] ?? CODECS.h264;
  const remedy = codec === CODECS.h264 ? CODECS.vp8 : CODECS.h264;
  const isFirefox = navigator.userAgent.includes('Firefox/') && codec === CODECS.h264;
  const more = say(isFirefox ? 'noCommonCodecFirefox' : 'noCommonCodecOther', { remedy });
  return { text: say('noCommonCodec', { codec }), more };
}

/** What is wrong while the last frame stays on the screen, if anything. */
function banner(known, isLate) {
  const { lesson, signal, isConnected, isFlowing } = known;
  const code = signal.error?.code;
  if (isConnected && isFlowing) {
    const sent = living(known);
    if (signal.isOpen) return sent && waits(sent) ? less(sent) : '';
    // Whether the lecture continues is clear only after some silence.
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

/** What is reduced while the lecture continues: a video without a source, or a smaller one. */
function mark(known, gone) {
  const { isConnected, isFlowing } = known;
  const sent = living(known);
  if (!isConnected || !isFlowing) return null;
  const [stopped] = begunOf(known, gone);
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

/** The videos of the lecture. */
function videosOf({ tracks }) {
  return ['screen', 'camera'].filter((role) => tracks?.[role]);
}

/** The videos without a source. */
function stoppedVideos(known) {
  return videosOf(known).filter((role) => known.stopped?.[role]);
}

/** Those of the stopped videos that had begun: of a video that was never there, nobody needs to read. */
const begunOf = (known, gone) => gone.filter((role) => !known.stopped.unsent?.[role]);

/** The tiers of the videos that have a source: the path is not the reason that the others are missing. */
function living({ sent, stopped }) {
  if (!sent?.tiers) return null;
  const tiers = Object.fromEntries(Object.entries(sent.tiers).filter(([role]) => !stopped?.[role]));
  return { ...sent, tiers };
}

/** Whether no video is sent at all. */
function waits({ tiers }) {
  const videos = [tiers?.screen, tiers?.camera].filter((tier) => tier !== undefined);
  return videos.length > 0 && videos.every((tier) => tier === 'none');
}

/** What is reduced and why, as a sentence; empty if everything is sent. */
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

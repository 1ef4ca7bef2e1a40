// The sentence over a lecture that has trouble, as a function of its state. This file touches no element.

/** Mention firewalls when connecting takes this long. */
const UDP_HINT_MS = 15_000;
/** A first connection takes a moment, which is no trouble. */
const SETTLING_MS = 2_000;

/** Returns `{ key, values }` of the sentence, the worst trouble first; `null` without trouble. */
export function notice(known, now = Date.now()) {
  const { isOffline, signal, isConnected, isFlowing, connectingSince, trouble, isUnheard, isSilent } = known;
  const only = (key) => ({ key, values: {} });
  if (isOffline && !isFlowing) return only('youAreOffline');
  if (!signal.isOpen && !isFlowing) return only('serverLost');
  const waitedMs = connectingSince ? now - connectingSince : 0;
  if (waitedMs > UDP_HINT_MS) return only('linkLate');
  if (waitedMs > SETTLING_MS || (isConnected && !isFlowing)) return only('linkLost');
  if (isUnheard) return only('speaksMuted');
  if (trouble) return trouble;
  return isSilent ? only('silentMicrophone') : null;
}

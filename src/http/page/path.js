// By which way media comes, and why TURN servers do not help, for the statistics. Sentences are keys of
// `path_english.js`.

/** The files with the sentences of the statistics. */
export const WORDS = { en: './path_english.js', zh: './path_chinese.js' };

/** The keys of the reasons that TURN servers give (RFC 8656, section 20; 701 is the browser's own). */
const REFUSALS = {
  401: 'turnCredentials',
  441: 'turnCredentials',
  486: 'turnFull',
  508: 'turnFull',
  701: 'turnUnreachable',
};

const isRelay = (candidate) => candidate?.candidateType === 'relay';
const isLocal = (entry) => entry.type === 'local-candidate';

/** Whether this server is asked by UDP. */
const isByUdp = (url) => url.startsWith('stun:') || (url.startsWith('turn:') && !url.includes('transport=tcp'));

/**
 * The way of the selected pair in a report of `getStats`: `text`, and `reason`, the key of a sentence that says why it
 * is not the usual one, or an empty string. `servers` are the STUN and TURN servers of the connection.
 */
export function pathOf(report, pair, servers) {
  const [remote, local] = [report.get(pair?.remoteCandidateId), report.get(pair?.localCandidateId)];
  if (!remote) return { text: '–', reason: '' };
  if (isRelay(local)) {
    const by = local.relayProtocol ?? 'udp';
    const isBlocked = by !== 'udp' && !udpWorks(report, servers);
    return { text: `TURN/${by.toUpperCase()}`, reason: isBlocked ? 'udpBlocked' : 'noDirectPath' };
  }
  const address = remote.address ?? remote.ip;
  const host = address ? ` ${address.includes(':') ? `[${address}]` : address}:${remote.port}` : '';
  const protocol = (local?.protocol ?? remote.protocol ?? 'udp').toLowerCase();
  const text = `${protocol.toUpperCase()}${host}${isRelay(remote) ? ' (TURN)' : ''}`;
  return { text, reason: protocol === 'tcp' ? 'noUdpPath' : '' };
}

/** Whether a server has answered by UDP; true as well if none was asked, as then nobody knows. */
function udpWorks(report, servers) {
  const urls = servers.flatMap((server) => server.urls ?? []);
  const hasAnswered = (entry) =>
    isLocal(entry) && (entry.candidateType === 'srflx' || (isRelay(entry) && entry.relayProtocol === 'udp'));
  return !urls.some(isByUdp) || [...report.values()].some(hasAnswered);
}

/**
 * The TURN servers that relay nothing: `url`, and `reason` with `code` and `text`. `errors` has the last
 * `icecandidateerror` of each URL. An interface of this computer may fail where another one works, so a server that
 * relays is not among them.
 */
export function refusals(report, errors) {
  const working = new Set([...report.values()].filter((entry) => isLocal(entry) && isRelay(entry)).map((x) => x.url));
  const failed = [...errors].filter(([url]) => /^turns?:/.test(url) && !working.has(url));
  return failed.map(([url, { errorCode, errorText }]) => {
    const reason = REFUSALS[errorCode] ?? 'turnRefused';
    return { url, reason, code: errorCode, text: String(errorText).slice(0, 100) };
  });
}

// What a browser sends: codecs, bitrates, priorities, and changes of a sender's parameters.

/**
 * The video codecs of an offer, the preferred one first. Every browser decodes VP8, and every browser encodes it in two
 * encodings at once; H.264 is missing in some builds of Chromium and, without a plug-in, in Firefox.
 */
const VIDEO_CODECS = ['video/VP8', 'video/H264'];

/** The bitrates of the best encoding and of audio, in bit/s. */
export const BITRATES = { audio: 64_000, screen: 2_500_000, camera: 1_200_000 };
/** Frames per second of the best encoding. */
export const FRAME_RATES = { screen: 30, camera: 30 };

/** Sound comes first, then the screen, where a connection does not carry all. */
export const PRIORITIES = { audio: 'high', screen: 'medium', camera: 'low' };

/** The names of the tracks of a connection, in the order of its media sections. */
export const ROLES = ['audio', 'screen', 'camera'];

export const kindOf = (role) => (role === 'audio' ? 'audio' : 'video');

/** Offers the codecs of a lecture only, in their order, with RTX. */
export function prefer(transceiver) {
  const all = RTCRtpSender.getCapabilities?.('video')?.codecs ?? [];
  const order = VIDEO_CODECS.map((name) => name.toLowerCase());
  const rank = ({ mimeType }) => order.indexOf(mimeType.toLowerCase());
  const video = all.filter((codec) => rank(codec) >= 0).sort((a, b) => rank(a) - rank(b));
  const rtx = all.filter(({ mimeType }) => mimeType.toLowerCase() === 'video/rtx');
  if (video.length === 0) return;
  try {
    transceiver.setCodecPreferences?.([...video, ...rtx]);
  } catch {
    // The browser's own order includes both.
  }
}

/** The last change of each sender's parameters. */
const changes = new WeakMap();

/** Changes the parameters of a sender after the changes before: browsers refuse parameters that are old. */
export function change(sender, edit) {
  const next = async () => {
    try {
      const parameters = sender.getParameters();
      edit(parameters);
      await sender.setParameters(parameters);
    } catch {
      // A browser that does not know a field ignores it; one that refuses the change goes on as before.
    }
  };
  const changed = (changes.get(sender) ?? Promise.resolve()).then(next);
  changes.set(sender, changed);
  return changed;
}

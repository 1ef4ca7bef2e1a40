// Every sentence of the statistics in English; see `stats.js` and `path.js`.

export const en = {
  udpBlocked: ': your network blocks UDP',
  noUdpPath: ': UDP does not get through',
  noDirectPath: ': no direct path works',
  statPicture: 'Picture',
  statRate: 'Bitrate',
  statFrames: 'Frames',
  statDropped: 'Frames dropped',
  statLost: 'Packets lost',
  statRound: 'Round trip',
  statDelay: 'Delay',
  statCodec: 'Codec',
  statVia: 'Connected via',
  statTurn: 'TURN server',
  turnCredentials: '{url} refused the credentials: they are wrong or have expired',
  turnFull: '{url} has no room for another connection',
  turnUnreachable: '{url} cannot be reached',
  turnRefused: '{url} refused ({code}): {text}',
};

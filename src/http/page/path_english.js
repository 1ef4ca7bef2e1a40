// Every sentence about the way of media in English; see `path.js`.

export const en = {
  udpBlocked: ': your network blocks UDP',
  noUdpPath: ': UDP does not get through',
  noDirectPath: ': no direct path works',
  statTurn: 'TURN server',
  turnCredentials: '{url} refused the credentials: they are wrong or have expired',
  turnFull: '{url} has no room for another connection',
  turnUnreachable: '{url} cannot be reached',
  turnRefused: '{url} refused ({code}): {text}',
};

// Every sentence about the way of media in Chinese; see `path_english.js`.

export const zh = {
  udpBlocked: '：你的网络屏蔽了 UDP',
  noUdpPath: '：UDP 无法连通',
  noDirectPath: '：无法直接连接',
  statTurn: 'TURN 服务器',
  turnCredentials: '{url} 拒绝了凭据：凭据错误或已过期',
  turnFull: '{url} 没有空位',
  turnUnreachable: '无法连接 {url}',
  turnRefused: '{url} 拒绝连接（{code}）：{text}',
};

// Every sentence of the statistics in Chinese; see `path_english.js`.

export const zh = {
  udpBlocked: '：你的网络屏蔽了 UDP',
  noUdpPath: '：UDP 无法连通',
  noDirectPath: '：无法直接连接',
  statPicture: '画面',
  statRate: '码率',
  statFrames: '帧率',
  statDropped: '丢帧',
  statLost: '丢包',
  statRound: '往返时间',
  statDelay: '延迟',
  statCodec: '编码',
  statVia: '连接方式',
  statTurn: 'TURN 服务器',
  turnCredentials: '{url} 拒绝了凭据：凭据错误或已过期',
  turnFull: '{url} 没有空位',
  turnUnreachable: '无法连接 {url}',
  turnRefused: '{url} 拒绝连接（{code}）：{text}',
};

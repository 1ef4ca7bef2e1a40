// Every sentence about the stage in Chinese, one a line. `stage_english.js` has the same keys in the same order.

export const zh = {
  onStage: '{name}，在台上',
  cameToStage: '{name} 上台了',
  leftStage: '{name} 下台了',
  micIsOff: '麦克风已关闭',
  largeForAll: '对所有人放大',
  isLarge: '{name} 已放大，按 Esc 还原。',
  pin: '在这里放大 {name}',
  unpin: '把 {name} 还原为小画面',
  pinLecture: '在这里放大讲课画面',
};

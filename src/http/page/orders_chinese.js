// Every sentence of the orders about the stage in Chinese; see `orders_english.js`.

export const zh = {
  stageTitle: '讲台',
  stageUse: '{n}/{most} 人',
  toStage: '请上讲台',
  offStage: '请下讲台',
  withdraw: '撤回邀请',
  clearStage: '清空讲台',
  largeAll: '让所有人看到 {name} 的大画面',
  notLargeAll: '恢复 {name} 的小画面',
  meLarge: '大画面显示我',
  teacherLarge: '大画面显示老师',
  stageWaits: '已邀请 {n} 秒',
  stageConnects: '连接中',
  stageLive: '直播中',
  stageSound: '直播中，只有声音',
  stageMuted: '麦克风已关闭',
  stageSilent: '没有发送内容',
  stageFull: '讲台已满（{n}/{n}）：请先请一人下台。',
  stageGone: '该学生已不在教室或不在讲台上。',
  noStage: '此课堂没有讲台：启动时需加 --stage 2。',
  stageRefused: '指令被拒绝：{why}',
};

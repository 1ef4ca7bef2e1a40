// Every sentence of the orders about the stage in English, one a line. `orders_chinese.js` has the same keys.

export const en = {
  stageTitle: 'On the stage',
  stageUse: '{n} of {most}',
  toStage: 'To the stage',
  offStage: 'Off the stage',
  withdraw: 'Withdraw',
  clearStage: 'Clear the stage',
  largeAll: 'Show {name} large to everybody',
  notLargeAll: 'Show {name} small again',
  meLarge: 'Show me large',
  teacherLarge: 'Show the teacher large',
  stageWaits: 'invited, {n} s ago',
  stageConnects: 'connecting',
  stageLive: 'live',
  stageSound: 'live, sound only',
  stageMuted: 'microphone off',
  stageSilent: 'sends nothing',
  stageFull: 'The stage is full ({n} of {n}): take somebody off first.',
  stageGone: 'That student is not in the room any more, or not on the stage.',
  noStage: 'This lecture has no stage: whoever runs it starts it with --stage 2.',
  stageRefused: 'The order was refused: {why}',
};

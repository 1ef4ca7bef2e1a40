// Every sentence about the stage in English, one a line. `stage_chinese.js` has the same keys in the same order.

export const en = {
  onStage: '{name}, on the stage',
  cameToStage: '{name} is on the stage',
  leftStage: '{name} has left the stage',
  micIsOff: 'microphone off',
  largeForAll: 'large for everybody',
  isLarge: '{name} is large. Escape ends that.',
  pin: 'Make {name} large here',
  unpin: 'Make {name} small again',
  pinLecture: 'Make the lecture large here',
};

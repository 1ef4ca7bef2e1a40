// The blurred background of a person, by the browser or its system where they can: `backgroundBlur` of the W3C's Media
// Capture Extensions. This page computes nothing.

import { store } from './dom.js';

/** Whether the picture of this camera is blurred behind the person; `null` if that cannot be chosen. */
export function blurOf(track) {
  const choices = track?.getCapabilities?.().backgroundBlur;
  const canChoose = Array.isArray(choices) && choices.includes(true) && choices.includes(false);
  return canChoose ? track.getSettings().backgroundBlur === true : null;
}

/** Switches the blur on or off, also for the cameras that are opened later. */
export async function setBlur(track, isOn) {
  store.set('cameraBlur', isOn);
  await apply(track, isOn);
}

/** A camera was opened: its picture is blurred if the person wants that. */
export async function keepBlur(track) {
  if (blurOf(track) === false && store.get('cameraBlur', false)) await apply(track, true);
}

async function apply(track, isOn) {
  // New constraints replace the old ones. A camera that refuses goes on as before.
  await track.applyConstraints({ ...track.getConstraints(), backgroundBlur: isOn }).catch(() => {});
}

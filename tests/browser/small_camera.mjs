// Runs in a page: its camera has few small frames, as each page of a meeting encodes and decodes those of all.

function install() {
  const { mediaDevices } = navigator;
  const open = mediaDevices?.getUserMedia.bind(mediaDevices);
  const small = { width: 320, height: 180, frameRate: 5 };
  if (open) mediaDevices.getUserMedia = ({ video, ...rest }) =>
    open({ ...rest, ...(video && { video: { ...(video === true ? {} : video), ...small } }) });
}

export const smallCamera = `(${install})()`;

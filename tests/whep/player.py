"""A WHEP player that is not ours: aiortc. Plays, looks at what it gets, says goodbye.

player.py URL SECONDS prints one JSON object a line on stdout: {"event": "answered"}, {"event": "playing"} at the first
frame, {"event": "played"} with what was seen and heard, {"event": "deleted"}. With a third argument, "codes", it also
prints an {"event": "frame"} for each frame, with the number of its code (src/bench/codes) or null.
"""

import asyncio
import json
import math
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from array import array

from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError


def say(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


def ask(method, url, body=None, headers=None):
    """An HTTP request; gives status, headers and text, also of a refusal."""
    data = body.encode() if body is not None else None
    request = urllib.request.Request(url, data, headers or {}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, response.headers, response.read().decode()
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.headers, refusal.read().decode()


def code_in(frame):
    """The number in the code of a frame, or None."""
    luma, stride, bits = bytes(frame.planes[0]), frame.planes[0].line_size, 0
    for n in range(48):
        x, y = ((2 * cells + 1) * frame.width // 160 for cells in (n % 16, n // 16))
        around = [luma[(y + dy) * stride + x + dx] for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
        bits = bits << 1 | (sum(around) > 126 * len(around))
    content, crc = bits >> 8, 0xFF
    for byte in content.to_bytes(5, "big"):
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ (0x07 if crc & 0x80 else 0)) & 0xFF
    return content >> 24 if crc == bits & 0xFF else None


class Seen:
    """What a player saw and heard."""

    def __init__(self, reads_codes):
        self.reads_codes = reads_codes
        self.frames, self.pictures, self.last = 0, set(), None
        self.first_at = self.last_at = None
        self.samples, self.energy = 0, 0.0

    async def watch(self, track):
        while True:
            frame = await track.recv()
            now = time.monotonic()
            if self.first_at is None:
                self.first_at = now
                say("playing", width=frame.width, height=frame.height)
            self.frames, self.last_at, self.last = self.frames + 1, now, frame
            if self.reads_codes:
                say("frame", at=round(time.time() * 1000), code=code_in(frame))
                continue
            small = frame.reformat(width=64, height=36, format="gray")
            self.pictures.add(hash(bytes(small.planes[0])))

    async def listen(self, track):
        while True:
            frame = await track.recv()
            samples = array("h", bytes(frame.planes[0]))
            self.samples += len(samples)
            self.energy += sum((s / 32768) ** 2 for s in samples)

    def colour(self, x, y):
        """The colour at a place of the last picture, 0 to 1 from the upper left."""
        plane = self.last.reformat(format="rgb24").planes[0]
        at = int(y * self.last.height) * plane.line_size + int(x * self.last.width) * 3
        return list(bytes(plane)[at : at + 3])


async def until_the_end(listening):
    try:
        await listening
    except MediaStreamError:
        pass


async def main(url, seconds, reads_codes):
    peer, seen, tasks = RTCPeerConnection(), Seen(reads_codes), []
    peer.addTransceiver("audio", direction="recvonly")
    peer.addTransceiver("video", direction="recvonly")

    @peer.on("track")
    def on_track(track):
        listening = seen.watch(track) if track.kind == "video" else seen.listen(track)
        tasks.append(asyncio.ensure_future(until_the_end(listening)))

    await peer.setLocalDescription(await peer.createOffer())
    begun = time.monotonic()
    status, headers, text = await asyncio.to_thread(
        ask, "POST", url, peer.localDescription.sdp, {"Content-Type": "application/sdp"}
    )
    say("answered", status=status, ms=round((time.monotonic() - begun) * 1000, 1), body="" if status == 201 else text)
    if status != 201:
        sys.exit(1)
    session = urllib.parse.urljoin(url, headers["Location"])
    await peer.setRemoteDescription(RTCSessionDescription(text, "answer"))
    end = time.monotonic() + 30
    while seen.first_at is None or time.monotonic() < seen.first_at + seconds:
        if seen.first_at is None and time.monotonic() > end:
            sys.exit("no picture came")
        await asyncio.sleep(0.05)
    say(
        "played",
        frames=seen.frames,
        pictures=len(seen.pictures),
        seconds=round(seen.last_at - seen.first_at, 2),
        yellow=seen.colour(1.5 / 7, 0.3),
        blue=seen.colour(6.5 / 7, 0.3),
        sound=math.sqrt(seen.energy / max(seen.samples, 1)),
    )
    status, _, _ = await asyncio.to_thread(ask, "DELETE", session)
    again, _, _ = await asyncio.to_thread(ask, "DELETE", session)
    say("deleted", status=status, again=again)
    await peer.close()


asyncio.run(main(sys.argv[1], float(sys.argv[2]), "codes" in sys.argv[3:]))

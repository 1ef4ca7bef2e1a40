"""A WHIP publisher that is not ours: aiortc. Sends colour bars that move, and a tone; says goodbye.

publisher.py URL SECONDS [BEARER] prints one JSON object per line: {"event": "answered"}, {"event": "connected"},
{"event": "sent"} after the seconds, {"event": "deleted"}; {"event": "lost"} if the connection ends.
"""

import asyncio
import fractions
import json
import math
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from array import array

from aiortc import AudioStreamTrack, RTCPeerConnection, RTCSessionDescription, VideoStreamTrack
from av import AudioFrame, VideoFrame

WIDTH, HEIGHT = 640, 360
STRIP = 60
RATE, BLOCK = 48_000, 960
BARS = [(235, 235, 235), (235, 235, 16), (16, 235, 235), (16, 235, 16), (235, 16, 235), (235, 16, 16), (16, 16, 235)]


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


def bars():
    row = b"".join(bytes(BARS[x * len(BARS) // WIDTH]) for x in range(WIDTH))
    return row * (HEIGHT - STRIP)


class Bars(VideoStreamTrack):
    """The bars of GStreamer's test picture, above a strip that moves."""

    def __init__(self):
        super().__init__()
        self.bars, self.count = bars(), 0
        self.strip = b"".join(bytes([(x * 2) % 256] * 3) for x in range(WIDTH))

    async def recv(self):
        pts, time_base = await self.next_timestamp()
        at = (self.count * 9 % WIDTH) * 3
        frame = VideoFrame(WIDTH, HEIGHT, "rgb24")
        frame.planes[0].update(self.bars + (self.strip[at:] + self.strip[:at]) * STRIP)
        frame.pts, frame.time_base = pts, time_base
        self.count += 1
        return frame.reformat(format="yuv420p")


class Tone(AudioStreamTrack):
    """440 Hz."""

    def __init__(self):
        super().__init__()
        self.sent, self.begun = 0, None

    async def recv(self):
        self.begun = self.begun or time.monotonic()
        await asyncio.sleep(max(0, self.begun + self.sent / RATE - time.monotonic()))
        wave = (int(8_000 * math.sin(2 * math.pi * 440 * (self.sent + n) / RATE)) for n in range(BLOCK))
        frame = AudioFrame(format="s16", layout="mono", samples=BLOCK)
        frame.planes[0].update(array("h", wave).tobytes())
        frame.sample_rate, frame.pts, frame.time_base = RATE, self.sent, fractions.Fraction(1, RATE)
        self.sent += BLOCK
        return frame


async def main(url, seconds, bearer=None):
    peer, video, connected = RTCPeerConnection(), Bars(), asyncio.Event()
    peer.addTransceiver(video, direction="sendonly")
    peer.addTransceiver(Tone(), direction="sendonly")

    @peer.on("connectionstatechange")
    def on_state():
        if peer.connectionState == "connected":
            connected.set()
            say("connected")
        elif peer.connectionState in ("failed", "closed"):
            say("lost", state=peer.connectionState)

    await peer.setLocalDescription(await peer.createOffer())
    authorization = {"Authorization": f"Bearer {bearer}"} if bearer else {}
    begun = time.monotonic()
    status, headers, text = await asyncio.to_thread(
        ask, "POST", url, peer.localDescription.sdp, {"Content-Type": "application/sdp", **authorization}
    )
    ms = round((time.monotonic() - begun) * 1000, 1)
    location, etag = headers.get("Location"), headers.get("ETag")
    say("answered", status=status, ms=ms, location=location, etag=etag, body="" if status == 201 else text)
    if status != 201:
        sys.exit(1)
    session = urllib.parse.urljoin(url, location)
    await peer.setRemoteDescription(RTCSessionDescription(text, "answer"))
    await asyncio.wait_for(connected.wait(), 20)
    await asyncio.sleep(seconds)
    senders = [await sender.getStats() for sender in peer.getSenders()]
    packets = sum(one.packetsSent for stats in senders for one in stats.values() if one.type == "outbound-rtp")
    say("sent", frames=video.count, packets=packets)
    status, _, _ = await asyncio.to_thread(ask, "DELETE", session, None, authorization)
    again, _, _ = await asyncio.to_thread(ask, "DELETE", session, None, authorization)
    say("deleted", status=status, again=again)
    await peer.close()


asyncio.run(main(sys.argv[1], float(sys.argv[2]), *sys.argv[3:4]))

"""Videos that PyAV writes for the tests, and what PyAV reads from videos."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

WIDTH, HEIGHT = 160, 120
RATE = 25
SAMPLES = 48000

# Milliseconds between frames, as a phone writes them when the light changes.
PHONE = (0, 40, 40, 120, 33, 34, 500, 40, 41, 39, 250, 33, 33, 34, 80)
# In units of a frame, for formats that can only leave frames out.
SPARSE = (0, 1, 1, 3, 1, 2, 12, 1, 1, 1, 6, 1, 1, 2, 1)
STEP = 15
"""Grey values between neighbouring frames."""


def phone_times() -> list[float]:
    return [float(time) for time in np.cumsum(PHONE) / 1000]


def sparse_times() -> list[float]:
    return [float(time) for time in np.cumsum(SPARSE) / RATE]


def make_video(
    path: Path,
    codec: str,
    times: Sequence[float],
    *,
    base: Fraction = Fraction(1, 1000),
    turned: int | None = None,
    options: dict[str, str] | None = None,
    sound: str | None = None,
    images: Sequence[Any] | None = None,
) -> Path:
    """Frames whose grey value says which they are, at given times in seconds.

    Args:
        turned: Rotation entry in degrees, counter-clockwise.
        sound: Codec of a tone that is as long as the video.
        images: Frames instead of the grey ones, uint8 (H, W, 3) BGR.
    """
    import av

    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=RATE, options=options or {})
        stream.width, stream.height = WIDTH, HEIGHT
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.time_base = stream.time_base = base
        if turned is not None:
            stream.set_display_rotation(turned)
        tone: Any = container.add_stream(sound, rate=SAMPLES) if sound else None
        for number, time in enumerate(times):
            if images is None:
                image = np.full((HEIGHT, WIDTH, 3), 10 + STEP * number, np.uint8)
            else:
                image = images[number]
            frame = av.VideoFrame.from_ndarray(image, "bgr24")
            frame.pts, frame.time_base = round(time / base), base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if tone is not None:
            _add_tone(container, tone, times[-1] + 1 / RATE)
    return path


def _add_tone(container: Any, tone: Any, seconds: float) -> None:
    import av

    angle = 2 * np.pi * 440 * np.arange(round(SAMPLES * seconds)) / SAMPLES
    samples = (8000 * np.sin(angle)).astype(np.int16)
    for start in range(0, len(samples), 1024):
        frame = av.AudioFrame.from_ndarray(samples[None, start : start + 1024], "s16", "mono")
        frame.sample_rate, frame.pts = SAMPLES, start
        frame.time_base = Fraction(1, SAMPLES)
        container.mux(tone.encode(frame))
    container.mux(tone.encode())


def container_times(path: Path) -> list[float]:
    """PyAV's time stamps in seconds from the start of the video stream."""
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        start = stream.start_time or 0
        return [
            float((frame.pts - start) * frame.time_base)
            for frame in container.decode(video=0)
            if frame.pts is not None and frame.time_base is not None
        ]


def greys(path: Path) -> list[tuple[float, float]]:
    """Time and mean grey value of each frame, by PyAV."""
    import av

    times = container_times(path)
    with av.open(str(path)) as container:
        means = [float(f.to_ndarray(format="bgr24").mean()) for f in container.decode(video=0)]
    return list(zip(times, means, strict=True))


def sound_packets(path: Path) -> list[bytes]:
    """The content of the sound's packets, as they are stored."""
    import av

    with av.open(str(path)) as container:
        if not container.streams.audio:
            return []
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def damage(path: Path, numbers: Sequence[int]) -> int:
    """Overwrites the content of video packets; returns how many PyAV cannot decode then."""
    import av

    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        for number in numbers:
            content = bytes(packets[number])
            place = data.find(content)
            data[place + 8 : place + len(content)] = bytes(len(content) - 8)
    path.write_bytes(data)
    failed = 0
    with av.open(str(path)) as container:
        for packet in container.demux(video=0):
            try:
                packet.decode()
            except av.error.InvalidDataError:
                failed += 1
    return failed

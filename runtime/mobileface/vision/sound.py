"""Copies the sound of a video into another one with the program ffmpeg, if it is installed."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import BinaryIO

from ..errors import OutputError
from ..host.files import reason, replacing

__all__ = ["COPY_SECONDS", "copy_sound", "has_sound"]

COPY_SECONDS = 300.0
"""Default time limit of one run of the program."""

_LOCAL = ("-protocol_whitelist", "file")
_BARE = ("-map_metadata", "-1", "-map_metadata:s", "-1", "-map_chapters", "-1")
"""Leaves out titles, languages, places, dates and chapters."""

_HEADER_BYTES = 1 << 20
_MATROSKA_TRACKS, _TRACK_IS_AUDIO = b"\x16\x54\xae\x6b", b"\x83\x81\x02"
_BOXES = {b"moov", b"trak", b"mdia"}


class _CopyError(Exception):
    """The program failed; the message says why."""


def copy_sound(
    video: Path,
    source: Path,
    seconds: float,
    *,
    limit: float = COPY_SECONDS,
    metadata: bool = True,
) -> str:
    """Adds the sound of a source to a video file without encoding it again.

    The file is replaced only after success. The sound keeps its offset to the first frame.

    Args:
        video: The file without sound, whose first frame is the first frame of the source.
        source: The file with sound.
        seconds: Length of ``video``; the sound is cut there.
        limit: Maximum seconds that a program may run; afterwards the video stays without sound.
        metadata: False: without the titles, languages and chapters that belong to the sound.

    Returns:
        "with sound", "without sound (…)" with the reason, or "" for a source without sound.
    """
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        missing = "without sound (the program ffmpeg, which would copy it, is not installed)"
        return missing if has_sound(source) else ""
    probed = _probe(source, limit)
    audible = has_sound(source) if probed is None else probed[0]
    if audible is False:
        return ""
    inputs = [*_LOCAL, "-i", f"file:{video}", *_LOCAL, "-i", f"file:{source}"]
    streams = ["-map", "0:v:0", "-map", "1:a", "-c", "copy", "-t", f"{seconds:.6f}"]
    offset = 0.0 if probed is None else probed[1]
    command = [ffmpeg, "-nostdin", "-v", "error", "-y", "-itsoffset", f"{offset:.6f}"]
    try:
        with replacing(video) as temporary:
            kept = () if metadata else _BARE
            _run([*command, *inputs, *streams, *kept, f"file:{temporary}"], limit)
    except (_CopyError, OutputError) as error:
        return f"without sound (ffmpeg: {error})" if audible else ""
    return "with sound"


def has_sound(path: Path) -> bool | None:
    """Whether a video file has sound, by its header; None if the format is not known here."""
    try:
        with path.open("rb") as stream:
            start = stream.read(_HEADER_BYTES)
            if start[4:8] in {b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"}:
                size = stream.seek(0, os.SEEK_END)
                return b"soun" in _handlers(stream, 0, size)
    except OSError:
        return None
    if start[:4] == b"RIFF" and start[8:12] == b"AVI ":
        return re.search(rb"strh.{4}auds", start, re.DOTALL) is not None
    if start[:4] == b"\x1aE\xdf\xa3":
        tracks = start.find(_MATROSKA_TRACKS)
        return None if tracks < 0 else _TRACK_IS_AUDIO in _element(start, tracks + 4)
    return None


def _handlers(file: BinaryIO, start: int, end: int, depth: int = 0) -> set[bytes]:
    """Types of the tracks of an MP4 or MOV file, from its nested boxes."""
    found: set[bytes] = set()
    for _ in range(1000):
        head = _read(file, 16, start)
        if start + 8 > end or len(head) < 8:
            break
        size, kind, begin = int.from_bytes(head[:4], "big"), head[4:8], 8
        if size == 1:
            size, begin = int.from_bytes(head[8:16], "big"), 16
        elif size == 0:
            size = end - start
        if size < begin:
            break
        if kind == b"hdlr":
            found.add(_read(file, 4, start + begin + 8))
        elif kind in _BOXES and depth < len(_BOXES):
            found |= _handlers(file, start + begin, min(start + size, end), depth + 1)
        start += size
    return found


def _read(file: BinaryIO, size: int, start: int) -> bytes:
    file.seek(start)
    return file.read(size)


def _element(data: bytes, start: int) -> bytes:
    """Content of a Matroska element whose size field is at ``start``."""
    if start >= len(data) or data[start] == 0:
        return b""
    length = 9 - data[start].bit_length()
    size = int.from_bytes(data[start : start + length], "big") - (1 << 7 * length)
    return data[start + length : start + length + size]


def _probe(source: Path, limit: float) -> tuple[bool, float] | None:
    """Whether a file has sound, and when its first frame comes; None if ffprobe cannot say.

    The time is in seconds from the start of the file, which may be the start of the sound.
    """
    ffprobe = shutil.which("ffprobe")
    if ffprobe is None:
        return None
    entries = "stream=codec_type,start_time:format=start_time"
    command = [ffprobe, "-v", "error", *_LOCAL, "-show_entries", entries, "-of", "json"]
    try:
        result = subprocess.run(
            [*command, f"file:{source}"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=limit,
            check=True,
        )
        found = json.loads(result.stdout)
        kinds = [stream.get("codec_type") for stream in found["streams"]]
        first = float(found["streams"][kinds.index("video")]["start_time"])
        offset = first - float(found["format"]["start_time"])
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, AttributeError, TypeError):
        return None
    return "audio" in kinds, offset if math.isfinite(offset) else 0.0


def _run(command: list[str], limit: float) -> None:
    """Runs a program.

    Raises:
        _CopyError: If the program cannot be started, fails or takes longer than the limit.
    """
    try:
        subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=limit,
            check=True,
            start_new_session=True,  # Ctrl-C at the terminal ends the frames, not the copy
        )
    except subprocess.TimeoutExpired as error:
        raise _CopyError(f"not finished after {limit:.0f} s") from error
    except OSError as error:
        raise _CopyError(reason(error)) from error
    except subprocess.CalledProcessError as error:
        lines = error.stderr.decode(errors="replace").strip().splitlines()
        text = lines[0].rpartition("] ")[2] if lines else f"exit code {error.returncode}"
        shown = "".join(character if character.isprintable() else "?" for character in text)
        raise _CopyError(shown) from error

"""Recognises containers of videos by their first bytes.

FFmpeg, which OpenCV uses, guesses a file's format by its content, whatever its name: a playlist or
a script of FFmpeg's concat demuxer named ``.mp4`` would make it open other files and addresses.
Only containers that hold their frames themselves are handed over. Standard library only.
"""

from __future__ import annotations

__all__ = ["HEAD_BYTES", "is_container"]

HEAD_BYTES = 4096

_MAGIC = (
    b"\x1aE\xdf\xa3",  # Matroska, WebM: EBML (RFC 8794)
    b"FLV\x01",
    b"0&\xb2u\x8ef\xcf\x11",  # ASF: WMV
    b"\0\0\x01\xba",  # MPEG program stream (ISO/IEC 13818-1)
    b"\0\0\x01\xb3",  # MPEG-1 and MPEG-2 video
    b"\0\0\0\x01",  # H.264 and H.265 byte streams
    b"\0\0\x01",
    b"OggS",
    b"YUV4MPEG2",
    b"DKIF",  # IVF
    b"GIF8",
    b"\xff\xd8\xff",  # Motion JPEG without a container
)
_BOXES = frozenset(
    {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp", b"moof", b"sidx"}
)
"""First boxes of MP4, MOV and 3GP files (ISO/IEC 14496-12, QuickTime)."""

_SYNC, _PACKET, _M2TS_PACKET = 0x47, 188, 192


def is_container(head: bytes) -> bool:
    """True if a file is a video that contains its frames.

    Args:
        head: The first `HEAD_BYTES` bytes of the file, or all of a shorter one.
    """
    if head[4:8] in _BOXES or head.startswith(_MAGIC):
        return True
    if head[:4] == b"RIFF":
        return head[8:12] in (b"AVI ", b"AVIX")
    return _is_transport_stream(head)


def _is_transport_stream(head: bytes) -> bool:
    """True for MPEG transport streams, also those with a time stamp before each packet."""
    for first, step in ((0, _PACKET), (4, _M2TS_PACKET)):
        starts = head[first::step]
        if len(starts) >= 2 and set(starts) == {_SYNC}:
            return True
    return False

"""The content of a file of limited size."""

from __future__ import annotations

import os
from pathlib import Path

from mobileface.errors import SourceError, SourceFormatError
from mobileface.host.files import reason

__all__ = ["limited_content"]


def limited_content(path: Path, limit: int) -> bytes:
    """Reads a file; a larger one is refused before it is read.

    Args:
        path: The file.
        limit: Bytes.

    Raises:
        SourceError: If it cannot be read.
        SourceFormatError: If it is larger.
    """
    try:
        with path.open("rb") as stream:
            known = os.fstat(stream.fileno()).st_size
            content = b"" if known > limit else stream.read(limit + 1)
    except (OSError, ValueError) as error:  # ValueError: an invalid file name
        raise SourceError(f"cannot be read ({reason(error)})", where=str(path)) from error
    if max(known, len(content)) > limit:
        raise SourceFormatError(f"the file is larger than {limit >> 20} MiB", where=str(path))
    return content

"""Small things about files: hashes, and writing without leaving halves behind."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from ..errors import ModelError, ModelIntegrityError, OutputError

__all__ = ["check_sha256", "reason", "replacing", "sha256", "write_aside"]

_BLOCK = 1 << 16
"""Bytes hashed at a time: they stay in the cache, which makes it a third faster than megabytes."""


def sha256(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb", buffering=0) as stream:
        digest = hashlib.sha256()
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def check_sha256(path: Path, expected: str) -> None:
    """Refuses a model file that is not what an index promises.

    Raises:
        ModelError: It cannot be read.
        ModelIntegrityError: Its content has another hash; names both.
    """
    try:
        found = sha256(path)
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise ModelError(f"cannot be read ({reason(error)})", where=str(path)) from error
    if found != expected:
        raise ModelIntegrityError(
            f"its SHA-256 is {found}, the index promises {expected}",
            where=str(path),
            hint="the file is damaged or was replaced; convert or fetch it anew",
        )


def reason(error: Exception) -> str:
    """What the system says of a file that it cannot open, in a few words."""
    return getattr(error, "strerror", None) or str(error)


@contextlib.contextmanager
def replacing(path: Path, *, private: bool = False) -> Iterator[Path]:
    """Gives a temporary path beside ``path`` and renames it to ``path`` on success.

    On any error the temporary file is removed and ``path`` stays as it was. The temporary name
    keeps the suffix, because writers choose the format by it.

    Args:
        path: The file to write.
        private: Nobody but its owner may read it.

    Raises:
        OutputError: The folder cannot be written.
    """
    import tempfile  # and random, bz2 and lzma with it: most processes only read

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent
        )
        os.close(handle)
    except OSError as error:
        raise OutputError(f"cannot be written ({error.strerror})", where=str(path)) from error
    temporary = Path(name)
    try:
        yield temporary
        if not private:
            temporary.chmod(0o666 & ~_umask())  # mkstemp makes private files
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"cannot be written ({error.strerror})", where=str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_aside(path: Path, content: bytes | str) -> None:
    """Writes a file so that a reader sees the old or the new content, never a part.

    Raises:
        OutputError: It cannot be written.
    """
    data = content.encode() if isinstance(content, str) else content
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def _umask() -> int:
    """The process's umask, which can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask

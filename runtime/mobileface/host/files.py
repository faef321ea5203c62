"""File helpers: hashes and atomic writes."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from ..errors import ModelError, ModelIntegrityError, OutputError
from .ending import add_leftover, drop_leftover, held

__all__ = ["check_sha256", "reason", "replacing", "scratch_folder", "sha256", "write_aside"]

_BLOCK = 1 << 16
"""Bytes hashed at a time: they stay in the CPU cache, so this is faster than megabytes."""


def sha256(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal.

    Raises:
        OSError: If the file cannot be read.
    """
    with path.open("rb", buffering=0) as stream:
        digest = hashlib.sha256()
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def check_sha256(path: Path, expected: str) -> None:
    """Checks a model file against the hash in its index.

    Raises:
        ModelError: If the file cannot be read.
        ModelIntegrityError: If the file has another hash; the error gives both.
    """
    try:
        found = sha256(path)
    except (OSError, ValueError) as error:  # ValueError: an invalid file name
        raise ModelError(f"cannot be read ({reason(error)})", where=str(path)) from error
    if found != expected:
        raise ModelIntegrityError(
            f"its SHA-256 is {found}, but the index lists {expected}",
            where=str(path),
            hint="the file is corrupt or was replaced; convert or fetch it again",
        )


def reason(error: Exception) -> str:
    """A short reason why a file cannot be opened, as reported by the system."""
    return getattr(error, "strerror", None) or str(error)


@contextlib.contextmanager
def replacing(path: Path, *, private: bool = False) -> Iterator[Path]:
    """Yields a temporary path next to ``path`` and renames it to ``path`` on success.

    On any error the temporary file is removed and ``path`` is left unchanged. The temporary name
    keeps the suffix, because some writers select the format by it.

    Args:
        path: The file to write.
        private: Make the file readable by its owner only.

    Raises:
        OutputError: If the file or its folder cannot be written.
    """
    import tempfile  # imported here: it loads random, bz2 and lzma, and most processes only read

    try:
        with held():
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(
                prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent
            )
            os.close(handle)
            temporary = Path(name)
            add_leftover(temporary)
    except OSError as error:
        raise OutputError(f"cannot be written ({error.strerror})", where=str(path)) from error
    try:
        yield temporary
        with held():
            if not private:
                temporary.chmod(0o666 & ~_umask())  # mkstemp creates private files
            temporary.replace(path)
    except OSError as error:
        raise OutputError(f"cannot be written ({error.strerror})", where=str(path)) from error
    finally:
        with held():
            temporary.unlink(missing_ok=True)
            drop_leftover(temporary)


@contextlib.contextmanager
def scratch_folder(prefix: str = "mobileface-") -> Iterator[str]:
    """Yields the path of a temporary folder, which is removed also after a signal.

    Args:
        prefix: Beginning of its name.

    Raises:
        OutputError: If the folder for temporary files cannot be written.
    """
    import shutil
    import tempfile

    try:
        with held():
            folder = Path(tempfile.mkdtemp(prefix=prefix))
            add_leftover(folder)
    except OSError as error:
        place = tempfile.gettempdir()
        raise OutputError(f"cannot be written ({error.strerror})", where=place) from error
    try:
        yield str(folder)
    finally:
        with held():
            shutil.rmtree(folder, ignore_errors=True)
            drop_leftover(folder)


def write_aside(path: Path, content: bytes | str) -> None:
    """Writes a file atomically: readers see either the old or the new content.

    Raises:
        OutputError: If the file cannot be written.
    """
    data = content.encode() if isinstance(content, str) else content
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def _umask() -> int:
    """The process's umask, which can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask

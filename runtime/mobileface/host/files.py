"""File helpers: hashes and atomic writes."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import (
    InputError,
    MobileFaceError,
    ModelError,
    ModelIntegrityError,
    OutputError,
)
from .ending import add_leftover, drop_leftover, held
from .outputs import check_place, final_place, open_through, write_all, written_through

__all__ = [
    "check_inside",
    "check_sha256",
    "is_plain_name",
    "reason",
    "replacing",
    "scratch_folder",
    "sha256",
    "utf8_path",
    "write_aside",
    "write_together",
]

_BLOCK = 1 << 16
"""Bytes hashed at a time: they stay in the CPU cache, so this is faster than megabytes."""

_SEPARATORS = frozenset("/\\:")

_LONGEST_NAME = 200
"""Bytes of a file name from which on the name of its temporary file is shortened."""


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


def is_plain_name(name: str) -> bool:
    """True if a text from a file is the name of a file in a folder, and of nothing else.

    It has no path separator, drive or control character, is neither ``.`` nor ``..``, and leaves
    room for a suffix.
    """
    return (
        name not in ("", ".", "..")
        and name.isprintable()
        and not set(name) & _SEPARATORS
        and len(os.fsencode(name)) <= _LONGEST_NAME
    )


def check_inside(path: Path, folder: Path) -> None:
    """Checks that a file does not lie outside of its folder by a symbolic link.

    A folder that is itself a link is followed.

    Raises:
        ModelIntegrityError: If it does.
    """
    if not path.is_symlink():
        return
    place = Path(os.path.realpath(path))
    if not place.is_relative_to(os.path.realpath(folder)):
        raise ModelIntegrityError(
            f"is a link to {place}, outside of its folder", where=str(path), hint="copy the file"
        )


def reason(error: Exception) -> str:
    """A short reason why a file cannot be opened, as reported by the system."""
    return getattr(error, "strerror", None) or str(error)


_FULL = frozenset({errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)})
"""Errors of full disks and exceeded quotas."""

_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
"""Errors of file systems without hard links, such as exFAT."""


@contextlib.contextmanager
def replacing(
    path: Path, *, private: bool = False, suffix: str | None = None, absent: bool = False
) -> Iterator[Path]:
    """Yields a temporary path next to ``path`` and renames it to ``path`` on success.

    On any error the temporary file is removed and ``path`` is left unchanged. The temporary name
    keeps the suffix, because some writers select the format by it. If ``path`` is a symbolic link,
    its target is replaced. If it is a pipe, a device or a descriptor, the complete temporary file
    is copied to it.

    Args:
        path: The file to write.
        private: Make the file readable by its owner only.
        suffix: Suffix of the temporary file; by default that of ``path``.
        absent: Replace nothing: of several processes that create a file, one succeeds.

    Raises:
        InputError: If ``absent`` is set and the file exists by the time that it is complete.
        OutputError: If the file or its folder cannot be written, or if the path is a folder, a
            block device or a socket.
    """
    check_place(path)
    suffix = path.suffix if suffix is None else suffix
    if written_through(path):
        way = _passing_on(path, suffix)
    else:
        way = _renaming(path, private, suffix, absent)
    with way as temporary:
        try:
            yield temporary
        except MobileFaceError as error:  # of what writes it, which knows the temporary name only
            if error.where != str(temporary):
                raise
            raise type(error)(error.what, where=str(path), hint=error.hint) from error


def write_together(files: Sequence[tuple[Path, bytes | str]]) -> None:
    """Writes files that belong together: all of them, or none if one cannot be written.

    They get their names in the order that is given, after all of them have been written.

    Raises:
        OutputError: If a file cannot be written.
    """
    with contextlib.ExitStack() as stack:  # which renames the last first
        for path, content in reversed(files):
            temporary = stack.enter_context(replacing(path))
            try:
                temporary.write_bytes(_encoded(content))
            except OSError as error:
                text = f"cannot be written ({reason(error)})"
                raise OutputError(text, where=str(path)) from error


def _encoded(content: bytes | str) -> bytes:
    return content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content


@contextlib.contextmanager
def _passing_on(path: Path, suffix: str) -> Iterator[Path]:
    """Yields a temporary path; on success a pipe, device or descriptor gets its content."""
    with scratch_folder() as folder:
        temporary = Path(folder) / f"output{suffix}"
        try:
            temporary.touch(mode=0o600)
            yield temporary
            with temporary.open("rb") as content, open_through(path) as stream:
                while block := content.read(_BLOCK):
                    write_all(stream, block)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(f"cannot be written ({reason(error)})", where=str(path)) from error


@contextlib.contextmanager
def _renaming(path: Path, private: bool, suffix: str, absent: bool) -> Iterator[Path]:
    """Yields a temporary path next to a file, which it replaces on success."""
    import tempfile  # imported here: it loads random, bz2 and lzma, and most processes only read

    place = final_place(path)
    stem = place.stem if len(os.fsencode(place.name)) <= _LONGEST_NAME else place.stem[:40]
    try:
        with held():
            place.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=f".{stem}.", suffix=suffix, dir=place.parent)
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
            if absent:
                _claim(temporary, place)
            temporary.replace(place)
    except FileExistsError as error:
        hint = "remove it, or use another path"
        raise InputError("already exists", where=str(path), hint=hint) from error
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"cannot be written ({reason(error)})", where=str(path)) from error
    finally:
        with held():
            temporary.unlink(missing_ok=True)
            drop_leftover(temporary)


def _claim(temporary: Path, place: Path) -> None:
    """Gives a complete file its final name as well, or only occupies it, if nothing has it yet.

    Raises:
        FileExistsError: If the name is taken.
    """
    try:
        place.hardlink_to(temporary)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        os.close(os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


@contextlib.contextmanager
def scratch_folder(prefix: str = "mobileface-") -> Iterator[str]:
    """Yields the path of a temporary folder, which is removed also after a signal.

    Args:
        prefix: Beginning of its name.

    Raises:
        OutputError: If the folder for temporary files cannot be written, or is full.
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
    except OSError as error:
        if error.errno not in _FULL:
            raise
        text = f"cannot be written ({error.strerror})"
        raise OutputError(text, where=str(folder.parent)) from error
    finally:
        with held():
            shutil.rmtree(folder, ignore_errors=True)
            drop_leftover(folder)


def write_aside(path: Path, content: bytes | str) -> None:
    """Writes a file atomically: readers see either the old or the new content.

    Raises:
        OutputError: If the file cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(_encoded(content))


@contextlib.contextmanager
def utf8_path(path: Path) -> Iterator[str]:
    """Yields the path for a library that takes only UTF-8: if needed, a link of another name."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        with scratch_folder() as folder:
            link = Path(folder) / f"file{path.suffix}".encode("ascii", "replace").decode()
            link.symlink_to(path.absolute())
            yield str(link)
    else:
        yield str(path)


def _umask() -> int:
    """The process's umask, which can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask

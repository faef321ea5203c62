"""The download cache, and the locks with which several processes share a folder."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from mobileface.host.ending import held
from mobileface.host.places import default_cache_dir

__all__ = ["default_cache_dir", "exclusive_folder", "exclusive_part"]


@contextmanager
def exclusive_part(target: Path) -> Iterator[Path]:
    """Locks the partial file of a download for one process or thread at a time.

    Where files cannot be locked, every caller gets a separate partial file, which is not resumed
    later.

    Args:
        target: The path of the complete file.

    Yields:
        The path of the partial file.

    Raises:
        OSError: If the folder of the target is not writable.
    """
    # The lock file is not removed: otherwise a third process could lock a new file of that name
    # while a second one still holds the old one.
    with target.with_name(f"{target.name}.lock").open("ab") as lock:
        if _lock(lock):
            try:
                yield target.with_name(f"{target.name}.part")
            finally:
                _unlock(lock)
            return
    part = target.with_name(f"{target.name}.{uuid.uuid4().hex}.part")
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def exclusive_folder(folder: Path) -> Iterator[None]:
    """Locks a folder: other processes that use this function wait until it is released.

    Does nothing where files cannot be locked.

    Raises:
        OSError: If the folder is not writable.
    """
    path = folder / ".lock"
    while True:
        with path.open("ab") as lock:
            locked = False
            try:
                locked = _lock(lock)
                # Who had it before has removed it: another file of that name may be locked by now.
                if locked and not _is_still(lock, path):
                    continue
                yield
            finally:
                with held():
                    # Not locked after a signal at the start: then nobody may have it.
                    if locked or _lock(lock, wait=False):
                        if _is_still(lock, path):
                            path.unlink(missing_ok=True)
                        _unlock(lock)
            return


def _is_still(lock: BinaryIO, path: Path) -> bool:
    """Whether the open file is still the one at the path."""
    try:
        return os.path.samestat(os.fstat(lock.fileno()), path.stat())
    except FileNotFoundError:
        return False


if sys.platform == "win32":

    def _lock(_: BinaryIO, *, wait: bool = True) -> bool:  # noqa: ARG001
        """Returns False, as Windows has no advisory locks."""
        return False

    def _unlock(lock: BinaryIO) -> None:
        """Never called, as no file is ever locked."""

else:
    import fcntl

    def _lock(lock: BinaryIO, *, wait: bool = True) -> bool:
        """Waits for the lock; False if the file system has no locks, like some network ones."""
        try:
            fcntl.flock(lock, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def _unlock(lock: BinaryIO) -> None:
        """Unlocks explicitly, as closing does not if a child process has inherited the file."""
        fcntl.flock(lock, fcntl.LOCK_UN)

"""A connection to SQLite that survives forks: closed before, opened again after, on both sides.

SQLite's locks belong to a process, and it keeps a list of them for each file. A child process that
used, or even closed, an inherited connection could remove a write-ahead log that the parent still
writes, or write itself into one that the parent removes. So connections that are idle are closed
before a fork, and parent and child open their own when they need one. A connection that is in use
at that moment, in a transaction or in another thread, stays with the parent; in the child its file
cannot be used.
"""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import GalleryError
from ..host.forks import keep_for_ever, process_mark

__all__ = ["Connection"]


class Connection:
    """A connection of one of SQLite's drivers.

    Args:
        path: The file.
        connect: Opens an existing file.
        connection: The connection that is open now.

    Attributes:
        lock: Held by whoever uses it.
        users: Transactions and queries that are under way; above 0 it is not closed.
    """

    def __init__(self, path: Path, connect: Callable[[], Any], connection: Any) -> None:
        self.lock = threading.RLock()
        self.users = 0
        self._path, self._connect = path, connect
        self._connection = connection
        self._process = process_mark()
        self._parked = self._closed = self._forking = False
        _ALL.add(self)

    def get(self) -> Any:
        """The driver's connection in this process; the caller holds `lock`.

        Raises:
            GalleryError: It was in use while this process was forked.
        """
        if self._parked:
            self._connection, self._parked = self._connect(), False
            self._process = process_mark()
        elif self._process != process_mark():
            self._abandon()
            raise _in_use(self._path)
        return self._connection

    def close(self) -> None:
        """Closes it for good."""
        with self.lock:
            self._closed = True
            if self._process != process_mark():
                self._abandon()
            elif not self._parked:
                self._connection.close()

    def _abandon(self) -> None:
        """Leaves an inherited connection to the parent: this process must never close it."""
        keep_for_ever(self._connection)
        _forbid(self._path)

    def park(self) -> None:
        """Before a fork: closes the connection if it is idle."""
        self._forking = self.lock.acquire(blocking=False)
        if not self._forking or self.users or self._parked or self._closed:
            return
        if self._process == process_mark():
            with contextlib.suppress(Exception):  # it stays open, for the parent only
                self._connection.close()
                self._parked = True

    def forked_parent(self) -> None:
        """After a fork, in the parent."""
        if self._forking:
            self._forking = False
            self.lock.release()

    def forked_child(self) -> None:
        """After a fork, in the child."""
        self.lock = threading.RLock()
        self._forking = False
        if not self._parked and not self._closed:
            self._abandon()


_ALL: weakref.WeakSet[Connection] = weakref.WeakSet()
_FORBIDDEN: set[tuple[int, int]] = set()
"""Files that were in use when this process was forked, by device and inode."""


def require_usable(path: Path) -> None:
    """Refuses a file that was in use, in the parent, when this process was forked.

    Raises:
        GalleryError: It was.
    """
    if _FORBIDDEN and _identity(path) in _FORBIDDEN:
        raise _in_use(path)


def _in_use(path: Path) -> GalleryError:
    return GalleryError(
        "it was in use when this process was forked, so only the parent can use it",
        where=str(path),
        hint="fork when no transaction or search is under way, or open galleries after forking",
    )


def _forbid(path: Path) -> None:
    if (identity := _identity(path)) is not None:
        _FORBIDDEN.add(identity)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _before() -> None:
    for connection in list(_ALL):
        connection.park()


def _in_parent() -> None:
    for connection in list(_ALL):
        connection.forked_parent()


def _in_child() -> None:
    for connection in list(_ALL):
        connection.forked_child()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)

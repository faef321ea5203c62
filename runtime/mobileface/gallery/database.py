"""The connection to a gallery file: open modes, transactions and translated SQLite errors."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import quote

from ..errors import GalleryError, InputError, MobileFaceError, OutputError
from ..host.files import reason
from .checksums import FUNCTION, checksum
from .connection import Connection, require_usable

__all__ = ["KEY_VARIABLE", "Database"]

_PLAIN = b"SQLite format 3\x00"
"""First bytes of an unencrypted SQLite file."""

KEY_VARIABLE = "MOBILEFACE_GALLERY_KEY"
"""Environment variable that holds the passphrase of encrypted galleries."""


class Database:
    """A connection to one SQLite file.

    Args:
        path: The file.
        create: Create the file, which must be absent or empty; otherwise it must exist.
        timeout: Seconds to wait for another process that is writing.
        key: Passphrase of an encrypted file (SQLCipher); ignored if the file is not encrypted.

    Attributes:
        path: The file.
        encrypted: True if the file is read through SQLCipher.

    Raises:
        GalleryError: If the file does not exist or cannot be opened.
        InputError: If a key is given and SQLCipher's package is not installed.
    """

    def __init__(
        self, path: Path, *, create: bool = False, timeout: float = 10.0, key: str | None = None
    ) -> None:
        # Files derived from a gallery are stored next to it, even if it is opened by a symlink.
        path = path.resolve() if path.is_symlink() else path
        self.path = path
        self._file = path.absolute()  # the same when the working folder has changed
        self._depth = 0
        plain = not create and _first_bytes(path) == _PLAIN
        self.encrypted = key is not None and not plain
        self._driver = _cipher() if self.encrypted else sqlite3
        self._timeout, self._key = timeout, key if self.encrypted else None
        require_usable(path)
        opened = self._open("rwc") if create else self._open_existing()
        self._link = Connection(self._file, self._open_existing, opened)

    @property
    def _lock(self) -> AbstractContextManager[bool]:
        return self._link.lock

    @property
    def _connection(self) -> Any:
        """The driver's connection, in a child process one of its own."""
        return self._link.get()

    def __reduce__(self) -> tuple[object, ...]:
        """Refuses to be pickled: a passphrase and an open file belong to one process."""
        raise InputError(
            "an open gallery cannot be pickled",
            where=str(self.path),
            hint="pass its path, and open it with Gallery.open in each process",
        )

    def _open(self, mode: str) -> Any:
        name = f"file:{quote(os.fsencode(self._file))}?mode={mode}"
        with self._translated():
            connection = self._driver.connect(
                name, uri=True, timeout=self._timeout, isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare(connection)
            except BaseException:
                connection.close()
                raise
        return connection

    def _prepare(self, connection: Any) -> None:
        """Applies the settings of each connection; fails if the file cannot be read."""
        if self._key is not None:
            connection.execute("PRAGMA cipher_log_level = NONE")  # we report a wrong key ourselves
            quoted = self._key.replace("'", "''")
            connection.execute(f"PRAGMA key = '{quoted}'")
        connection.create_function(FUNCTION, -1, checksum, deterministic=True)
        for pragma in ("foreign_keys = ON", "secure_delete = ON", "trusted_schema = OFF"):
            connection.execute(f"PRAGMA {pragma}")
        # Committed data survives a power failure.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("SELECT count(*) FROM sqlite_master")  # fails if it is unreadable

    def _open_existing(self) -> Any:
        """Opens an existing file; on a read-only disk without a write-ahead log."""
        try:
            return self._open("rw")
        except (GalleryError, OutputError):
            if self._has_log() or os.access(self.path.parent, os.W_OK):
                raise
            return self._open("ro&immutable=1")

    def _has_log(self) -> bool:
        """True if a non-empty write-ahead log exists next to the file."""
        log = self.path.with_name(f"{self.path.name}-wal")
        try:
            return log.stat().st_size > 0
        except OSError:
            return False

    def close(self) -> None:
        """Closes the connection; the last one writes the log back into the file."""
        self._link.close()

    @contextlib.contextmanager
    def read(self) -> Iterator[None]:
        """A read transaction: all statements in it see the same state of the file."""
        with self._transaction("BEGIN"):
            yield

    @contextlib.contextmanager
    def write(self) -> Iterator[None]:
        """A write transaction: all statements in it take effect, or none; other writers wait.

        Raises:
            GalleryError: If another process does not finish writing within the timeout.
            OutputError: If the file or disk cannot be written.
        """
        with self._transaction("BEGIN IMMEDIATE"):
            yield

    @contextlib.contextmanager
    def _transaction(self, begin: str) -> Iterator[None]:
        with self._lock:
            if self._depth:  # nested: part of the outer transaction
                yield
                return
            self.run(begin)
            self._depth += 1
            self._link.users += 1
            try:
                yield
                self.run("COMMIT")
            finally:
                self._depth -= 1
                self._link.users -= 1
                if self._connection.in_transaction:
                    with contextlib.suppress(MobileFaceError):
                        self.run("ROLLBACK")

    def run(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Runs one statement; returns the number of rows it changed."""
        with self._lock, self._translated():
            return int(self._connection.execute(sql, values).rowcount)

    def insert(self, sql: str, values: Sequence[Any]) -> int:
        """Inserts one row; returns its rowid."""
        with self._lock, self._translated():
            return int(self._connection.execute(sql, values).lastrowid)

    def rows(self, sql: str, values: Sequence[Any] = (), *, at_once: int = 4096) -> Iterator[Any]:
        """The rows of a query, fetched in batches."""
        with self._lock, self._translated():
            cursor = self._connection.execute(sql, values)
            self._link.users += 1
        try:
            while True:
                with self._lock, self._translated():
                    found = cursor.fetchmany(at_once)
                if not found:
                    return
                yield from found
        finally:
            self._link.users -= 1

    def row(self, sql: str, values: Sequence[Any] = ()) -> Any:
        """The first row of a query, or None."""
        with self._lock, self._translated():
            return self._connection.execute(sql, values).fetchone()

    def value(self, sql: str, values: Sequence[Any] = ()) -> Any:
        """The only value of a query; None if there is no row."""
        row = self.row(sql, values)
        return None if row is None else row[0]

    def empty_log(self) -> bool:
        """Checkpoints and truncates the WAL.

        Returns:
            False if that was not possible: a process still reads an older state, or the disk is
            full. What was committed is stored all the same, in the log.
        """
        try:
            busy, _, _ = self.row("PRAGMA wal_checkpoint(TRUNCATE)")
        except OutputError:
            return False
        return not busy

    def copy_to(self, target: Database, progress: Any, pages: int) -> None:
        """Copies a snapshot of the whole file while other processes may write to it."""
        with self.read():
            self.value("SELECT count(*) FROM sqlite_master")  # starts the snapshot
            with self._translated():
                self._connection.backup(target._connection, pages=pages, progress=progress)

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """Translates the errors of either SQLite driver to those of `mobileface.errors`."""
        try:
            yield
        except (self._driver.Error, self._driver.Warning) as error:
            raise _translated(str(error), self.path) from error
        except OverflowError as error:  # an integer of more than 64 bits
            raise InputError(f"a number is too large ({error})", where=str(self.path)) from error
        except UnicodeDecodeError as error:  # in a message about a damaged name of a table
            raise _translated("a text is not UTF-8", self.path) from error


def _translated(text: str, path: Path) -> MobileFaceError:
    where = str(path)
    if "is full" in text:
        return OutputError("the disk is full; nothing was stored", where=where)
    if "readonly" in text or "read-only" in text:
        return OutputError("the file or its disk is read-only", where=where)
    if "disk I/O error" in text:
        return OutputError("the disk failed or is full; nothing was stored", where=where)
    if "locked" in text or "busy" in text:
        return GalleryError(
            "another process is writing", where=where, hint="wait until it has finished, then retry"
        )
    if "not a database" in text:
        return GalleryError(
            "not a gallery, or encrypted and the key is missing or wrong",
            where=where,
            hint=f"the key is read from {KEY_VARIABLE}",
        )
    if "unable to open" in text:
        return GalleryError("cannot be opened", where=where, hint="check its permissions")
    if "too big" in text:
        return InputError("more data than SQLite can store in one row", where=where)
    return GalleryError(
        f"corrupt, or not a gallery ({text})", where=where, hint="restore it from a backup"
    )


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(len(_PLAIN))
    except FileNotFoundError as error:
        raise GalleryError(
            "no such gallery",
            where=str(path),
            hint="create one with 'mobileface gallery create'",
        ) from error
    except (OSError, ValueError) as error:  # ValueError: an invalid file name
        raise GalleryError(f"cannot be opened ({reason(error)})", where=str(path)) from error


def _cipher() -> ModuleType:
    """Imports the SQLCipher driver."""
    try:
        from sqlcipher3 import dbapi2
    except ImportError as error:
        raise InputError(
            "encrypted galleries need the package sqlcipher3",
            hint="pip install 'mobileface[encryption]'",
        ) from error
    module: ModuleType = dbapi2
    return module

"""The connection to a gallery's file: modes, transactions, and SQLite's errors as ours."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import quote

from ..errors import GalleryError, InputError, MobileFaceError, OutputError
from ..host.files import reason

__all__ = ["KEY_VARIABLE", "Database"]

_PLAIN = b"SQLite format 3\x00"
"""First bytes of a file that is not encrypted."""

KEY_VARIABLE = "MOBILEFACE_GALLERY_KEY"
"""Environment variable with the passphrase of encrypted galleries."""


class Database:
    """One connection to one SQLite file.

    Args:
        path: The file.
        create: Make it; it must be empty. Else it must be there.
        timeout: Seconds to wait for another process that writes.
        key: Passphrase of an encrypted file (SQLCipher); a file that is not encrypted needs none.

    Attributes:
        path: The file.
        encrypted: True if SQLCipher reads it.

    Raises:
        GalleryError: It is absent or cannot be opened.
        InputError: A key is given and SQLCipher's package is not installed.
    """

    def __init__(
        self, path: Path, *, create: bool = False, timeout: float = 10.0, key: str | None = None
    ) -> None:
        # Files that are made from a gallery lie beside it, whatever name it is opened by.
        path = path.resolve() if path.is_symlink() else path
        self.path = path
        self._lock = threading.RLock()
        self._depth = 0
        plain = not create and _first_bytes(path) == _PLAIN
        self.encrypted = key is not None and not plain
        self._driver = _cipher() if self.encrypted else sqlite3
        self._timeout, self._key = timeout, key if self.encrypted else None
        self._connection = self._open("rwc") if create else self._open_existing()

    def _open(self, mode: str) -> Any:
        name = f"file:{quote(str(self.path.absolute()))}?mode={mode}"
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
        """The settings that each connection needs; fails if the file cannot be read."""
        if self._key is not None:
            connection.execute("PRAGMA cipher_log_level = NONE")  # a wrong key is our error
            quoted = self._key.replace("'", "''")
            connection.execute(f"PRAGMA key = '{quoted}'")
        for pragma in ("foreign_keys = ON", "secure_delete = ON", "trusted_schema = OFF"):
            connection.execute(f"PRAGMA {pragma}")
        # A commit that was reported survives a loss of power.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("SELECT count(*) FROM sqlite_master")  # it can be read

    def _open_existing(self) -> Any:
        """A connection; on a disk that cannot be written, one that does without a log."""
        try:
            return self._open("rw")
        except (GalleryError, OutputError):
            if self._has_log() or os.access(self.path.parent, os.W_OK):
                raise
            return self._open("ro&immutable=1")

    def _has_log(self) -> bool:
        """True if a log with changes lies beside the file."""
        log = self.path.with_name(f"{self.path.name}-wal")
        try:
            return log.stat().st_size > 0
        except OSError:
            return False

    def close(self) -> None:
        """Ends the connection; the last one writes the log back into the file."""
        with self._lock:
            self._connection.close()

    @contextlib.contextmanager
    def read(self) -> Iterator[None]:
        """Everything inside sees one state of the file, whatever is written meanwhile."""
        with self._transaction("BEGIN"):
            yield

    @contextlib.contextmanager
    def write(self) -> Iterator[None]:
        """Everything inside is written, or nothing; other writers wait.

        Raises:
            GalleryError: Another process keeps writing.
            OutputError: The file or disk cannot be written.
        """
        with self._transaction("BEGIN IMMEDIATE"):
            yield

    @contextlib.contextmanager
    def _transaction(self, begin: str) -> Iterator[None]:
        with self._lock:
            if self._depth:  # part of the transaction around it
                yield
                return
            self.run(begin)
            self._depth += 1
            try:
                yield
                self.run("COMMIT")
            finally:
                self._depth -= 1
                if self._connection.in_transaction:
                    with contextlib.suppress(MobileFaceError):
                        self.run("ROLLBACK")

    def run(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Runs one statement; returns how many rows it changed."""
        with self._lock, self._translated():
            return int(self._connection.execute(sql, values).rowcount)

    def insert(self, sql: str, values: Sequence[Any]) -> int:
        """Inserts one row; returns its number."""
        with self._lock, self._translated():
            return int(self._connection.execute(sql, values).lastrowid)

    def rows(self, sql: str, values: Sequence[Any] = (), *, at_once: int = 4096) -> Iterator[Any]:
        """The rows of a query, read some at a time."""
        with self._lock, self._translated():
            cursor = self._connection.execute(sql, values)
        while True:
            with self._lock, self._translated():
                found = cursor.fetchmany(at_once)
            if not found:
                return
            yield from found

    def row(self, sql: str, values: Sequence[Any] = ()) -> Any:
        """The first row of a query, or None."""
        with self._lock, self._translated():
            return self._connection.execute(sql, values).fetchone()

    def value(self, sql: str, values: Sequence[Any] = ()) -> Any:
        """The only value of a query; None if there is no row."""
        row = self.row(sql, values)
        return None if row is None else row[0]

    def empty_log(self) -> bool:
        """Writes the log back and empties it; False if somebody still reads an older state."""
        busy, _, _ = self.row("PRAGMA wal_checkpoint(TRUNCATE)")
        return not busy

    def copy_to(self, target: Database, progress: Any, pages: int) -> None:
        """Copies the whole file as one state of it, while others write."""
        with self.read():
            self.value("SELECT count(*) FROM sqlite_master")  # fixes the state
            with self._translated():
                self._connection.backup(target._connection, pages=pages, progress=progress)

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """SQLite's errors, of either driver, as this project's."""
        try:
            yield
        except (self._driver.Error, self._driver.Warning) as error:
            raise _translated(str(error), self.path) from error
        except OverflowError as error:  # a number that SQLite has no place for
            raise InputError(f"a number is too large ({error})", where=str(self.path)) from error


def _translated(text: str, path: Path) -> MobileFaceError:
    where = str(path)
    if "is full" in text:
        return OutputError("the disk is full; nothing of this was stored", where=where)
    if "readonly" in text or "read-only" in text:
        return OutputError("is read-only, or on a disk that is", where=where)
    if "disk I/O error" in text:
        return OutputError("the disk failed, or is full; nothing of this was stored", where=where)
    if "locked" in text or "busy" in text:
        return GalleryError(
            "another process is writing", where=where, hint="wait until it is done, and try again"
        )
    if "not a database" in text:
        return GalleryError(
            "no gallery, or an encrypted one and the key is missing or wrong",
            where=where,
            hint=f"the key is read from {KEY_VARIABLE}",
        )
    if "unable to open" in text:
        return GalleryError("cannot be opened", where=where, hint="look at its permissions")
    if "too big" in text:
        return InputError("more data than SQLite has place for in one row", where=where)
    return GalleryError(
        f"damaged, or no gallery ({text})", where=where, hint="go back to a backup of it"
    )


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(len(_PLAIN))
    except FileNotFoundError as error:
        raise GalleryError(
            "there is no such gallery",
            where=str(path),
            hint="make one with 'mobileface gallery create'",
        ) from error
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise GalleryError(f"cannot be opened ({reason(error)})", where=str(path)) from error


def _cipher() -> ModuleType:
    """SQLCipher's driver."""
    try:
        from sqlcipher3 import dbapi2
    except ImportError as error:
        raise InputError(
            "encrypted galleries need the package sqlcipher3",
            hint="pip install 'mobileface[encryption]'",
        ) from error
    module: ModuleType = dbapi2
    return module

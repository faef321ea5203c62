"""Backups of a gallery, consistent even while other processes read and write it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..errors import GalleryError
from ..host.files import replacing
from ..host.outputs import check_outputs, final_place
from .database import Database
from .erasing import derived_files, erase, own_files, require_no_log, without_logs
from .gallery import Gallery

__all__ = ["backup"]

_PAGES = 2048
"""SQLite pages copied per step, 8 MB."""


def backup(
    gallery: Gallery,
    path: str | Path,
    *,
    key: str | None = None,
    step: Callable[[int, int], None] | None = None,
) -> None:
    """Copies a snapshot of a gallery and checks the copy.

    Args:
        gallery: The gallery; other processes may write to it during the backup.
        path: The copy. An existing file is replaced once the copy is complete.
        key: Passphrase of an encrypted gallery; the copy uses the same one.
        step: Progress callback, called with the pages copied and the total number of pages.

    Raises:
        InputError: If ``path`` is the gallery itself, or one of the files that belong to it, or if
            a log of SQLite lies beside ``path``: it would be read into the copy. Files derived
            from the replaced gallery are removed.
        GalleryError: If the gallery is corrupt.
        OutputError: If the copy cannot be written.
    """
    path = Path(path)
    check_outputs([path], own_files(gallery.path))
    require_no_log(final_place(path))

    def report(_: int, left: int, total: int) -> None:
        if step is not None:
            step(total - left, total)

    with replacing(path, private=True) as temporary, without_logs(temporary):
        encrypted = gallery.database.encrypted
        target = Database(temporary, create=True, key=key if encrypted else None)
        try:
            gallery.database.copy_to(target, report, _PAGES)
            target.value("PRAGMA journal_mode = DELETE")  # one file, no -wal file
            found = str(target.value("PRAGMA quick_check"))
            if found != "ok":
                raise GalleryError(f"corrupt: {found}", where=str(gallery.path))
            target.value("PRAGMA journal_mode = WAL")
        finally:
            target.close()
        require_no_log(final_place(path))  # of a process that has opened it meanwhile
    for left in derived_files(final_place(path)):
        erase(left)

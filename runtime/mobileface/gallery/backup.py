"""A copy of a gallery that is consistent while others read and write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..errors import GalleryError, InputError
from ..host.files import replacing
from .database import Database
from .gallery import Gallery

__all__ = ["backup"]

_PAGES = 2048
"""Pages a step, 8 MB."""


def backup(
    gallery: Gallery,
    path: str | Path,
    *,
    key: str | None = None,
    step: Callable[[int, int], None] | None = None,
) -> None:
    """Copies a gallery as it is at one moment, and checks the copy.

    Args:
        gallery: The gallery; it may be written meanwhile.
        path: The copy. A file that is there is replaced when the copy is complete.
        key: Passphrase of an encrypted gallery; its copy has the same.
        step: Called with pages done and pages in all.

    Raises:
        InputError: The copy would be the gallery itself.
        GalleryError: The gallery is damaged.
        OutputError: The copy cannot be written.
    """
    path = Path(path)
    if path.exists() and path.samefile(gallery.path):
        raise InputError("a gallery cannot be its own backup", where=str(path))

    def report(_: int, left: int, total: int) -> None:
        if step is not None:
            step(total - left, total)

    with replacing(path, private=True) as temporary:
        encrypted = gallery.database.encrypted
        target = Database(temporary, create=True, key=key if encrypted else None)
        try:
            gallery.database.copy_to(target, report, _PAGES)
            target.value("PRAGMA journal_mode = DELETE")  # one file, with nothing beside it
            found = str(target.value("PRAGMA quick_check"))
            if found != "ok":
                raise GalleryError(f"damaged: {found}", where=str(gallery.path))
            target.value("PRAGMA journal_mode = WAL")
        finally:
            target.close()

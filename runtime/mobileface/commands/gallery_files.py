"""``mobileface gallery export | import | migrate | backup``: moves galleries between files."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..analyzer import FaceAnalyzer
from ..errors import InputError
from ..gallery import backup, export_gallery, import_faces, migrate
from .gallery_access import Steps, calibration_of, make_worker, open_gallery, read_key
from .output import print_json, print_text

__all__ = ["run_backup", "run_export", "run_import", "run_migrate"]


def run_export(options: argparse.Namespace) -> int:
    """Exports a gallery to a file."""
    with open_gallery(options) as gallery:
        count = export_gallery(gallery, options.output, crops=not options.no_crops)
    _say(options, {"file": str(options.output), "faces": count}, f"{count} faces")
    return 0


def run_import(options: argparse.Namespace) -> int:
    """Imports people from an exported file."""
    with open_gallery(options) as gallery:
        done = import_faces(gallery, options.input, merge=options.merge)
    text = f"{done.faces} faces of {done.people} people imported, {done.known} already enrolled"
    _say(options, {"file": str(options.input), **asdict(done)}, text)
    return 0


def run_migrate(options: argparse.Namespace) -> int:
    """Re-embeds all faces with another model."""
    if options.embedder is None:
        raise InputError("no model to migrate to", hint="pass --embedder NAME")
    with open_gallery(options) as gallery:
        worker = make_worker(options, gallery, same=False)
        embedder = worker.embedder if isinstance(worker, FaceAnalyzer) else worker
        assert embedder is not None
        done = migrate(
            gallery,
            worker,
            calibration=calibration_of(embedder.identity, options),
            drop_failed=options.drop_failed,
            step=Steps("faces"),
        )
    text = (
        f"{done.faces} faces migrated from {done.before} to {done.after}"
        f"{f', {done.resumed} by an earlier run' if done.resumed else ''}"
        f"{f', {done.dropped} dropped' if done.dropped else ''}; "
        f"the most similar person changed for {done.changed} of {done.compared} compared faces"
    )
    _say(options, asdict(done), text)
    return 0


def run_backup(options: argparse.Namespace) -> int:
    """Backs up a gallery, even while other processes use it."""
    with open_gallery(options) as gallery:
        backup(gallery, options.output, key=read_key(options), step=Steps("pages"))
    size = Path(options.output).stat().st_size
    _say(options, {"file": str(options.output), "bytes": size}, f"{size / 1e6:.1f} MB")
    return 0


def _say(options: argparse.Namespace, document: dict[str, Any], text: str) -> None:
    if options.json:
        print_json(document)
    else:
        print_text(f"{document.get('file', options.gallery)}: {text}")

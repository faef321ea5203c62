"""The options of ``mobileface gallery``."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..host.output_options import OutputFile
from .options import add_face_choice, add_gallery_options, add_thresholds

__all__ = ["add_gallery"]

_Run = Callable[[argparse.Namespace], int]


def add_gallery(parser: argparse.ArgumentParser) -> None:
    """Adds the subcommands of ``mobileface gallery``."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    def add(name: str, text: str, module: str) -> Any:
        action = actions.add_parser(name, help=text)
        add_gallery_options(action)
        action.add_argument("--json", action="store_true", help="print JSON")
        action.set_defaults(run=_run(module, f"run_{name.replace('-', '_')}"))
        return action.add_argument

    option = add("create", "make an empty gallery for one model", "gallery_people")
    _add_gallery_models(option)
    option("--float16", action="store_true", help="store embeddings in half the space")
    option("--no-crops", action="store_true", help="store no pictures; it cannot be migrated then")
    option("--calibration", type=Path, metavar="FILE", help="what similarities mean")
    option("--encrypt", action="store_true", help="by SQLCipher, with the key")
    option = add("add", "enrol pictures of one person", "gallery_people")
    option("name", metavar="NAME", help="who")
    option("images", nargs="+", metavar="IMG", help="picture files, folders or patterns")
    _add_enrolment(option)
    option = add("add-folder", "enrol a folder with a folder for each person", "gallery_people")
    option("folder", type=Path, metavar="DIR", help="its subfolders have the people's names")
    _add_enrolment(option)
    option = add("remove", "remove a person, and erase every trace", "gallery_people")
    option("name", metavar="NAME", help="who")
    option("--face", type=int, action="append", metavar="N", help="only this face")
    option = add("rename", "give a person another name", "gallery_people")
    option("name", metavar="NAME", help="who")
    option("new", metavar="NEW", help="the new name")
    option = add("list", "who is enrolled", "gallery_people")
    option("name", nargs="?", metavar="NAME", help="the faces of one person")
    option = add("search", "say who is in pictures", "gallery_search")
    option("images", nargs="+", metavar="IMG", help="picture files, folders or patterns")
    option("--top", type=int, default=5, metavar="K", help="people for a face; default: 5")
    _add_gallery_models(option)
    _add_crops(option)
    add_thresholds(option)
    option("--templates", choices=("best", "mean"), default="best", help="default: %(default)s")
    _add_engines(option)
    option = add("export", "write everything as JSON, or the embeddings as .npz", "gallery_files")
    option("output", action=OutputFile, metavar="OUT", help="file that ends in .json or .npz")
    option("--no-crops", action="store_true", help="without the pictures")
    option = add("import", "take in what export wrote", "gallery_files")
    option("input", type=Path, metavar="FILE", help="file that ends in .json or .npz")
    option("--merge", action="store_true", help="equal names are one person")
    option = add("stats", "how much is in it, and what made it", "gallery_people")
    option("--check", action="store_true", help="read everything; exit code 2 if it is damaged")
    option("--probes", type=int, default=200, metavar="N", help="for the recall of an engine")
    _add_engines(option)
    option = add("migrate", "embed all faces anew with another model", "gallery_files")
    _add_gallery_models(option)
    option("--calibration", type=Path, metavar="FILE", help="what its similarities mean")
    option("--drop-failed", action="store_true", help="remove faces that it cannot embed")
    option = add("backup", "copy it as it is at one moment, also while it is used", "gallery_files")
    option("output", action=OutputFile, metavar="OUT", help="the copy")
    option = add("calibrate", "say what similarities mean", "gallery_people")
    option("calibration", type=Path, nargs="?", metavar="FILE", help="default: the model's")
    option("--models", type=Path, metavar="DIR", help="folder to look for it in")


def _run(module: str, function: str) -> _Run:
    """What runs a subcommand; imported when it does: no other command needs SQLite."""

    def run(options: argparse.Namespace) -> int:
        code: int = getattr(importlib.import_module(f".{module}", __package__), function)(options)
        return code

    return run


def _add_gallery_models(option: Any) -> None:
    option("--models", type=Path, metavar="DIR", help="folder to look for models in")
    option("--detector", metavar="NAME", help="detector to use")
    option("--embedder", metavar="NAME", help="identification model; default: the gallery's")


def _add_crops(option: Any) -> None:
    option("--crops", action="store_true", help="the pictures are aligned face crops already")


def _add_enrolment(option: Any) -> None:
    _add_gallery_models(option)
    _add_crops(option)
    add_face_choice(option, "refuse the photo")
    option("--min-face", type=float, metavar="PIXELS", help="least side of a face")
    option("--min-sharpness", type=float, metavar="V", help="least variance of the Laplacian")
    option("--min-frontality", type=float, metavar="F", help="0: profile, 1: from the front")
    option("--max-roll", type=float, metavar="DEGREES", help="how far a head may be tilted")


def _add_engines(option: Any) -> None:
    option("--usearch", action="store_true", help="search by an index (extra [index])")
    option(
        "--milvus",
        metavar="ADDRESS",
        help="search in Milvus (extra [milvus]): a .db file, or http://HOST:PORT",
    )

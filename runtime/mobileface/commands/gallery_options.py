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
_Add = Callable[[str, str, str], Any]
"""Adds a subcommand: name, help text and module → ``add_argument`` of its parser."""


def add_gallery(parser: argparse.ArgumentParser) -> None:
    """Adds the subcommands of ``mobileface gallery``."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    def add(name: str, text: str, module: str) -> Any:
        action = actions.add_parser(name, help=text)
        add_gallery_options(action)
        action.add_argument("--json", action="store_true", help="print JSON")
        action.set_defaults(run=_run(module, f"run_{name.replace('-', '_')}"))
        return action.add_argument

    _add_people_actions(add)
    _add_search(add)
    _add_file_actions(add)


def _add_people_actions(add: _Add) -> None:
    """Adds the subcommands that create a gallery and edit its people."""
    option = add("create", "create an empty gallery for one model", "gallery_people")
    _add_gallery_models(option, default="the preferred one")
    option("--float16", action="store_true", help="store embeddings as float16, in half the space")
    option(
        "--no-crops",
        action="store_true",
        help="do not store face crops; the gallery cannot be migrated to another model",
    )
    option(
        "--calibration", type=Path, metavar="FILE", help="calibration of the model's similarities"
    )
    option("--encrypt", action="store_true", help="encrypt the gallery with SQLCipher")
    option = add("add", "enrol images of one person", "gallery_people")
    option("name", metavar="NAME", help="name of the person")
    option("images", nargs="+", metavar="IMG", help="image files, folders or glob patterns")
    _add_enrolment(option)
    option = add("add-folder", "enrol people from a folder of subfolders", "gallery_people")
    option(
        "folder",
        type=Path,
        metavar="DIR",
        help="folder with one subfolder per person, named after them",
    )
    _add_enrolment(option)
    option = add("remove", "remove a person and erase the data", "gallery_people")
    option("name", metavar="NAME", help="name of the person")
    option(
        "--face",
        type=int,
        action="append",
        metavar="N",
        help="remove only the face with this ID; repeatable",
    )
    option = add("rename", "rename a person", "gallery_people")
    option("name", metavar="NAME", help="current name")
    option("new", metavar="NEW", help="new name")
    option = add("merge", "make two people one", "gallery_people")
    option("name", metavar="NAME", help="name of the person whose faces are moved")
    option("into", metavar="INTO", help="name of the person who gets them")
    option = add("list", "list the enrolled people", "gallery_people")
    option("name", nargs="?", metavar="NAME", help="list the faces of this person instead")


def _add_search(add: _Add) -> None:
    """Adds ``mobileface gallery search``."""
    option = add("search", "identify the people in images", "gallery_search")
    option("images", nargs="+", metavar="IMG", help="image files, folders or glob patterns")
    option("--top", type=int, default=5, metavar="K", help="matches per face; default: 5")
    _add_gallery_models(option)
    _add_crops(option)
    add_thresholds(option)
    option(
        "--templates",
        choices=("best", "mean"),
        default="best",
        help="compare with each person's most similar face, or with the mean of their faces; "
        "default: %(default)s",
    )
    _add_engines(option)


def _add_file_actions(add: _Add) -> None:
    """Adds the subcommands that read, copy or convert a whole gallery."""
    option = add("export", "export everything as JSON, or embeddings as .npz", "gallery_files")
    option("output", action=OutputFile, metavar="OUT", help="output file, .json or .npz")
    option("--no-crops", action="store_true", help="omit the face crops")
    option = add("import", "import people from an exported file", "gallery_files")
    option("input", type=Path, metavar="FILE", help="exported file, .json or .npz")
    option("--merge", action="store_true", help="treat people with the same name as one person")
    option = add("stats", "print the size and the model of the gallery", "gallery_people")
    option(
        "--check",
        action="store_true",
        help="check all data and list damaged faces; exit code 2 if the gallery is not intact",
    )
    option(
        "--repair",
        action="store_true",
        help="check, and embed damaged faces again from their stored crops",
    )
    option(
        "--probes",
        type=int,
        default=200,
        metavar="N",
        help="number of searches to measure an engine's recall with; default: %(default)s",
    )
    _add_gallery_models(option)
    _add_engines(option)
    option = add("migrate", "re-embed all faces with another model", "gallery_files")
    _add_gallery_models(option, default="")
    option("--calibration", type=Path, metavar="FILE", help="calibration of the new model")
    option("--drop-failed", action="store_true", help="remove faces that cannot be embedded")
    option = add("backup", "back up the gallery, even while it is in use", "gallery_files")
    option("output", action=OutputFile, metavar="OUT", help="output file")
    option = add("calibrate", "store a calibration of the model's similarities", "gallery_people")
    option(
        "calibration",
        type=Path,
        nargs="?",
        metavar="FILE",
        help="calibration file; default: the calibration next to the model",
    )
    option("--models", type=Path, metavar="DIR", help="folder to search for the calibration")


def _run(module: str, function: str) -> _Run:
    """A function that imports a subcommand's module and runs it: only these need SQLite."""

    def run(options: argparse.Namespace) -> int:
        code: int = getattr(importlib.import_module(f".{module}", __package__), function)(options)
        return code

    return run


def _add_gallery_models(option: Any, default: str = "the gallery's model") -> None:
    option("--models", type=Path, metavar="DIR", help="folder to search for models")
    option("--detector", metavar="NAME", help="detection model, by name or path")
    text = "embedding model, by name or path; " + (f"default: {default}" if default else "required")
    option("--embedder", metavar="NAME", help=text)


def _add_crops(option: Any) -> None:
    option("--crops", action="store_true", help="the images are aligned face crops")


def _add_enrolment(option: Any) -> None:
    _add_gallery_models(option)
    _add_crops(option)
    add_face_choice(option, "refuse the photo")
    option("--min-face", type=float, metavar="PIXELS", help="minimum face size: shorter side")
    option("--min-sharpness", type=float, metavar="V", help="minimum variance of the Laplacian")
    option("--min-frontality", type=float, metavar="F", help="minimum frontality, 0 (profile) to 1")
    option("--max-roll", type=float, metavar="DEGREES", help="maximum head roll")


def _add_engines(option: Any) -> None:
    option("--usearch", action="store_true", help="search with USearch (extra [index])")
    option(
        "--milvus",
        metavar="ADDRESS",
        help="search with Milvus (extra [milvus]), in a .db file or at http://HOST:PORT",
    )

"""Arguments that name outputs, and the check that every command runs before it starts."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError
from .outputs import check_folder, check_outputs, is_stdout, output_path

__all__ = ["OutputFile", "OutputFolder", "OutputPlace", "run_checked"]

_WRITTEN = "written_options"
"""Attribute of the parsed options: the action of each option that names an output."""


class OutputPlace(argparse.Action):
    """An argument that names an output: a file, or a folder for files."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Stores the path; ``-`` is stdout."""
        del parser, option_string
        assert values is not None
        setattr(namespace, self.dest, output_path(str(values)))
        setattr(namespace, _WRITTEN, {**getattr(namespace, _WRITTEN, {}), self.dest: self})


class OutputFile(OutputPlace):
    """An argument that names a file to write."""


class OutputFolder(OutputPlace):
    """An argument that names a folder to write files into."""


def run_checked(options: argparse.Namespace, more: Iterable[Path] = ()) -> int:
    """Runs a command after checking its outputs against everything else that it was given.

    While an output goes to stdout, messages go to stderr.

    Args:
        options: The parsed options with ``run``, a function of them that returns the exit code.
        more: Further files that the command will write.

    Raises:
        InputError: If an output is an input, two outputs are the same file, or an output and JSON
            both go to stdout.
        OutputError: If an output cannot be written.
    """
    kinds = getattr(options, _WRITTEN, {})
    given = {dest: getattr(options, dest) for dest in kinds}
    inputs = [
        path
        for dest, value in vars(options).items()
        if dest not in {*kinds, _WRITTEN}
        for path in _files(value)
    ]
    for dest, kind in kinds.items():
        if isinstance(kind, OutputFolder):
            check_folder(given[dest])
    files = [
        given[dest]
        for dest, kind in kinds.items()
        if not isinstance(kind, OutputFolder)
        and (isinstance(kind, OutputFile) or not given[dest].is_dir())
    ]
    check_outputs([*files, *more], inputs)
    through = any(map(is_stdout, files))
    if through and getattr(options, "json", False):
        raise InputError("--json and an output both go to stdout", hint="write one into a file")
    with contextlib.redirect_stdout(sys.stderr) if through else contextlib.nullcontext():
        code: int = options.run(options)
    return code


def _files(value: object) -> Iterator[Path]:
    """The files among the values of an option: paths, and texts that name an existing file."""
    if isinstance(value, Path):
        yield value
    elif isinstance(value, str):
        with contextlib.suppress(OSError, ValueError):
            if value and Path(value).exists():
                yield Path(value)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _files(item)

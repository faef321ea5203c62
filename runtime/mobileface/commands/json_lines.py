"""JSON lines in a file, each there as soon as it is made."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from ..errors import OutputError
from ..host.ending import held
from ..host.files import reason, replacing
from ..host.outputs import open_through, write_all, written_through

__all__ = ["JsonLines"]


class JsonLines:
    """Writes JSON documents, one a line, into a file that holds whole lines at any moment.

    A file of that name is replaced, whole, when the first line is written; from then on every line
    can be read as soon as `write` returns, also if the process is killed. A pipe or device is
    written as it is.

    Args:
        path: The file.
        header: The first document; it is written with the second one.

    Raises:
        OutputError: If the file cannot be written; later, if the disk is full: a line of which only
            a part fits is taken back.
    """

    def __init__(self, path: Path, header: Any) -> None:
        self._path, self._header = path, header
        self._stream: BinaryIO | None = None
        self._size = 0
        self._begun = False
        self._regular = not written_through(path)

    def write(self, document: Any) -> None:
        """Adds one document."""
        line = _line(document)
        if not self._begun:
            line = _line(self._header) + line
            self.open()
        with held():  # a line is there or not
            if self._regular and not self._begun:
                self._begin(line)
            else:
                self._add(line)
            self._begun = True

    def close(self) -> None:
        """Closes the file."""
        if self._stream is not None:
            with held():
                self._stream.close()

    def __enter__(self) -> JsonLines:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def open(self) -> None:
        """Opens a pipe or device, once; a pipe waits here for its reader: do not hold signals.

        Raises:
            OutputError: If it cannot be opened.
        """
        if self._regular or self._stream is not None:
            return
        try:
            self._stream = open_through(self._path)
        except OSError as error:
            raise self._failed(error) from error

    def _begin(self, line: bytes) -> None:
        """Puts the first line into the file, in place of what was there."""
        try:
            with replacing(self._path) as temporary:
                temporary.write_bytes(line)
            self._size = len(line)
            self._stream = self._path.open("ab", buffering=0)
        except OSError as error:
            raise self._failed(error) from error

    def _add(self, line: bytes) -> None:
        assert self._stream is not None
        try:
            write_all(self._stream, line)
        except BrokenPipeError:
            raise
        except OSError as error:
            if self._regular:
                os.truncate(self._stream.fileno(), self._size)
            raise self._failed(error) from error
        self._size += len(line)

    def _failed(self, error: OSError) -> OutputError:
        return OutputError(f"cannot be written ({reason(error)})", where=str(self._path))


def _line(document: Any) -> bytes:
    return json.dumps(document, allow_nan=False).encode() + b"\n"

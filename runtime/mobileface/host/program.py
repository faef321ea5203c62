"""How the three programs begin and end: standard streams, errors, signals, exit codes.

Standard library only, and none of the packages of the programs: signals are handled before those
are imported.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any, TextIO

from ..errors import MobileFaceError, OutputError, shown_lines
from .ending import exit_code, orderly, received, sentence

__all__ = ["run_program"]

_FAILED = 2
_READER_LEFT = 1

_KEPT: list[BaseException] = []
"""What a signal raised in a program that ends: as long as it is referenced, so are the frames that
it went through, and what a library was in the middle of is not destroyed."""


def run_program(name: str, run: Callable[[], int], *, final: bool = False) -> int:
    """Runs a program, and turns how it ends into one sentence on stderr and an exit code.

    Calls may be nested; the outermost one sets up streams and signals.

    Args:
        name: Its name, for messages.
        run: The program; returns its exit code.
        final: The process ends after it. After a signal it then ends at once: files are completed,
            but networks are not destroyed, and the interpreter does not end, since a library that
            the signal left half loaded or in the middle of something may crash there.

    Returns:
        The exit code of ``run``; 2 after an error, also if stdout is closed or cannot be written;
        1 if the reader of a pipe has left; 128 and the signal's number after SIGINT (130), SIGTERM
        (143) and SIGHUP (129).
    """
    code, ended = _run(name, run, final)
    if final and ended:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                with contextlib.suppress(OSError, ValueError):
                    stream.flush()
        os._exit(code)
    return code


def _run(name: str, run: Callable[[], int], final: bool) -> tuple[int, bool]:
    """See `run_program`; returns the exit code and whether a signal ended the program."""
    os.environ.setdefault("OPENCV_LOG_LEVEL", "FATAL")  # what it would log, our errors say
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # the same for videos
    with orderly(final=final), _streams() as complete, _warnings(name):
        try:
            if not complete:
                raise OutputError(
                    "is closed", where="stdout", hint="use >/dev/null to print nothing"
                )
            try:
                return run(), False
            finally:
                sys.stdout.flush()
        except BrokenPipeError:  # the reader of the output has seen enough
            _drop_output()
            return _READER_LEFT, False
        except (Exception, KeyboardInterrupt) as error:
            # Native code may turn what a signal raises into an error of its own.
            ended = error if isinstance(error, KeyboardInterrupt) else received()
            if ended is None and not isinstance(error, MobileFaceError):
                raise
            if final and ended is not None:
                _KEPT.append(error)
            text = f"error: {error}" if ended is None else sentence(ended)
            print(f"{name}: {text}", file=sys.stderr)
            _drop_output()
            return (_FAILED, False) if ended is None else (exit_code(ended), True)


class _Output(io.FileIO):
    """The file of stdout: a failure to write is an error of the project, or a reader that left."""

    def write(self, data: Any, /) -> int | None:  # type: ignore[override]
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            text = error.strerror or str(error)
            raise OutputError(f"cannot be written ({text})", where="stdout") from error


class _Messages(io.FileIO):
    """The file of stderr: there is nobody to tell that a message cannot be written."""

    def write(self, data: Any, /) -> int | None:  # type: ignore[override]
        try:
            return super().write(data)
        except OSError:
            return len(data)


@contextlib.contextmanager
def _warnings(name: str) -> Iterator[None]:
    """Prints our own warnings as one sentence, without the line of code."""
    with warnings.catch_warnings():
        others = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
            if category is UserWarning:
                print(f"{name}: warning: {message}", file=sys.stderr)
            else:
                others(message, category, *place, **more)

        warnings.showwarning = show
        yield


@contextlib.contextmanager
def _streams() -> Iterator[bool]:
    """Standard streams that fail as the programs need it; yields False if stdout is closed.

    What is printed has its control characters escaped. Streams that somebody else put in place, as
    tests do, are left alone.
    """
    closed = sys.stdout is None
    _fill_descriptors()
    out: TextIO | None = sys.stdout
    messages: TextIO | None = sys.stderr
    if out is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
    elif isinstance(out, io.TextIOWrapper) and out is sys.__stdout__:
        sys.stdout = _like(out, _Output(1, "w", closefd=False))
    if messages is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
    elif isinstance(messages, io.TextIOWrapper) and messages is sys.__stderr__:
        sys.stderr = _like(messages, _Messages(2, "w", closefd=False))
    try:
        yield not closed
    finally:
        for mine in (sys.stdout, sys.stderr):
            if mine is not out and mine is not messages:
                with contextlib.suppress(OSError, MobileFaceError):
                    mine.close()
        sys.stdout, sys.stderr = out, messages


class _Text(io.TextIOWrapper):
    """Text for people: no control character of a file name reaches the terminal as it is."""

    def write(self, text: str, /) -> int:
        super().write(shown_lines(text))
        return len(text)


def _like(stream: TextIO | io.TextIOWrapper, raw: io.FileIO) -> TextIO:
    """A text stream on another file, with the settings of a given one."""
    stream.flush()
    through = bool(getattr(stream, "write_through", False))
    return _Text(
        raw if through else io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=bool(getattr(stream, "line_buffering", False)),
        write_through=through,
    )


def _fill_descriptors() -> None:
    """Opens descriptors 0 to 2 if they are closed: else a database might become stdout."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError as error:
            if error.errno != errno.EBADF:
                raise
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)


def _drop_output() -> None:
    """Writes what is still buffered for stdout, or to nowhere if that fails."""
    try:
        sys.stdout.flush()
    except (OSError, MobileFaceError):
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)

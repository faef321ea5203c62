"""The orderly end: SIGTERM and SIGHUP end a command as Ctrl-C does. Standard library only.

The first signal raises `Ended`, a `KeyboardInterrupt`, in the main thread: loops stop, files are
completed, temporary ones are removed. Where that must not happen halfway, as while a file gets its
name, the code is `held` together and the signal takes effect after it. A second signal ends the
process at once.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

__all__ = [
    "Ended",
    "add_leftover",
    "drop_leftover",
    "exit_code",
    "held",
    "orderly",
    "received",
    "remove_leftovers",
    "sentence",
]

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
_SAME_REQUEST = 0.5
"""Seconds within which further signals count as the first one: ``timeout`` sends its signal to the
process and to its group, and a closed terminal sends SIGHUP twice."""

_AGAIN = 0.02
"""Seconds until a signal is raised again that was lost in a destructor."""


class Ended(KeyboardInterrupt):
    """A signal asks the process to end.

    Args:
        number: The signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class _State:
    """What is known of signals.

    Attributes:
        installed: The handlers are in place.
        number: The first signal; None before it.
        when: Its time.
        holds: Depth of `held`.
        waiting: A signal waits for the end of `held`.
        leftovers: Temporary files and folders that exist now.
    """

    def __init__(self) -> None:
        self.installed = False
        self.number: int | None = None
        self.when = 0.0
        self.holds = 0
        self.waiting = False
        self.leftovers: set[Path] = set()


_STATE = _State()


class held:  # noqa: N801  # used as a function
    """A context in which signals wait: what is in it happens whole or not at all.

    In other threads it does nothing, as signals reach the main thread only.
    """

    def __enter__(self) -> None:
        self._counts = threading.current_thread() is threading.main_thread()
        if self._counts:
            _STATE.holds += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._counts:
            return
        _STATE.holds -= 1
        if not _STATE.holds and _STATE.waiting:
            _STATE.waiting = False
            assert _STATE.number is not None
            raise Ended(_STATE.number)


@contextlib.contextmanager
def orderly(*, final: bool = False) -> Iterator[None]:
    """Handles signals as this module says, for the time of the context.

    Signals that are ignored stay so: ``nohup`` ignores SIGHUP, and a shell SIGINT in the
    background. In other threads than the main one nothing changes.

    Args:
        final: The process ends after the context; after a signal the handlers stay in place.
    """
    if _STATE.installed or threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[int, Any] = {}
    hook = sys.unraisablehook
    _STATE.number, _STATE.waiting = None, False
    _STATE.installed = True
    try:
        for kind in _signals():
            if signal.getsignal(kind) in (signal.SIG_DFL, signal.default_int_handler):
                before[kind] = signal.signal(kind, _handle)
        sys.unraisablehook = _raise_lost_again
        yield
    finally:
        _STATE.installed = False
        remove_leftovers()
        if not final or _STATE.number is None:
            for number, handler in before.items():
                signal.signal(number, handler)
            sys.unraisablehook = hook


def received() -> Ended | None:
    """The signal that asked this command to end, if one did."""
    if not _STATE.installed or _STATE.number is None:
        return None
    return Ended(_STATE.number)


def exit_code(error: KeyboardInterrupt) -> int:
    """The exit code after a signal: 128 and its number."""
    return 128 + (error.number if isinstance(error, Ended) else signal.SIGINT)


def sentence(error: KeyboardInterrupt, rest: str = "") -> str:
    """What ended the process, for people: "interrupted" or "ended by SIGTERM"."""
    number = error.number if isinstance(error, Ended) else signal.SIGINT
    what = "interrupted" if number == signal.SIGINT else f"ended by {signal.Signals(number).name}"
    return f"{what}; {rest}" if rest else what


def add_leftover(path: Path) -> None:
    """Notes a temporary file or folder, which is removed at the latest when the command ends."""
    _STATE.leftovers.add(path)


def drop_leftover(path: Path) -> None:
    """A temporary file or folder is gone, or has its final name."""
    _STATE.leftovers.discard(path)


def remove_leftovers() -> None:
    """Removes the temporary files and folders that exist now."""
    while _STATE.leftovers:
        path = _STATE.leftovers.pop()
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                path.unlink()


def _signals() -> list[signal.Signals]:
    """The signals that end a process here; Windows has no SIGHUP."""
    return [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]


def _handle(number: int, _: FrameType | None) -> None:
    now = time.monotonic()
    if _STATE.number is not None:
        if now - _STATE.when > _SAME_REQUEST:
            remove_leftovers()
            os._exit(128 + number)
        return
    _STATE.number, _STATE.when = number, now
    if _STATE.holds:
        _STATE.waiting = True
        return
    raise Ended(number)


def _raise_lost_again(lost: sys.UnraisableHookArgs) -> None:
    """Python drops what is raised in a destructor; a signal must not be lost there."""
    if not isinstance(lost.exc_value, Ended) or not _STATE.installed:
        sys.__unraisablehook__(lost)
        return
    number = lost.exc_value.number

    def again() -> None:
        _STATE.number = None
        os.kill(os.getpid(), number)

    timer = threading.Timer(_AGAIN, again)
    timer.daemon = True
    timer.start()

"""What must not outlive a fork: networks and connections to databases. Standard library only.

A child process made by ``fork`` inherits objects, but none of the threads and file locks behind
them. ONNX Runtime's thread pools then wait for ever, at the latest when they are destroyed at the
child's exit; SQLite believes that it holds locks which only the parent has. So such an object notes
the process that it was made in (`process_mark`), is made again in another one, and the inherited
one is never destroyed there (`keep_for_ever`).
"""

from __future__ import annotations

import os
import threading
import weakref
from contextlib import AbstractContextManager

__all__ = ["destroyed_by_parent_only", "keep_for_ever", "one_at_a_time", "process_mark"]


class _State:
    """The state of this process.

    Attributes:
        forks: Number of forks between the first process and this one.
        lock: Held while something is made again.
    """

    def __init__(self) -> None:
        self.forks = 0
        self.lock = threading.RLock()


_STATE = _State()
_PARENT_ONLY: weakref.WeakSet[object] = weakref.WeakSet()


def process_mark() -> tuple[int, int]:
    """Identifies this process: its ID and the number of forks since the first process."""
    return os.getpid(), _STATE.forks


def one_at_a_time() -> AbstractContextManager[bool]:
    """The lock for making objects again; no other thread can hold it right after a fork."""
    return _STATE.lock


def destroyed_by_parent_only(thing: object) -> None:
    """Registers an object that a child process must never destroy; it stays weakly referenced."""
    _PARENT_ONLY.add(thing)


def keep_for_ever(thing: object) -> None:
    """Prevents the destruction of an object, also at the exit of the process."""
    import ctypes  # numpy imports it anyway

    # A reference in a module would be dropped at exit, when modules are cleared.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def _in_child() -> None:
    """Runs in the child right after a fork, in its only thread."""
    _STATE.forks += 1
    _STATE.lock = threading.RLock()  # another thread of the parent may have held it
    for thing in list(_PARENT_ONLY):
        keep_for_ever(thing)
    _PARENT_ONLY.clear()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_in_child)

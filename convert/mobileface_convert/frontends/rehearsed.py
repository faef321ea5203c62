"""Runs a library on a file that may be hostile in a child process first.

HDF5 loops for ever on some damaged files, within one call that no signal of Python interrupts. The
child does the same as the caller will; if it does not end in its time or crashes, the caller does
not begin. Where processes cannot fork (Windows) nothing is rehearsed.
"""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Callable

from mobileface.errors import SourceFormatError

__all__ = ["rehearse"]


def rehearse(read: Callable[[], object], where: str, seconds: int) -> None:
    """Runs a function in a child process; what it returns or raises is dropped.

    Args:
        read: The function; it must not write.
        where: The file, for error messages.
        seconds: CPU time that it may take.

    Raises:
        SourceFormatError: It took longer, or its process crashed.
    """
    if sys.platform == "win32":
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads, which the child has not
        child = os.fork()
    if not child:
        _run_and_exit(read, seconds)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        import signal

        slow = os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL)
        text = f"reading takes more than {seconds} s" if slow else "reading it crashes"
        raise SourceFormatError(f"{text}: the file is damaged", where=where)


def _run_and_exit(read: Callable[[], object], seconds: int) -> None:
    """What the child does; it never returns."""
    import faulthandler
    import resource
    import signal

    faulthandler.disable()  # one sentence of the caller says it
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        with contextlib.suppress(BaseException):
            read()
    finally:
        os._exit(0)

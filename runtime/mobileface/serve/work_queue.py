"""A bounded queue for work on threads, awaited by the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from ..errors import BusyError

__all__ = ["Turn", "WorkQueue"]

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Turn:
    """Work that is done once at a time; who comes meanwhile is refused, and does not wait.

    Args:
        what: What is being done, for the error.
    """

    def __init__(self, what: str) -> None:
        self._what, self._lock = what, threading.Lock()

    def __enter__(self) -> None:
        """Begins the work.

        Raises:
            BusyError: If it is being done already.
        """
        if not self._lock.acquire(blocking=False):
            raise BusyError(f"{self._what} is under way", hint="try again in a few seconds")

    def __exit__(self, *_: object) -> None:
        """Ends it."""
        self._lock.release()


class WorkQueue:
    """Runs functions on a fixed number of threads; more than fit in its queue are refused.

    Args:
        workers: Number of threads.
        waiting: Most functions that wait for a thread.

    Attributes:
        workers: Number of threads.
        refused: How many functions were refused so far.
    """

    def __init__(self, workers: int, waiting: int) -> None:
        self.workers, self._most = workers, workers + waiting
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="mobileface-work")
        self._inside = 0
        self.refused = 0

    @property
    def depth(self) -> int:
        """Functions that run or wait."""
        return self._inside

    async def run(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Runs a function on one of the threads, and returns what it returns.

        Call it on one event loop only. A caller that is cancelled stops waiting; what runs already
        goes on, and what still waits is taken out of the queue.

        Raises:
            BusyError: If the queue is full.
        """
        if self._inside >= self._most:
            self.refused += 1
            raise BusyError(
                f"{self._inside} requests are being worked on or wait", hint="try again in a second"
            )
        self._inside += 1
        future = self._threads.submit(function, *args, **kwargs)
        loop = asyncio.get_running_loop()
        future.add_done_callback(lambda _: self._leave(loop))
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Ends the threads when what runs is done; what waits is dropped."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _leave(self, loop: asyncio.AbstractEventLoop) -> None:
        if loop.is_closed():
            return
        loop.call_soon_threadsafe(self._left)

    def _left(self) -> None:
        self._inside -= 1

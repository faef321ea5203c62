"""A bounded queue for work on threads, awaited by the event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar

from ..errors import BusyError, MobileFaceError

__all__ = ["CallerLeftError", "WorkQueue", "set_leaving"]

_P = ParamSpec("_P")
_T = TypeVar("_T")

_CLOSE_SECONDS = 1.0
"""Time that what runs gets to end when the queue is closed."""

_leaving: ContextVar[Callable[[], Awaitable[None]] | None] = ContextVar("leaving", default=None)


class CallerLeftError(MobileFaceError):
    """Who asked for the work has gone before it began."""


def set_leaving(left: Callable[[], Awaitable[None]]) -> None:
    """Says how the current task learns that nobody waits for its result any more.

    Args:
        left: Returns when the caller has gone. It may be cancelled and called again.
    """
    _leaving.set(left)


class WorkQueue:
    """Runs functions on a fixed number of threads; more than fit in its queue are refused.

    Args:
        workers: Number of threads.
        waiting: Most functions that wait for a thread.

    Attributes:
        workers: Number of threads.
        refused: How many functions were refused so far.
        dropped: How many were taken out of the queue because the caller had gone.
    """

    def __init__(self, workers: int, waiting: int) -> None:
        self.workers, self._most = workers, workers + waiting
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="mobileface-work")
        self._inside: set[Future[Any]] = set()
        self.refused, self.dropped = 0, 0

    @property
    def depth(self) -> int:
        """Functions that run or wait."""
        return len(self._inside)

    @property
    def full(self) -> bool:
        """True if a further function would be refused."""
        return len(self._inside) >= self._most

    async def run(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Runs a function on one of the threads, and returns what it returns.

        Call it on one event loop only. A caller that is cancelled stops waiting; what runs already
        goes on, and what still waits is taken out of the queue.

        Raises:
            BusyError: If the queue is full or closed.
            CallerLeftError: If the caller goes before the function begins; see `set_leaving`.
        """
        if self.full:
            self.refused += 1
            raise BusyError(
                f"{self.depth} requests are being worked on or wait", hint="try again in a second"
            )
        waits = self.depth >= self.workers
        try:
            future = self._threads.submit(function, *args, **kwargs)
        except RuntimeError as error:
            raise BusyError("the service is ending") from error
        self._inside.add(future)
        loop = asyncio.get_running_loop()
        future.add_done_callback(lambda ended: self._leave(loop, ended))
        left = _leaving.get()
        if not waits or left is None:
            return await asyncio.wrap_future(future)
        watcher = loop.create_task(_drop(future, left))
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            if watcher.done() and not watcher.cancelled():
                self.dropped += 1
                raise CallerLeftError("the caller has gone") from None
            raise
        finally:
            watcher.cancel()

    def close(self) -> None:
        """Drops what waits, and gives what runs a second to end."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        wait(list(self._inside), timeout=_CLOSE_SECONDS)

    def _leave(self, loop: asyncio.AbstractEventLoop, future: Future[Any]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop may be closed
            loop.call_soon_threadsafe(self._inside.discard, future)


async def _drop(future: Future[Any], left: Callable[[], Awaitable[None]]) -> None:
    """Takes work out of the queue when its caller has gone; what runs already goes on."""
    await left()
    future.cancel()

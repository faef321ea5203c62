"""Long work that several requests may ask for at once, and that is done once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, Generic, TypeVar

__all__ = ["SharedWork"]

_T = TypeVar("_T")


class SharedWork(Generic[_T]):
    """Work that is done once at a time; who comes meanwhile gets the same result.

    It goes on when who asked first leaves. Use it on one event loop.
    """

    def __init__(self) -> None:
        self._task: asyncio.Task[_T] | None = None

    async def __call__(self, begin: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        """Waits for the work that is under way, or begins it.

        Args:
            begin: Begins the work.

        Returns:
            Its result. What it raises is raised for all who wait.
        """
        if self._task is None or self._task.done():
            # In a context of its own: the first request's says when its client has left.
            loop = asyncio.get_running_loop()
            self._task = Context().run(loop.create_task, begin())
        return await asyncio.shield(self._task)

"""Answers that go on until the client or the service ends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

__all__ = ["LongAnswer"]


class LongAnswer(StreamingResponse):
    """A stream that gives back what it holds at the end, also if it never began.

    Args:
        content: The parts.
        media_type: Their type.
        ended: Called at the end.
    """

    def __init__(
        self, content: AsyncIterator[bytes], media_type: str, ended: Callable[[], None]
    ) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(content, media_type=media_type, headers=headers)
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the parts."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._ended()

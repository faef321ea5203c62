from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from mobileface.live.capture import Capture
from mobileface.live.live_options import CameraOptions


@pytest.fixture
def started() -> Iterator[Any]:
    """Starts captures of sources, and closes them at the end."""
    opened: list[Capture] = []

    def start(source: str, clock: Any = None, **options: Any) -> Capture:
        playback = options.pop("playback", None)
        given = {} if clock is None else {"clock": clock}
        capture = Capture(CameraOptions("c", source, **options), playback=playback, **given)
        opened.append(capture)
        capture.start()
        return capture

    yield start
    for capture in opened:
        capture.close()

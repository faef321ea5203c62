"""The service as a process of its own."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

PROGRAM = [sys.executable, "-m", "mobileface", "serve"]


class Process:
    """A service that answers; `port` is where, `before` what it said on stderr until then."""

    def __init__(self, popen: subprocess.Popen[str], port: int, before: str) -> None:
        self.popen, self.port, self.before = popen, port, before


@contextlib.contextmanager
def started(*options: str, command: list[str] | None = None, **given: Any) -> Iterator[Process]:
    """Starts ``mobileface serve`` on a free port; kills it at the end if it still runs."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    environment.pop("MOBILEFACE_GALLERY", None)
    process = subprocess.Popen(
        command or [*PROGRAM, "--port", "0", *options],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
        **given,
    )
    try:
        assert process.stderr is not None
        before, found = "", None
        while found is None and (line := process.stderr.readline()):
            found = re.fullmatch(r"mobileface: serving on http://\S+:(\d+)\n", line)
            before += line
        assert found, before
        yield Process(process, int(found[1]), before)
    finally:
        process.kill()
        process.communicate()

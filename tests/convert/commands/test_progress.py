"""What the console shows of a download."""

from __future__ import annotations

import io

from mobileface_convert.sources.download import ConsoleProgress


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_console_rewrites_one_line_on_a_terminal() -> None:
    seconds = iter([0.0, 1.0, 1.05, 2.0])
    stream = _Terminal()
    console = ConsoleProgress(stream, clock=lambda: next(seconds))
    for done in (1_000_000, 2_000_000, 2_500_000, 4_000_000):  # the third comes too soon
        console("folder/a.bin", done, 4_000_000)
    assert stream.getvalue() == (
        "a.bin   25 %  1.0 MB  0.0 MB/s\r"
        "a.bin   50 %  2.0 MB  1.0 MB/s\r"
        "a.bin  100 %  4.0 MB  1.5 MB/s\n"
    )


def test_console_prints_one_line_elsewhere() -> None:
    seconds = iter([0.0, 1.0, 2.0])
    stream = io.StringIO()
    console = ConsoleProgress(stream, clock=lambda: next(seconds))
    console("a.bin", 1_000_000, None)
    console("a.bin", 2_000_000, None)
    console("a.bin", 3_000_000, 3_000_000)
    assert stream.getvalue() == "a.bin  100 %  3.0 MB  1.0 MB/s\n"


def test_console_measures_a_restarted_file_from_its_restart() -> None:
    seconds = iter([0.0, 1.0, 2.0, 4.0])
    stream = io.StringIO()
    console = ConsoleProgress(stream, clock=lambda: next(seconds))
    console("a.bin", 5_000_000, 8_000_000)
    console("a.bin", 6_000_000, 8_000_000)
    console("a.bin", 0, 8_000_000)
    console("a.bin", 8_000_000, 8_000_000)
    assert stream.getvalue() == "a.bin  100 %  8.0 MB  4.0 MB/s\n"

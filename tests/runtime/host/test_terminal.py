"""What a file name or a key holds reaches the terminal escaped, in every program."""

from __future__ import annotations

import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from mobileface.errors import shown, shown_lines

EVIL = "a\x1b[2J\x1b]0;title\x07\r\nmobileface: done\u202egpj.b"
SHOWN = r"a\x1b[2J\x1b]0;title\x07\r\nmobileface: done\u202egpj.b"


def test_escapes() -> None:
    assert shown(EVIL) == SHOWN
    assert shown("Zoë, 金, 😀 – a\u00a0b") == "Zoë, 金, 😀 – a\u00a0b"
    assert shown(os.fsdecode(b"caf\xe9.jpg")) == r"caf\udce9.jpg"
    assert shown(Path("x\ny")) == r"x\ny"
    assert shown_lines("one\ttwo\r\nthree\x1b[m") == "one\ttwo\r\nthree\\x1b[m"


def test_no_control_character_is_left() -> None:
    """Unicode's own category Cc is the oracle, over all characters of the basic plane."""
    every = "".join(chr(code) for code in range(0x10000) if not 0xD800 <= code < 0xE000)
    left = {unicodedata.category(character) for character in shown(every)}
    assert "Cc" not in left
    turning = {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"}
    assert not turning & {unicodedata.bidirectional(character) for character in shown(every)}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such file names")
def test_the_program(tmp_path: Path) -> None:
    check("mobileface", "detect", tmp_path)


def check(program: str, command: str, tmp_path: Path) -> None:
    """Errors about files with such a name; the converter's own are with the converter's tests."""
    (tmp_path / EVIL).write_bytes(b"nothing")
    for argument in (EVIL, f"missing{EVIL}"):
        ended = subprocess.run(
            [sys.executable, "-m", program, command, argument],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
        )
        print(ended.stdout, ended.stderr)
        assert ended.returncode == 2
        assert "\x1b" not in ended.stdout + ended.stderr
        assert "\u202e" not in ended.stdout + ended.stderr
        assert "\x07" not in ended.stdout + ended.stderr
        assert not any(line.startswith("mobileface: done") for line in ended.stderr.splitlines())
        assert SHOWN in ended.stderr

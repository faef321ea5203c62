"""The pose model's file is a pickle: read exactly, and never trusted."""

from __future__ import annotations

import math
import os
import pickle
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobileface.errors import SourceFormatError
from mobileface_convert.frontends.pose_pickle import read_pose_coefficients

ROWS, COLUMNS = 3, 11
MUTANTS = 2000
MOST_MEMORY = 500_000
"""Bytes; the largest file that is read at all has 65,536."""
FILE = "MobileFace_Pose/mobileface_pose_emnme_v1.dat"

Hostile = Callable[[str], bytes]
"""The path of a folder → a pickle that would make that folder if it were trusted."""


def coefficients() -> list[list[float]]:
    """A random model with the shape of the real one."""
    return [list(row) for row in np.random.RandomState(5).randn(ROWS, COLUMNS).tolist()]


def dumps(value: Any, protocol: int = 3) -> bytes:
    return pickle.dumps(value, protocol)


@pytest.mark.needs_source
def test_the_real_file(source: Path) -> None:
    data = (source / FILE).read_bytes()
    rows = read_pose_coefficients(data)
    assert [list(row) for row in rows] == pickle.loads(data)
    assert [len(row) for row in rows] == [COLUMNS] * ROWS
    assert all(type(item) is float for row in rows for item in row)
    print(f"{len(data)} bytes, {ROWS}×{COLUMNS} numbers, equal to what pickle reads")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_protocol(protocol: int) -> None:
    expected = coefficients()
    expected[0][:5] = [0.0, -0.0, 1e-320, -1.7e308, 0.1]
    rows = read_pose_coefficients(dumps(expected, protocol))
    assert np.asarray(rows).tobytes() == np.asarray(expected).tobytes()


def reduce_pickle(function: Callable[..., Any], protocol: int) -> Hostile:
    """What an attacker writes: an object that says how it is to be made again."""

    def make(target: str) -> bytes:
        argument = f'mkdir "{target}"' if function is os.system else target

        class Attack:
            def __reduce__(self) -> tuple[Any, ...]:
                return function, (argument,)

        return dumps([Attack()], protocol)

    return make


def short_text(target: str) -> bytes:
    return b"X" + len(target.encode()).to_bytes(4, "little") + target.encode()


ARMED: dict[str, Hostile] = {
    **{f"os.system, protocol {p}": reduce_pickle(os.system, p) for p in range(5)},
    **{f"os.mkdir, protocol {p}": reduce_pickle(os.mkdir, p) for p in range(5)},
    "GLOBAL": lambda target: b"cos\nmkdir\n(" + short_text(target) + b"tR.",
    "STACK_GLOBAL": lambda target: (
        b"\x80\x04\x8c\x02os\x8c\x05mkdir\x93" + short_text(target) + b"\x85R."
    ),
    "INST": lambda target: b"(" + short_text(target) + b"ios\nmkdir\n.",
    "OBJ": lambda target: b"(cos\nmkdir\n" + short_text(target) + b"o.",
    "in the last place": lambda target: (
        dumps(coefficients())[:-1] + b"cos\nmkdir\n(" + short_text(target) + b"tR0."
    ),
}
"""Pickles that do harm when they are trusted, which the test proves first."""

VALID = dumps(coefficients())
REFUSED: dict[str, tuple[bytes, str]] = {
    "class": (b"cbuiltins\nlist\n.", "GLOBAL"),
    "new object": (b"\x80\x02]]\x81.", "NEWOBJ"),
    "new object with keywords": (b"\x80\x04]]]\x92.", "NEWOBJ_EX"),
    "call": (b"]]R.", "REDUCE"),
    "state": (b"]]b.", "BUILD"),
    "extension 1": (b"\x80\x02\x82\x01.", "EXT1"),
    "extension 2": (b"\x80\x02\x83\x01\x00.", "EXT2"),
    "extension 4": (b"\x80\x02\x84\x01\x00\x00\x00.", "EXT4"),
    "persistent id": (b"Pa\n.", "PERSID"),
    "persistent id from the stack": (b"]Q.", "BINPERSID"),
    "out-of-band buffer": (b"\x80\x05\x97.", "NEXT_BUFFER"),
    "read-only buffer": (b"\x80\x05]\x98.", "READONLY_BUFFER"),
    "text": (dumps("left_eye", 0), "UNICODE"),
    "binary text": (dumps("left_eye", 1), "BINUNICODE"),
    "short text": (dumps("left_eye", 4), "BINUNICODE"),
    "quoted text": (b"S'a'\n.", "STRING"),
    "bytes": (dumps(b"left_eye", 3), "SHORT_BINBYTES"),
    "byte array": (dumps(bytearray(8), 5), "BYTEARRAY8"),
    "whole number": (dumps(7, 0), "INT"),
    "binary whole number": (dumps(7, 3), "BININT1"),
    "large whole number": (dumps(1 << 70, 3), "LONG1"),
    "truth": (dumps(True, 3), "NEWTRUE"),
    "nothing": (dumps(None, 3), "NONE"),
    "tuple": (dumps(tuple(map(tuple, coefficients())), 0), "TUPLE"),
    "tuple of lists": (dumps(tuple(coefficients()), 3), "TUPLE3"),
    "dictionary": (dumps({}, 3), "EMPTY_DICT"),
    "old dictionary": (dumps({}, 0), "DICT"),
    "set": (dumps(set(), 4), "EMPTY_SET"),
    "same row thrice": (dumps([coefficients()[0]] * ROWS, 3), "BINGET"),
    "list in itself": (b"]q\x00h\x00a.", "BINGET"),
    "copied item": (b"]]2a.", "DUP"),
    "dropped item": (b"]]0.", "POP"),
    "huge text": (b"X" + b"\xff\xff\xff\x7f" + b"a.", "not a pickle"),
    "huge text of 8 bytes": (b"\x8d" + b"\xff" * 7 + b"\x7fa.", "not a pickle"),
    "huge byte array": (b"\x80\x05\x96" + b"\xff" * 7 + b"\x00a.", "not a pickle"),
    "huge memo number": (b"]r\xff\xff\xff\x7f.", "memo number"),
    "largest memo number": (b"]r\xff\xff\xff\xff.", "memo number"),
    "huge memo number as text": (b"]p999999999\n.", "memo number"),
    "negative memo number": (b"]p-1\n.", "memo number"),
    "memo number of 150 digits": (b"]p" + b"9" * 150 + b"\n.", "memo number"),
    "memo number past the file": (b"]q\xff.", "memo number"),
    "huge frame": (b"\x80\x04\x95" + b"\xff" * 7 + b"\x00" + VALID[2:], "pickle"),
    "future protocol": (b"\x80\xff" + VALID[2:], "pickle"),
    "append to nothing": (b"]a.", "pickle"),
    "list without mark": (b"l.", "pickle"),
    "32,000 lists in each other": (b"]" * 32000 + b"a" * 31999 + b".", "not a list of 3"),
    "60,000 marks": (b"(" * 60000 + b".", "pickle"),
    "too many bytes": (b"]" * 65536 + b".", "too many"),
    "bytes after the end": (VALID + b"\n", "1 bytes after the end"),
    "two models": (VALID + VALID, "after the end"),
    "empty": (b"", "not a pickle"),
    "text file": (b"pitch roll yaw\n", "pickle"),
    "zeros": (bytes(320), "not a pickle"),
}


@pytest.mark.parametrize("name", ARMED)
def test_hostile_pickle_does_nothing(name: str, tmp_path: Path) -> None:
    marker = tmp_path / "harm"
    data = ARMED[name](str(marker))
    pickle.loads(data)
    assert marker.is_dir(), "the pickle of this test is harmless, so the test shows nothing"
    marker.rmdir()
    with pytest.raises(SourceFormatError, match="not allowed"):
        read_pose_coefficients(data)
    assert not marker.exists()


@pytest.mark.parametrize("name", REFUSED)
def test_refused_pickle(name: str) -> None:
    data, part = REFUSED[name]
    tracemalloc.start()
    try:
        with pytest.raises(SourceFormatError, match=part) as caught:
            read_pose_coefficients(data, "pose.dat")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    print(f"{len(data)} bytes, {peak} bytes of memory at most: {caught.value}")
    assert caught.value.where.startswith("pose.dat")
    assert len(str(caught.value)) < 250
    if len(data) < 1000:
        assert peak < MOST_MEMORY
    else:
        assert peak < 64 * len(data) + MOST_MEMORY


def changed(row: int, column: int, value: Any) -> list[list[Any]]:
    rows: list[list[Any]] = coefficients()
    rows[row][column] = value
    return rows


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize(
    "value",
    [
        coefficients()[:2],
        [*coefficients(), coefficients()[0]],
        [],
        [1.0] * ROWS,
        [[1.0] * COLUMNS, [1.0] * COLUMNS, [1.0] * (COLUMNS - 1)],
        [[1.0] * (COLUMNS + 1) for _ in range(ROWS)],
        [[[1.0] * COLUMNS for _ in range(ROWS)]],
        [[[1.0]] * COLUMNS for _ in range(ROWS)],
        np.transpose(coefficients()).tolist(),
        1.0,
        changed(2, 10, math.nan),
        changed(0, 0, math.inf),
        changed(1, 4, -math.inf),
        changed(1, 4, 7),
        changed(1, 4, 1 << 80),
        changed(1, 4, True),
        changed(1, 4, "1.0"),
        changed(1, 4, None),
        changed(1, 4, 1j),
        changed(1, 4, [1.0]),
        changed(1, 4, np.float64(1)),
        np.asarray(coefficients()),
    ],
    ids=lambda value: str(value)[:20].replace("\n", " "),
)
def test_other_values_are_refused(value: Any, protocol: int) -> None:
    with pytest.raises(SourceFormatError):
        read_pose_coefficients(dumps(value, protocol))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_cut_off_anywhere(protocol: int) -> None:
    data = dumps(coefficients(), protocol)
    for length in range(len(data)):
        with pytest.raises(SourceFormatError):
            read_pose_coefficients(data[:length])
    print(f"protocol {protocol}: each of {len(data)} shorter files is refused")


def mutate(random: np.random.Generator, data: bytes) -> bytes:
    """Changes, inserts or deletes up to four bytes; or swaps in any instruction."""
    place, length = int(random.integers(len(data))), int(random.integers(1, 5))
    kind = random.integers(4)
    if kind == 0:
        changed = bytearray(data)
        for _ in range(length):
            changed[random.integers(len(data))] = int(random.integers(256))
        return bytes(changed)
    if kind == 1:
        return data[:place] + random.bytes(length) + data[place:]
    if kind == 2:
        return data[:place] + data[place + length :]
    changed = bytearray(data)
    changed[place] ^= 1 << int(random.integers(8))
    return bytes(changed)


def test_mutated_files() -> None:
    """Each is refused with our own error, or holds 33 finite numbers."""
    random = np.random.default_rng(11)
    files = [dumps(coefficients(), protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
    outcomes: Counter[str] = Counter()
    slowest = 0.0
    tracemalloc.start()
    for number in range(MUTANTS):
        data = mutate(random, files[number % len(files)])
        start = time.perf_counter()
        try:
            rows = read_pose_coefficients(data)
        except SourceFormatError as error:
            outcomes[error.what.split("(")[0][:40]] += 1
        else:
            assert np.asarray(rows).shape == (ROWS, COLUMNS)
            assert np.isfinite(rows).all()
            outcomes["read"] += 1
        slowest = max(slowest, time.perf_counter() - start)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    read = outcomes["read"]
    print(f"{MUTANTS} mutants: {read} read, {MUTANTS - read} refused in {len(outcomes) - 1} ways")
    print(f"slowest {slowest * 1000:.1f} ms, memory at most {peak} bytes")
    assert peak < MOST_MEMORY
    assert slowest < 1
    assert 0 < read < MUTANTS

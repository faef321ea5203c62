"""Single-file verification sets: all ways to write them, and malicious or invalid files."""

from __future__ import annotations

import os
import pickle
import struct
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobileface.errors import InputError
from mobileface_eval.datasets.bin_set import read_bin

CONTENTS = [b"\xff\xd8one", b"\xff\xd8two\x00", b"\xff\xd8three\n", b"\x89PNG four" * 30]
FLAGS = [True, False]
MUTANTS = 3000


def written(folder: Path, data: bytes) -> Path:
    path = folder / "lfw.bin"
    path.write_bytes(data)
    return path


def python2(contents: list[bytes], flags: list[bool]) -> bytes:
    """A set as Python 2 wrote it with protocol 2: strings are bytes."""
    listed = b"".join(b"T" + struct.pack("<I", len(item)) + item for item in contents)
    truths = b"".join(b"\x88" if flag else b"\x89" for flag in flags)
    return b"\x80\x02](" + listed + b"e](" + truths + b"e\x86."


def assert_read(path: Path) -> None:
    contents, same = read_bin(path)
    assert contents == CONTENTS
    assert same.dtype == np.bool_
    assert same.tolist() == FLAGS


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "value",
    [
        (CONTENTS, FLAGS),
        [CONTENTS, FLAGS],
        (tuple(CONTENTS), tuple(FLAGS)),
        (CONTENTS, [1, 0]),
        (CONTENTS, [np.bool_(True), np.bool_(False)]),
        (CONTENTS, [np.int64(1), np.int64(0)]),
        (CONTENTS, [np.dtype(">i4").type(1), np.int32(0)]),
        (CONTENTS, np.array(FLAGS)),
        (CONTENTS, np.array([1, 0], ">i8")),
        ([np.frombuffer(item, np.uint8) for item in CONTENTS], FLAGS),
    ],
    ids=["tuple", "list", "tuples", "ints", "bool_", "int64", "int32", "array", "big", "uint8"],
)  # fmt: skip
def test_every_protocol(tmp_path: Path, value: Any, protocol: int) -> None:
    assert_read(written(tmp_path, pickle.dumps(value, protocol)))


def test_python_2(tmp_path: Path) -> None:
    data = python2(CONTENTS, FLAGS)
    assert pickle.loads(data, encoding="bytes") == (CONTENTS, FLAGS)
    assert_read(written(tmp_path, data))


class Harm:
    """Calls a function when it is unpickled."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._call = function, arguments

    def __reduce__(self) -> Any:
        return self._call


ARMED = {
    "mkdir": lambda place: (CONTENTS, [Harm(os.mkdir, place), False]),
    "instead": lambda place: Harm(os.mkdir, place),
    "eval": lambda place: ([Harm(eval, f"__import__('os').mkdir({place!r})")], FLAGS),
    "exec": lambda place: (CONTENTS, [Harm(exec, f"import os; os.mkdir({place!r})"), True]),
}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("name", ARMED)
def test_hostile_pickle_does_nothing(tmp_path: Path, name: str, protocol: int) -> None:
    marker = tmp_path / "harm"
    data = pickle.dumps(ARMED[name](str(marker)), protocol)
    pickle.loads(data)
    assert marker.is_dir(), "the pickle of this test is harmless, so the test proves nothing"
    marker.rmdir()
    path = written(tmp_path, data)
    with pytest.raises(InputError, match="is not allowed; a verification set") as caught:
        read_bin(path)
    assert str(path) in str(caught.value)
    assert not marker.exists()


def encoded_again(times: int) -> bytes:
    """A pickle that encodes the same 10 kB string many times, each time as a new object."""
    long = b"X" + struct.pack("<I", 10_000) + b"a" * 10_000
    start = b"\x80\x02c_codecs\nencode\nq\x00" + long + b"q\x01X\x06\x00\x00\x00latin1q\x02]("
    return start + b"h\x00h\x01h\x02\x86R" * times + b"e."


REJECTED = {
    "empty": (b"", "not a pickle"),
    "text": (b"hello world", "OBJ is not allowed"),
    "jpeg": (b"\xff\xd8\xff\xe0" + bytes(50), "not a pickle"),
    "cut": (pickle.dumps((CONTENTS, FLAGS), 4)[:-20], "not a pickle|damaged"),
    "trailing": (pickle.dumps((CONTENTS, FLAGS), 4) + b"x", "1 bytes after the end"),
    "dict": (pickle.dumps({"a": 1}, 4), "EMPTY_DICT is not allowed"),
    "float": (pickle.dumps((CONTENTS, [1.0, 0.0]), 4), "BINFLOAT is not allowed"),
    "object array": (pickle.dumps((np.array([1, "a"], object), FLAGS), 4), "is not allowed"),
    "float array": (pickle.dumps((CONTENTS, np.ones(2)), 4), "type 'f8' is not allowed"),
    "matrix": (pickle.dumps((CONTENTS, np.ones((1, 2), bool)), 4), "do not fill the shape"),
    "no pair": (pickle.dumps([1], 4), "not a tuple of images and flags"),
    "no flags": (pickle.dumps(([], []), 4), "0 images for 0 pairs"),
    "odd": (pickle.dumps((CONTENTS[:3], FLAGS), 4), "3 images for 2 pairs"),
    "flag 2": (pickle.dumps((CONTENTS, [2, 0]), 4), "flag 0 is neither"),
    "flag None": (pickle.dumps((CONTENTS, [True, None]), 4), "flag 1 is neither"),
    "empty image": (pickle.dumps(([*CONTENTS[:3], b""], FLAGS), 4), "image 3 is not an"),
    "text as image": (pickle.dumps(([*CONTENTS[:3], "jpeg"], FLAGS), 4), "image 3 is not an"),
    "huge memo": (b"\x80\x04]r\xff\xff\xff\x7f.", "memo number"),
    "state of a name": (b"\x80\x02cnumpy\ndtype\nN}b.", "EMPTY_DICT"),
    "state of a name, none": (b"\x80\x02cnumpy\ndtype\nNb.", "the state of a name cannot be set"),
    "repeated bytes": (encoded_again(100_000), "repeats the same bytes"),
}  # fmt: skip


@pytest.mark.parametrize("name", REJECTED)
def test_rejected(tmp_path: Path, name: str) -> None:
    data, message = REJECTED[name]
    path = written(tmp_path, data)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=message) as caught:
            read_bin(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    print(f"{len(data)} bytes, peak memory {peak} bytes: {caught.value}")
    assert str(path) in str(caught.value)
    assert peak < 10 * len(data) + (1 << 20)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.bin", tmp_path, Path("a\0b")):
        with pytest.raises(InputError, match="cannot be read"):
            read_bin(path)


def test_mutated_files(tmp_path: Path) -> None:
    """Each file is either rejected with our own error or read as images and flags."""
    random = np.random.default_rng(3)
    values = [(CONTENTS, FLAGS), (CONTENTS, [np.bool_(True), np.int64(0)]),
              ([np.frombuffer(item, np.uint8) for item in CONTENTS], np.array(FLAGS))]  # fmt: skip
    files = [pickle.dumps(value, protocol) for value in values for protocol in (2, 4, 5)]
    outcomes: Counter[str] = Counter()
    for number in range(MUTANTS):
        data = bytearray(files[number % len(files)])
        for _ in range(random.integers(1, 4)):
            data[random.integers(len(data))] = random.integers(256)
        try:
            contents, same = read_bin(written(tmp_path, bytes(data)))
        except InputError:
            outcomes["rejected"] += 1
        else:
            assert len(contents) == 2 * len(same)
            assert all(isinstance(item, bytes) for item in contents)
            outcomes["read"] += 1
    print(dict(outcomes))
    assert min(outcomes["rejected"], outcomes["read"]) > 100

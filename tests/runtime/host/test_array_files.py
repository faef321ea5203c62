"""Archives of NumPy that are damaged, hostile or of something else: one error each."""

from __future__ import annotations

import io
import os
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mobileface.errors import InputError, MobileFaceError
from mobileface.host.array_files import load_array, load_arrays
from mobileface.matching.embeddings import EmbeddingSet


def header(text: str) -> bytes:
    """An .npy file that begins with a header, and has nothing after it."""
    line = text.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(line)) + line


def zipped(content: bytes, method: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        archive.writestr("embeddings.npy", content)
    return stream.getvalue()


def array() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.eye(64, dtype=np.float32))
    return stream.getvalue()


def damaged(method: int) -> bytes:
    """The middle of the compressed data is overwritten."""
    data = bytearray(zipped(array() * 4, method))
    data[60:100] = b"\xff" * 40
    return bytes(data)


def encrypted() -> bytes:
    data = bytearray(zipped(array()))
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


def unknown_method() -> bytes:
    data = bytearray(zipped(array()))
    data[8:10] = struct.pack("<H", 97)
    at = data.index(b"PK\x01\x02") + 10
    data[at : at + 2] = struct.pack("<H", 97)
    return bytes(data)


def objects() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, embeddings=np.array([{"a": 1}], object))
    return stream.getvalue()


DTYPE = "{'descr': '<f4', 'fortran_order': False, 'shape': "
BAD: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "a text": lambda: b"PK but no archive",
    "an .npy file": array,
    "cut off": lambda: zipped(array())[:200],
    "deflate": lambda: damaged(zipfile.ZIP_DEFLATED),
    "bzip2": lambda: damaged(zipfile.ZIP_BZIP2),
    "lzma": lambda: damaged(zipfile.ZIP_LZMA),
    "encrypted": encrypted,
    "unknown compression": unknown_method,
    "pickled objects": objects,
    "header is no literal": lambda: zipped(header("{'descr': (")),
    "header is a call": lambda: zipped(header("__import__('os').abort()")),
    "header is nested": lambda: zipped(header("[" * 110)),
    "no array": lambda: zipped(b"\x93NUMPX" + array()[6:]),
    "shape overflows": lambda: zipped(header(f"{DTYPE}({10**30},)}}")),
    "shape of terabytes": lambda: zipped(header(f"{DTYPE}({1 << 45},)}}")),
    "shape is negative": lambda: zipped(header(f"{DTYPE}(-5,)}}")),
    "bomb": lambda: zipped(bytes(400 << 20), zipfile.ZIP_DEFLATED),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BAD)
def test_one_error(name: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.npz"
    path.write_bytes(BAD[name]())
    with pytest.raises(InputError, match="not an embeddings file") as caught:
        EmbeddingSet.load(path)
    print(caught.value)
    assert caught.value.where == str(path)
    assert "\n" not in str(caught.value)


def test_good_ones(tmp_path: Path) -> None:
    for name, save in (("a.npz", np.savez), ("b.npz", np.savez_compressed)):
        save(tmp_path / name, embeddings=np.eye(3), files=np.array(["x", "y", "z"]))
        found = load_arrays(tmp_path / name, "a file")
        assert sorted(found) == ["embeddings", "files"]
        assert (found["embeddings"] == np.eye(3)).all()
    np.save(tmp_path / "c.npy", np.eye(3, dtype=np.float32))
    assert (load_array(tmp_path / "c.npy", "a matrix") == np.eye(3)).all()


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY\x01\x00", header(f"{DTYPE}(1000,)}}")])
def test_matrix(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.npy").write_bytes(content)
    with pytest.raises(InputError, match="not a matrix"):
        load_array(tmp_path / "m.npy", "a matrix")
    np.savez(tmp_path / "z.npz", a=np.eye(2))
    with pytest.raises(InputError, match="not a matrix"):
        load_array(tmp_path / "z.npz", "a matrix")


def test_endless_and_waiting(tmp_path: Path) -> None:
    (tmp_path / "zero.npz").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe.npz")
    for name in ("zero.npz", "pipe.npz"):
        with pytest.raises(InputError, match="pipe or device"):
            load_arrays(tmp_path / name, "a file")


@pytest.mark.parametrize("factor", [3e38, 2828.0, 1.02, 0.0, 1e-30, np.nan, np.inf])
def test_lengths(factor: float, tmp_path: Path) -> None:
    """Vectors of length 3e38 had similarity 1.0000 with everybody."""
    vectors = np.eye(4, 8, dtype=np.float32)
    vectors[2] *= np.float32(factor if np.isfinite(factor) else 1)
    vectors[2][0] = factor if not np.isfinite(factor) else vectors[2][0]
    path = tmp_path / "v.npz"
    np.savez(path, embeddings=vectors, files=np.array(list("abcd")), model=np.array("m@0"))
    with pytest.raises(InputError, match=r"row 2 has length|not finite"):
        EmbeddingSet.load(path)


def test_flipped_bytes(tmp_path: Path) -> None:
    """Two thousand damaged files: each is refused by our error, or gives unit vectors."""
    stream = io.BytesIO()
    vectors = np.random.default_rng(1).standard_normal((6, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    files, model = np.array([f"{n}.jpg" for n in range(6)]), np.array("m@0")
    np.savez_compressed(stream, embeddings=vectors, files=files, model=model)
    good, chance = stream.getvalue(), random.Random(20261126)
    refused = 0
    path = tmp_path / "f.npz"
    for _ in range(2000):
        data = bytearray(good)
        for _ in range(chance.randint(1, 3)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        path.write_bytes(data)
        try:
            lengths = np.linalg.norm(EmbeddingSet.load(path).embeddings, axis=1)
            assert np.abs(lengths - 1).max() < 1e-2, lengths
        except MobileFaceError:
            refused += 1
    print(f"{refused} of 2000 refused")
    assert refused > 1000

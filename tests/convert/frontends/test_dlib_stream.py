"""The reader of dlib's integer stream, against a loop that reads it byte by byte, and dlib."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from mobileface.errors import SourceFormatError
from mobileface_convert.frontends.dlib_stream import DlibStream, floats_from_pairs
from tests.convert.frontends.dlib_writer import integer_bytes, stream_bytes

LARGEST = 2**63 - 1


def read_one_by_one(data: bytes) -> list[int]:
    """The definition of the format, as slow as can be."""
    values, position = [], 0
    while position < len(data):
        size = data[position] & 0x0F
        magnitude = int.from_bytes(data[position + 1 : position + 1 + size], "little")
        values.append(-magnitude if data[position] & 0x80 else magnitude)
        position += 1 + size
    return values


def read_all(data: bytes) -> list[int]:
    stream = DlibStream.from_bytes(data, "file")
    values: list[int] = stream.integers(stream.remaining, "all").tolist()
    stream.end()
    return values


def test_reads_integers_of_every_size() -> None:
    values = [0, 1, -1, LARGEST, -LARGEST]
    for bits in range(1, 63):
        values += [2**bits - 1, 2**bits, -(2**bits)]
    assert read_all(stream_bytes(values)) == values


def test_reads_leading_zero_bytes_and_negative_zero() -> None:
    assert read_all(b"\x04\x07\x00\x00\x00\x81\x00") == [7, 0]


@pytest.mark.parametrize("largest_size", [1, 3, 8])
def test_reads_long_streams(largest_size: int) -> None:
    """Integers lie across all borders between the parts that are read together."""
    random = np.random.default_rng(largest_size)
    sizes = random.integers(1, largest_size + 1, 100_000)
    data = b"".join(
        bytes([size | sign]) + random.bytes(size - 1) + bytes([last])
        for size, sign, last in zip(
            sizes.tolist(),
            random.choice([0, 0x80], sizes.size).tolist(),
            random.integers(0, 128, sizes.size).tolist(),
            strict=True,
        )
    )
    values = read_all(data)
    print(f"{len(data)} bytes, {len(values)} integers")
    assert values == read_one_by_one(data)


def test_refuses_an_empty_file() -> None:
    with pytest.raises(
        SourceFormatError, match=r"^file, byte 0 \(integer 0\): the version: expected 1 "
    ):
        DlibStream.from_bytes(b"", "file").integer("the version")


@pytest.mark.parametrize("control", [0x00, 0x80, 0x09, 0x0F, 0x8F, 0x11, 0x21, 0x41, 0x71])
def test_refuses_control_bytes_that_dlib_does_not_write(control: int) -> None:
    data = stream_bytes([5, 300]) + bytes([control]) + bytes(20)
    with pytest.raises(SourceFormatError, match=rf"byte 5 \(integer 2\): 0x{control:02x} is not"):
        DlibStream.from_bytes(data, "file")


def test_names_the_compression() -> None:
    with pytest.raises(SourceFormatError, match="decompress it with bzip2 first"):
        DlibStream.from_bytes(b"BZh91AY&SY", "file.dat.bz2")


def test_refuses_a_file_cut_off_inside_an_integer() -> None:
    data = stream_bytes([1, -70000, 2**40])
    starts = [0, 2, 6]
    for length in range(len(data)):
        if length in starts:
            assert len(read_all(data[:length])) == starts.index(length)
            continue
        with pytest.raises(SourceFormatError, match="the file ends inside an integer"):
            DlibStream.from_bytes(data[:length], "file")


def test_refuses_integers_beyond_64_bits() -> None:
    data = integer_bytes(3) + integer_bytes(2**63)
    message = r"byte 2 \(integer 1\): an integer of more than 64 bits"
    with pytest.raises(SourceFormatError, match=message):
        DlibStream.from_bytes(data, "file")


def test_refuses_what_follows_the_end() -> None:
    stream = DlibStream.from_bytes(stream_bytes([1, 2, 3]), "file")
    stream.integer("the version")
    with pytest.raises(SourceFormatError, match=r"byte 2 \(integer 1\): .* 2 more integers"):
        stream.end()


@pytest.mark.parametrize("count", [-1, 3, 4, 10**18, LARGEST])
def test_refuses_counts_that_the_file_cannot_hold(count: int) -> None:
    data = stream_bytes([count, 1, 2, 3, 4])
    tracemalloc.start()
    with pytest.raises(SourceFormatError, match=rf"cannot hold {count} trees"):
        DlibStream.from_bytes(data, "file").count("trees", item_tokens=2)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000


def test_reads_a_count_that_just_fits() -> None:
    stream = DlibStream.from_bytes(stream_bytes([2, 1, 2, 3, 4]), "file")
    assert stream.count("trees", item_tokens=2) == 2
    assert stream.remaining == 4


@pytest.mark.parametrize("sign", [-1, 1])
def test_reads_matrices_with_either_header(sign: int) -> None:
    data = stream_bytes([2 * sign, 3 * sign, *[part for n in range(6) for part in (n, 1)]])
    stream = DlibStream.from_bytes(data, "file")
    matrix = stream.matrix("matrix", np.float32)
    stream.end()
    assert matrix.dtype == np.float32
    assert matrix.tolist() == [[0, 2, 4], [6, 8, 10]]


@pytest.mark.parametrize(
    "header", [(-2, 3), (2, -3), (3, 3), (LARGEST, LARGEST), (-LARGEST, -1), (0, 10**15)]
)
def test_refuses_matrices_that_cannot_be(header: tuple[int, int]) -> None:
    data = stream_bytes([*header, *[1] * 12])
    with pytest.raises(SourceFormatError, match="the weights: "):
        DlibStream.from_bytes(data, "file").matrix("the weights", np.float64)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_reads_special_floats(dtype: type[np.float32]) -> None:
    exponents = [31999, 32000, 32001, 32002, 32003, -32768, -32769, 2**40]
    pairs = np.array([[1, exponent] for exponent in exponents])
    due = [np.inf, np.inf, -np.inf, np.nan, np.nan, 0, np.nan, np.nan]
    np.testing.assert_array_equal(floats_from_pairs(pairs, dtype), np.array(due, dtype))


def test_rounds_long_mantissas_to_the_nearest_float() -> None:
    mantissa = 2**24 + 1  # halfway between two float32: the even one is due
    data = stream_bytes([mantissa, -24, mantissa + 2, -24, mantissa, -24])
    stream = DlibStream.from_bytes(data, "file")
    assert stream.float32s(2, "floats").tolist() == [1.0, 1 + 2**-22]
    assert stream.float64s(1, "floats").tolist() == [1 + 2**-24]


def test_reads_a_file_that_dlib_wrote(dlib: ModuleType, tmp_path: Path) -> None:
    """Its face detector: five filters of 31 x 10 x 10 weights, each with its threshold last."""
    path = tmp_path / "detector.svm"
    dlib.get_frontal_face_detector().save(str(path))
    stream = DlibStream.from_bytes(path.read_bytes(), path.name)
    assert stream.integer("the version") == 2
    stream.integers(13, "the scanner")
    overlap = stream.float64s(2, "the overlap thresholds")
    filters = stream.count("filters", item_tokens=2)
    thresholds = [float(stream.matrix("weights", np.float64)[-1, 0]) for _ in range(filters)]
    stream.end()
    print(overlap, thresholds)
    np.testing.assert_allclose(overlap, [0.33008, 0.78857], atol=5e-6)
    np.testing.assert_allclose(thresholds, [3.2745, 3.9868, 3.8959, 3.5149, 3.5580], atol=5e-5)


@pytest.mark.parametrize("points", ["eme", "ene"])
def test_reads_whole_files(points: str, source_root: Path) -> None:
    path = source_root / "MobileFace_Landmark" / f"mobileface_landmark_{points}_v1.dat"
    data = path.read_bytes()
    assert read_all(data) == read_one_by_one(data)

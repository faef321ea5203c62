"""MXNet's array files: those that MXNet writes, those that it reads, and those nobody wrote."""

from __future__ import annotations

import random
import struct
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from mobileface.errors import SourceError, SourceFormatError
from mobileface_convert.frontends.mxnet_checkpoint import load_checkpoint
from mobileface_convert.frontends.mxnet_params import load_params, read_params, write_params
from mobileface_convert.oracles.mxnet_oracle import import_mxnet

AnyArray = npt.NDArray[Any]

V1, V2, V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
CPU = (1, 0)
MXNET_DTYPES = ("float32", "float64", "float16", "uint8", "int32", "int8", "int64", "bool")
LATER_FLAGS = {8: "int16", 9: "uint16", 10: "uint32", 11: "uint64"}
HUGE = (1 << 63) - 1
FEW_MEGABYTES = 4 << 20
SPARSE_LIMIT = 1 << 31  # a few bytes may stand for a sparse array of that size


def i32(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}i", *values)


def u32(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}I", *values)


def i64(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}q", *values)


def shape64(*dims: int) -> bytes:
    return i32(len(dims)) + i64(*dims)


def file_of(*arrays: bytes, names: list[bytes] | None = None) -> bytes:
    """A file around array bodies, laid out by hand."""
    listed = [f"a{i}".encode() for i in range(len(arrays))] if names is None else names
    head = struct.pack("<QQQ", 0x112, 0, len(arrays))
    tail = b"".join(struct.pack("<Q", len(name)) + name for name in listed)
    return head + b"".join(arrays) + struct.pack("<Q", len(listed)) + tail


def legacy(values: AnyArray, flag: int = 0) -> bytes:
    return u32(values.ndim, *values.shape) + i32(*CPU, flag) + values.tobytes()


def v1(values: AnyArray, flag: int = 0) -> bytes:
    return u32(V1) + shape64(*values.shape) + i32(*CPU, flag) + values.tobytes()


def tagged(values: AnyArray, flag: int = 0, magic: int = V2, device: int = 1) -> bytes:
    head = u32(magic) + i32(0) + shape64(*values.shape)
    return head + i32(device, 0, flag) + values.tobytes()


def sparse(
    storage: int, shape: tuple[int, ...], values: AnyArray, *indices: AnyArray, flag: int = 6
) -> bytes:
    """A sparse float32 array; all index lists have one type."""
    head = u32(V2) + i32(storage) + shape64(*values.shape) + shape64(*shape) + i32(*CPU, 0)
    head += b"".join(i32(flag) + shape64(*index.shape) for index in indices)
    return head + values.tobytes() + b"".join(index.tobytes() for index in indices)


def longs(*values: int) -> npt.NDArray[np.int64]:
    return np.array(values, np.int64)


ONES = np.ones((2, 3), np.float32)
VALUES = np.arange(6, dtype=np.float32).reshape(2, 3) - 2.5


def noise(dtype: str, shape: tuple[int, ...], seed: int = 0) -> AnyArray:
    """Random bits of that type (no nan), extremes included."""
    generator = np.random.RandomState(seed)
    if np.dtype(dtype).kind == "f":
        return np.asarray(generator.standard_normal(shape) * 100).astype(dtype)
    bits = generator.randint(0, 256, (*shape, np.dtype(dtype).itemsize)).astype(np.uint8)
    return np.asarray(bits[..., 0] > 127 if dtype == "bool" else bits.view(dtype)[..., 0])


def same(found: AnyArray, expected: AnyArray) -> None:
    """Equal in type, shape and every bit."""
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert found.tobytes() == np.ascontiguousarray(expected).tobytes()


@contextmanager
def bounded_memory(limit: int = FEW_MEGABYTES) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    print(f"peak {peak} bytes of {limit}")
    assert peak < limit


@pytest.mark.parametrize("dtype", [*MXNET_DTYPES, *LATER_FLAGS.values()])
def test_written_arrays_read_back_bit_for_bit(dtype: str) -> None:
    arrays = {
        "arg:a": noise(dtype, (2, 3, 4)),
        "aux:vector": noise(dtype, (7,), 1),
        "plain.name": noise(dtype, (0, 3), 2),
        "übergröße:名": noise(dtype, (1, 1, 1, 1, 1), 3),
    }
    found = read_params(write_params(arrays))
    assert list(found) == list(arrays)
    for name, expected in arrays.items():
        same(found[name], expected)


def test_writing_copes_with_views_byte_orders_and_scalars() -> None:
    arrays = {
        "strided": noise("float32", (4, 6))[::2, ::-1],
        "big": np.array([1.5, -2.0], ">f4"),
        "longlong": np.array([1, 2], np.longlong),
        "scalar": np.array(3.5, np.float32),
    }
    found = read_params(write_params(arrays))
    same(found["strided"], arrays["strided"])
    same(found["big"], np.array([1.5, -2.0], np.float32))
    same(found["longlong"], longs(1, 2))
    same(found["scalar"], np.array([3.5], np.float32))  # MXNet's legacy mode has no scalars


@pytest.mark.parametrize("dtype", ["complex64", "object", "S3", "datetime64[s]"])
def test_types_without_a_code_are_refused_by_name(dtype: str) -> None:
    with pytest.raises(SourceFormatError, match=r"array 'w'.*is not supported"):
        write_params({"w": np.zeros(2, dtype)})


@pytest.mark.parametrize("flag", LATER_FLAGS)
def test_integer_types_of_later_versions(flag: int) -> None:
    values = noise(LATER_FLAGS[flag], (3, 2))
    same(read_params(file_of(tagged(values, flag)))["a0"], values)


def test_an_unfilled_placeholder_is_empty_and_the_next_array_is_read() -> None:
    undefined = u32(V2) + i32(-1) + i32(0)
    dense = u32(V2) + i32(0) + i32(0)
    unknown = u32(V3) + i32(0) + i32(-1)
    found = read_params(file_of(undefined, dense, unknown, tagged(VALUES)))
    assert [found[f"a{i}"].shape for i in range(3)] == [(0,)] * 3
    same(found["a3"], VALUES)


def test_names_are_numbers_by_default_and_what_follows_them_is_ignored() -> None:
    data = file_of(v1(ONES), legacy(ONES), names=[])
    assert list(read_params(data)) == list(read_params(data + b"junk" * 9)) == ["0", "1"]


def test_a_missing_file_is_a_source_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no\.params.*cannot be read"):
        load_params(tmp_path / "no.params")


def test_one_name_as_argument_and_as_state_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.params"
    path.write_bytes(write_params({"arg:w": ONES, "aux:w": ONES}))
    with pytest.raises(SourceFormatError, match=r"x\.params.*'w' is both"):
        load_checkpoint(tmp_path / "x.json", path)


def mxnet_reads(data: bytes) -> Any:
    return import_mxnet().nd.load_frombuffer(data)


def mxnet_writes(path: Path, content: Any) -> dict[str, AnyArray]:
    import_mxnet().nd.save(str(path), content)
    return load_params(path)


@pytest.mark.needs_mxnet
@pytest.mark.parametrize("dtype", MXNET_DTYPES)
def test_mxnet_and_we_read_each_others_files(dtype: str, tmp_path: Path) -> None:
    mxnet = import_mxnet()
    arrays = {f"arg:{n}": noise(dtype, (2,) * n, seed=n) for n in range(1, 6)}
    content = {name: mxnet.nd.array(array, dtype=dtype) for name, array in arrays.items()}
    theirs = mxnet_writes(tmp_path / "a.params", content)
    assert write_params(arrays) == (tmp_path / "a.params").read_bytes()
    ours = mxnet_reads(write_params(arrays))
    assert list(theirs) == list(arrays)
    assert list(ours) == list(arrays)
    for name, expected in arrays.items():
        same(theirs[name], expected)
        same(ours[name].asnumpy(), expected)


@pytest.mark.needs_mxnet
def test_lists_single_arrays_and_nothing(tmp_path: Path) -> None:
    nd, path = import_mxnet().nd, tmp_path / "a.nd"
    found = mxnet_writes(path, [nd.array(VALUES), nd.array([7.0])])
    assert list(found) == ["0", "1"]
    same(found["0"], VALUES)
    same(mxnet_writes(path, nd.array(VALUES))["0"], VALUES)
    assert mxnet_writes(path, {}) == {}
    assert mxnet_reads(write_params({})) in ({}, [])


@pytest.mark.needs_mxnet
def test_sparse_arrays_come_dense(tmp_path: Path) -> None:
    sparse_nd = import_mxnet().nd.sparse
    content = {
        "rows": sparse_nd.row_sparse_array((VALUES, [1, 4]), shape=(5, 3), dtype="float32"),
        "no rows": sparse_nd.zeros("row_sparse", (5, 2)),
        "deep rows": sparse_nd.row_sparse_array(
            (noise("float64", (2, 2, 2)), [0, 2]), shape=(3, 2, 2), dtype="float64"
        ),
        "csr": sparse_nd.csr_matrix(([1.0, 2, 3], [0, 2, 1], [0, 2, 2, 3]), shape=(3, 4)),
        "no csr": sparse_nd.zeros("csr", (3, 2)),
    }
    found = mxnet_writes(tmp_path / "s.nd", content)
    assert found.keys() == content.keys()
    for name, array in content.items():
        same(found[name], array.asnumpy())


@pytest.mark.needs_mxnet
def test_scalars_and_empty_arrays_of_numpy_mode(tmp_path: Path) -> None:
    mxnet, path = import_mxnet(), tmp_path / "v3.nd"
    with mxnet.util.np_shape(True):
        scalar = mxnet.nd.array([3.5]).reshape(())
        content = {"scalar": scalar, "empty": mxnet.nd.zeros((0, 3)), "full": mxnet.nd.ones((2,))}
        found = mxnet_writes(path, content)
        expected = {name: array.asnumpy() for name, array in content.items()}
    assert u32(V3) in path.read_bytes()
    for name, array in expected.items():
        same(found[name], array)
    ours = mxnet_reads(write_params({"empty": found["empty"], "full": found["full"]}))
    assert ours["empty"].shape == (0, 3)
    same(ours["full"].asnumpy(), expected["full"])


@pytest.mark.needs_mxnet
def test_bfloat16_is_widened_exactly(tmp_path: Path) -> None:
    nd = import_mxnet().nd
    values = nd.array([1.5, -2.0, 3e30, 0.0, -1e-30, 3.14159])
    short = nd.amp_cast(values, dtype="bfloat16")
    found = mxnet_writes(tmp_path / "b.nd", {"b": short})["b"]
    same(found, nd.amp_cast(short, dtype="float32").asnumpy())


@pytest.mark.needs_mxnet
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(legacy(VALUES), id="legacy"),
        pytest.param(legacy(noise("uint8", (5, 4, 1, 2)), 3), id="legacy-uint8"),
        pytest.param(v1(VALUES), id="V1"),
        pytest.param(v1(noise("float16", (3,)), 2), id="V1-half"),
        pytest.param(tagged(VALUES), id="V2"),
        pytest.param(tagged(VALUES, device=2), id="V2-gpu"),
        pytest.param(sparse(1, (4, 3), VALUES, longs(0, 3)), id="row-sparse"),
        pytest.param(sparse(2, (2, 3), VALUES[0], longs(0, 1, 3), longs(2, 0, 1)), id="csr"),
    ],
)
def test_hand_made_layouts_read_as_mxnet_reads_them(body: bytes) -> None:
    data = file_of(body, tagged(ONES)) + b"trailing junk"
    found, expected = read_params(data), mxnet_reads(data)
    assert list(found) == list(expected) == ["a0", "a1"]
    for name in found:
        same(found[name], expected[name].asnumpy())


NO_DATA = i32(*CPU, 0)
DENSE = u32(V2) + i32(0)
NOTHING = ONES[0, :0]
ROW = VALUES[0]
SHORT_NANS, UNSIGNED = np.full(2, 0x7FC0, np.uint16), np.full(2, 1 << 63, np.uint64)
WRAPPING = longs(0, 1 << 62, -1 << 63, -1 << 62, 0)  # all differences are 2**62 in 64 bits

BAD_ARRAYS = {
    "V1 without shape": (u32(V1) + i32(0) + NO_DATA, r"has no shape"),
    "V1 unknown shape": (u32(V1) + i32(-1) + NO_DATA, r"has no shape"),
    "legacy no dims": (u32(0) + NO_DATA, r"has no shape"),
    "legacy dims": (u32(0xFFFFFFF0) + bytes(64), r"dimensions"),
    "33 dims": (DENSE + shape64(*[1] * 33) + NO_DATA, r"33 dimensions"),
    "-2 dims": (DENSE + i32(-2) + NO_DATA, r"-2 dimensions"),
    "negative": (DENSE + shape64(2, -3) + NO_DATA, r"negative dimension"),
    "negative V1": (u32(V1) + shape64(-1) + NO_DATA, r"negative dimension"),
    "huge dim": (DENSE + shape64(HUGE) + NO_DATA, r"data of shape"),
    "huge product": (u32(V1) + shape64(*[HUGE] * 32) + NO_DATA, r"data of shape"),
    "huge legacy": (u32(3, *[0xFFFFFFFF] * 3) + NO_DATA, r"data of shape"),
    "huge empty": (DENSE + shape64(0, HUGE, HUGE) + NO_DATA, r"not supported by numpy"),
    "type flag": (tagged(ONES, 13), r"unknown type flag 13"),
    "negative flag": (tagged(ONES, -1), r"unknown type flag -1"),
    "storage": (u32(V2) + i32(3) + shape64(1) + NO_DATA, r"unknown storage type 3"),
    "undefined": (u32(V2) + i32(-1) + shape64(1) + NO_DATA, r"undefined storage"),
    "row index": (sparse(1, (4, 3), VALUES, longs(0, 4)), r"row indices must be from 0 to 3"),
    "row below": (sparse(1, (4, 3), VALUES, longs(-1, 0)), r"row indices must be"),
    "row count": (sparse(1, (4, 3), VALUES, longs(0)), r"1 row indices"),
    "row width": (sparse(1, (4, 2), VALUES, longs(0, 1)), r"row indices do not fit stored rows"),
    "row floats": (sparse(1, (4, 3), VALUES, ROW[:2], flag=0), r"not a list of indices"),
    "row bfloat16": (sparse(1, (4, 3), VALUES, SHORT_NANS, flag=12), r"not a list of indices"),
    "row unsigned": (sparse(1, (4, 3), VALUES, UNSIGNED, flag=11), r"row indices must be"),
    "csr falling": (sparse(2, (3, 3), ROW, longs(0, 2, 1, 3), longs(0, 1, 2)), r"must increase"),
    "csr start": (sparse(2, (1, 3), ROW, longs(1, 3), longs(0, 1, 2)), r"must increase"),
    "csr end": (sparse(2, (1, 3), ROW, longs(0, 2), longs(0, 1, 2)), r"must increase"),
    "csr wrapping": (sparse(2, (4, 3), NOTHING, WRAPPING, longs()), r"must increase"),
    "csr column": (sparse(2, (1, 3), ROW, longs(0, 3), longs(0, 1, 3)), r"column indices must be"),
    "csr cube": (sparse(2, (1, 3, 1), ROW, longs(0, 3), longs(0, 1, 2)), r"not fit a matrix"),
    "sparse huge": (sparse(1, (1 << 40, 3), VALUES, longs(0, 1)), r"sparse array of shape"),
    "sparse empty": (sparse(2, (0, HUGE), NOTHING, longs(0), longs()), r"sparse array of shape"),
}
BAD = {
    "nothing": (b"", r"magic number needs 8 bytes"),
    "wrong magic": (b"PK\3\4" + bytes(60), r"wrong magic"),
    "array count": (struct.pack("<QQQ", 0x112, 0, 1 << 63), r"array count \d+ is too large"),
    "name count": (struct.pack("<QQQQ", 0x112, 0, 0, 1 << 63), r"name count \d+ is too large"),
    "fewer names": (file_of(v1(ONES), v1(ONES), names=[b"a"]), r"1 names for 2 arrays"),
    "more names": (file_of(v1(ONES), names=[b"a", b"b"]), r"2 names for 1 arrays"),
    "same name": (file_of(v1(ONES), v1(ONES), names=[b"a", b"a"]), r"'a' is not unique"),
    "no UTF-8": (file_of(v1(ONES), names=[b"\xff\xfe"]), r"not UTF-8"),
    "name length": (file_of(v1(ONES), names=[])[:-8] + i64(1, HUGE), r"name needs \d+ bytes"),
    **{case: (file_of(body), reason) for case, (body, reason) in BAD_ARRAYS.items()},
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_refused_cheaply_with_a_reason(case: str) -> None:
    data, reason = BAD[case]
    with bounded_memory(), pytest.raises(SourceFormatError, match=reason) as caught:
        read_params(data, where="model.params")
    print(caught.value)
    assert str(caught.value).startswith("model.params")


def mutated(data: bytes, generator: random.Random) -> bytes:
    """The file with bytes flipped, cut out, put in or cut off."""
    content = bytearray(data)
    for _ in range(generator.randint(1, 2)):
        at = generator.randrange(len(content))
        action = generator.randrange(4)
        if action == 0:
            content[at] ^= generator.randrange(256)
        elif action == 1:
            del content[at : at + generator.randint(1, 8)]
        else:
            inserted = generator.choice([i64(-1), i64(HUGE), generator.randbytes(4)])
            content[at : at + 8 * (action - 2)] = inserted
        if not content:
            break
    return bytes(content)


DENSE_FILE = file_of(legacy(VALUES), v1(VALUES), tagged(VALUES), tagged(VALUES, magic=V3))
SPARSE_FILE = file_of(
    sparse(1, (4, 3), VALUES, longs(0, 3)),
    sparse(2, (2, 3), VALUES[0], longs(0, 1, 3), longs(2, 0, 1)),
)


@pytest.mark.parametrize(
    ("original", "limit"),
    [(DENSE_FILE, FEW_MEGABYTES), (SPARSE_FILE, SPARSE_LIMIT + FEW_MEGABYTES)],
    ids=["dense", "sparse"],
)
def test_mutated_files_are_read_or_refused(original: bytes, limit: int) -> None:
    generator = random.Random(len(original))
    read, start = 0, time.perf_counter()
    with bounded_memory(limit):
        for number in range(1500):
            data = mutated(original, generator)
            try:
                read_params(data)
                read += 1
            except SourceFormatError:
                pass
            except Exception as error:
                pytest.fail(f"mutation {number}: {error!r}\n{data.hex()}")
    took = time.perf_counter() - start
    print(f"{read} of 1500 read, {took:.1f} s")
    assert 50 < read < 1450, "the mutations are too weak or too strong to test anything"
    assert took < 10


@pytest.mark.parametrize("whole", [DENSE_FILE, SPARSE_FILE], ids=["dense", "sparse"])
def test_every_truncation_is_refused(whole: bytes) -> None:
    assert read_params(whole)
    for size in range(len(whole)):
        with pytest.raises(SourceFormatError):
            read_params(whole[:size])

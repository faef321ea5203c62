"""Writing files whole, the index of a folder, and where models are looked for."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mobileface.errors import ModelIntegrityError, ModelNotFoundError, OutputError
from mobileface.host.files import replacing, sha256, write_aside
from mobileface.models import lookup as store
from mobileface.models.index import INDEX_FILE, IndexEntry, read_index, write_index
from mobileface.models.lookup import candidate_models, find_model, list_models, search_folders

POSIX = pytest.mark.skipif(os.name != "posix", reason="modes of files as POSIX has them")


def entry(name: str = "net", **changes: Any) -> IndexEntry:
    fields: dict[str, Any] = {
        "file": f"{name}.onnx",
        "sha256": "ab" * 32,
        "bytes": 12,
        "task": "embedding",
        "preference": 1,
        "certificate": f"{name}.certificate.json",
    }
    return IndexEntry(**{**fields, **changes})


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


# files


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1])
def test_sha256_is_that_of_hashlib(tmp_path: Path, size: int) -> None:
    content = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    path = tmp_path / "file"
    path.write_bytes(content)
    assert sha256(path) == hashlib.sha256(content).hexdigest()


def test_replacing_makes_folders_and_the_file(tmp_path: Path) -> None:
    target = tmp_path / "new" / "deep" / "out.npz"
    with replacing(target) as temporary:
        assert temporary.parent == target.parent
        assert temporary.suffix == ".npz"
        assert not target.exists()
        temporary.write_bytes(b"content")
    assert target.read_bytes() == b"content"
    assert names(target.parent) == ["out.npz"]


def test_replacing_shows_the_old_content_until_the_end(tmp_path: Path) -> None:
    target = tmp_path / "out.txt"
    target.write_text("old")
    with replacing(target) as temporary:
        temporary.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt()])
def test_replacing_undoes_everything_on_an_error(tmp_path: Path, error: BaseException) -> None:
    target = tmp_path / "out.txt"
    target.write_text("old")
    with pytest.raises(type(error)), replacing(target) as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise error
    assert target.read_text() == "old"
    assert names(tmp_path) == ["out.txt"]


def test_replacing_says_what_the_writer_could_not(tmp_path: Path) -> None:
    target = tmp_path / "out.txt"
    with pytest.raises(OutputError, match="No space left") as caught, replacing(target):
        raise OSError(28, "No space left on device")
    assert caught.value.where == str(target)
    assert names(tmp_path) == []


def test_replacing_where_a_file_is_the_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError), replacing(tmp_path / "file" / "out.txt"):
        pytest.fail("nothing can be written there")
    assert (tmp_path / "file").read_text() == "in the way"


def test_replacing_where_a_folder_is_the_file(tmp_path: Path) -> None:
    (tmp_path / "out.txt").mkdir()
    with pytest.raises(OutputError):
        write_aside(tmp_path / "out.txt", "content")
    assert names(tmp_path) == ["out.txt"]
    assert names(tmp_path / "out.txt") == []


@POSIX
@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_new_files_follow_the_umask(tmp_path: Path, mask: int, mode: int) -> None:
    with umask(mask):
        write_aside(tmp_path / "out", b"content")
        after = os.umask(mask)
    assert after == mask
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == mode


@pytest.mark.parametrize(
    ("content", "data"), [(b"\x00\r\n", b"\x00\r\n"), ("Größe\n", b"Gr\xc3\xb6\xc3\x9fe\n")]
)
def test_write_aside(tmp_path: Path, content: bytes | str, data: bytes) -> None:
    write_aside(tmp_path / "out", content)
    assert (tmp_path / "out").read_bytes() == data


# index


def test_index_round_trip_and_order(tmp_path: Path) -> None:
    models = {"b": entry("b"), "a": entry("a", preference=3)}
    write_index(tmp_path, models)
    assert read_index(tmp_path) == models
    text = (tmp_path / INDEX_FILE).read_text(encoding="utf-8")
    assert list(json.loads(text)["models"]) == ["a", "b"]
    assert text.endswith("}\n")


def test_no_index_is_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert read_index(tmp_path) == {}
    assert read_index(tmp_path / "absent") == {}
    assert read_index(tmp_path / "file") == {}


def test_index_that_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / INDEX_FILE).mkdir()
    with pytest.raises(ModelIntegrityError, match="cannot be read"):
        read_index(tmp_path)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "{}", "[" * 100_000, "\udcff", '{"schema": 1}']
    + [f'{{"schema": {schema}, "models": {{}}}}' for schema in ("3", "0", '"1"', "null")]
    + ['{"schema": 1, "models": []}', '{"models": {}}'],
)
def test_broken_index(tmp_path: Path, text: str) -> None:
    (tmp_path / INDEX_FILE).write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(ModelIntegrityError) as caught:
        read_index(tmp_path)
    assert caught.value.where == str(tmp_path / INDEX_FILE)


@pytest.mark.parametrize("schema", ["true", "1.0"])
def test_index_schema_is_a_whole_number(tmp_path: Path, schema: str) -> None:
    (tmp_path / INDEX_FILE).write_text(f'{{"schema": {schema}, "models": {{}}}}')
    with pytest.raises(ModelIntegrityError, match="not a model index"):
        read_index(tmp_path)


def write_raw(folder: Path, item: Any) -> None:
    document = {"schema": 1, "models": {"net": item}}
    (folder / INDEX_FILE).write_text(json.dumps(document), encoding="utf-8")


OLD_FIELDS = ("file", "sha256", "bytes", "task", "preference", "certificate")
GOOD = {field: getattr(entry(), field) for field in OLD_FIELDS}


@pytest.mark.parametrize("field", GOOD)
@pytest.mark.parametrize("value", [None, True, 1.5, ["text"]])
def test_index_field_of_wrong_type_is_named(tmp_path: Path, field: str, value: Any) -> None:
    write_raw(tmp_path, {**GOOD, field: value})
    with pytest.raises(ModelIntegrityError, match=f"{INDEX_FILE}, net: {field} "):
        read_index(tmp_path)


@pytest.mark.parametrize(
    "change",
    [lambda item: item.pop("sha256"), lambda item: item.update(more=1), lambda item: item.clear()],
)
def test_index_wants_exactly_its_fields(
    tmp_path: Path, change: Callable[[dict[str, Any]], Any]
) -> None:
    item = dict(GOOD)
    change(item)
    write_raw(tmp_path, item)
    with pytest.raises(ModelIntegrityError, match="must have the fields file, sha256"):
        read_index(tmp_path)


@pytest.mark.parametrize("item", [None, "net.onnx", ["net.onnx"], 3])
def test_index_item_is_a_table(tmp_path: Path, item: Any) -> None:
    write_raw(tmp_path, item)
    with pytest.raises(ModelIntegrityError, match=f"{INDEX_FILE}, net: "):
        read_index(tmp_path)


@pytest.mark.parametrize("field", ["file", "certificate"])
@pytest.mark.parametrize(
    "name",
    [
        *("../net.onnx", "/etc/passwd", "a/b", "./net.onnx", "net.onnx/", "."),
        *("..", "", "a\0b"),
    ],
)
def test_index_names_no_file_outside_its_folder(tmp_path: Path, field: str, name: str) -> None:
    write_raw(tmp_path, {**GOOD, field: name})
    with pytest.raises(ModelIntegrityError, match=f"{field} .*is not a plain file name"):
        read_index(tmp_path)


# store


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """The folders of the search, all of the test's own."""
    found = {
        "home": tmp_path / "home",
        "user": tmp_path / "data" / "mobileface" / "models",
        "package": tmp_path / "lib" / "runtime" / "mobileface" / "models_onnx",
        "checkout": tmp_path / "lib" / "models_onnx",
    }
    monkeypatch.setenv("MOBILEFACE_HOME", str(found["home"]))
    monkeypatch.setattr(store, "user_models", lambda: found["user"])
    monkeypatch.setattr(store, "__file__", str(found["package"].parent / "models" / "lookup.py"))
    return found


def test_search_order(
    places: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert search_folders() == tuple(places.values())
    named = (tmp_path, *places.values())
    assert search_folders(tmp_path) == search_folders(str(tmp_path)) == named
    for unset in ("", None):
        if unset is None:
            monkeypatch.delenv("MOBILEFACE_HOME")
        else:
            monkeypatch.setenv("MOBILEFACE_HOME", unset)
        assert search_folders() == tuple(places.values())[1:]


@pytest.mark.skipif(sys.platform != "linux", reason="the folders of Linux")
def test_user_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert search_folders()[0] == tmp_path / ".local/share/mobileface/models"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    assert search_folders()[0] == tmp_path / "xdg/mobileface/models"


def test_no_home_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service's user may have none."""

    def fails() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", fails)
    assert all(folder.name == "models_onnx" for folder in search_folders())


def test_the_first_folder_with_the_model_wins(places: dict[str, Path], tmp_path: Path) -> None:
    for preference, folder in enumerate(reversed(places.values())):
        folder.mkdir(parents=True)
        write_index(folder, {"net": entry(preference=preference)})
        assert [model.path.parent for model in list_models()] == [folder]
        model = find_model("net")
        assert (model.name, model.path) == ("net", folder / "net.onnx")
        assert model.certificate == folder / "net.certificate.json"
        assert model.entry.preference == preference
    own = tmp_path / "own"
    own.mkdir()
    write_index(own, {"net": entry()})
    assert find_model("net", models=own).path.parent == own


def test_folders_add_up_and_are_sorted(places: dict[str, Path]) -> None:
    write_index(places["home"], {"c": entry("c", preference=1), "a": entry("a", preference=1)})
    write_index(places["user"], {"b": entry("b", preference=5)})
    write_index(places["checkout"], {"d": entry("d", task="detection", preference=9)})
    assert [model.name for model in list_models()] == ["d", "b", "a", "c"]
    assert [model.name for model in list_models(task="embedding")] == ["b", "a", "c"]
    assert find_model().name == "d"
    assert find_model(task="embedding").name == "b"
    assert find_model("c", task="embedding").name == "c"


def test_the_callers_folder_comes_first(places: dict[str, Path], tmp_path: Path) -> None:
    """Its models are taken before preferred ones elsewhere; what it lacks comes from elsewhere."""
    own = tmp_path / "own"
    own.mkdir()
    write_index(own, {"a": entry("a", preference=1), "b": entry("b", preference=2)})
    write_index(places["home"], {"a": entry("a", preference=9), "c": entry("c", preference=9)})
    write_index(places["checkout"], {"d": entry("d", task="detection")})
    order = [(model.name, model.path.parent) for model in candidate_models(own, "embedding")]
    assert order == [("b", own), ("a", own), ("c", places["home"])]
    assert find_model(task="embedding", models=own).name == "b"
    assert find_model("c", models=own).path.parent == places["home"]
    assert find_model(task="detection", models=own).path.parent == places["checkout"]
    assert [model.name for model in list_models(own)] == ["b", "a"]


def test_unknown_model_lists_what_there_is(places: dict[str, Path]) -> None:
    write_index(places["user"], {"b": entry("b", preference=5), "a": entry("a")})
    with pytest.raises(ModelNotFoundError, match="no model 'x'; available: b, a") as caught:
        find_model("x")
    for folder in places.values():
        assert str(folder) in caught.value.where
    assert "mobileface-convert" in caught.value.hint
    with pytest.raises(LookupError, match="no model 'a' for task 'detection'"):
        find_model("a", task="detection")


def test_nothing_anywhere(places: dict[str, Path]) -> None:
    assert list_models() == []
    with pytest.raises(ModelNotFoundError, match="no model for task 'embedding'") as caught:
        find_model(task="embedding")
    assert "available" not in caught.value.what


def test_own_folder_without_an_index(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(ModelNotFoundError, match=f"no {INDEX_FILE} found") as caught:
            list_models(folder)
        assert caught.value.where == str(folder)


def test_a_broken_index_is_not_passed_over(places: dict[str, Path]) -> None:
    places["home"].mkdir()
    (places["home"] / INDEX_FILE).write_text("{")
    write_index(places["user"], {"net": entry()})
    with pytest.raises(ModelIntegrityError):
        find_model("net")


def test_the_tiny_models_are_what_their_index_says(models: Path) -> None:
    for model in list_models(models):
        assert sha256(model.path) == model.entry.sha256
        assert model.path.stat().st_size == model.entry.bytes
        certificate = json.loads(model.certificate.read_text(encoding="utf-8"))
        assert certificate["sha256"] == model.entry.sha256
    assert find_model(models=models).name == "tiny_color"

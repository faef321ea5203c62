"""`mobileface-convert starter`: what it writes, how it fails; the committed set is fresh."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from mobileface.errors import (
    ConversionError,
    ModelIntegrityError,
    OutputError,
    SourceError,
    SourceIntegrityError,
)
from mobileface.host.files import sha256
from mobileface.models.index import read_index
from mobileface_convert.backends.storage import store_float16, stored_as
from mobileface_convert.build.cards import card_text, write_cards
from mobileface_convert.build.pipeline import convert
from mobileface_convert.commands import main as main_module
from mobileface_convert.commands.main import main
from mobileface_convert.recipes.recipe import Recipe, load_recipe, recipe_names
from mobileface_convert.sources.files import SourceFile
from mobileface_convert.sources.packages import PackageSource
from tests.conftest import ROOT

STARTER = ROOT / "models_onnx"
Output = pytest.CaptureFixture[str]


def starter() -> list[Recipe]:
    recipes = [load_recipe(name) for name in recipe_names()]
    return [recipe for recipe in recipes if recipe.collection == "starter"]


def test_only_the_starter_set_is_committed() -> None:
    """Nothing that is converted from MobileFace's weights, and nothing that no index names."""
    assert set(read_index(STARTER)) == {recipe.name for recipe in starter()}
    assert {recipe.spec.license.name for recipe in starter()} == {
        "Apache-2.0",
        "BSL-1.0",
        "CC0-1.0",
        "MIT",
    }


def test_the_committed_specs_are_the_recipes() -> None:
    """Only the package that a detector's weights came out of is filled in."""
    for recipe in starter():
        expected = json.loads(json.dumps(recipe.spec.to_dict()))
        if not recipe.spec.kind.has_network:
            assert json.loads((STARTER / f"{recipe.name}.json").read_text()) == expected
            continue
        model = onnx.load(STARTER / f"{recipe.name}.onnx")
        entries = {entry.key: entry.value for entry in model.metadata_props}
        found = json.loads(entries["mobileface.spec"])
        found["source"].pop("package", None), expected["source"].pop("package", None)
        assert found == expected
        assert stored_as(STARTER / f"{recipe.name}.onnx") == recipe.weights


def test_the_committed_cards_are_fresh() -> None:
    for recipe in starter():
        assert recipe.card is not None
        certificate = json.loads((STARTER / f"{recipe.name}.certificate.json").read_text())
        text = (STARTER / f"{recipe.name}.md").read_text(encoding="utf-8")
        assert text == card_text(recipe.spec, recipe.card, certificate)


@pytest.mark.slow
@pytest.mark.needs_dlib
@pytest.mark.needs_packages
@pytest.mark.needs_mediapipe
@pytest.mark.needs_litert
def test_the_command_makes_the_committed_models(tmp_path: Path, capsys: Output) -> None:
    """The same weights again, bit by bit, and the same files around them."""
    assert main(["starter", "--output", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert out.count("against dlib") == 3
    assert out.count("against ONNX Runtime") == 2
    assert out.count("against plain numpy") == 1
    assert out.count("against LiteRT") == 2
    assert {path.name for path in tmp_path.iterdir()} == {
        path.name for path in STARTER.iterdir() if path.name != "README.md"
    }
    for recipe in starter():
        if not recipe.spec.kind.has_network:
            files = [folder / f"{recipe.name}.json" for folder in (tmp_path, STARTER)]
            assert files[0].read_bytes() == files[1].read_bytes()
            continue
        made, committed = (
            {
                (tuple(t.dims), t.data_type, numpy_helper.to_array(t).tobytes())
                for t in onnx.load(folder / f"{recipe.name}.onnx").graph.initializer
            }
            for folder in (tmp_path, STARTER)
        )
        assert made == committed, recipe.name


@pytest.mark.slow
@pytest.mark.needs_dlib
@pytest.mark.needs_packages
def test_weights_on_request(
    tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    """float32 for a model that is stored as float16 otherwise; the other one has no choice."""
    names = ["embedding_dlib", "landmark_dlib5"]
    monkeypatch.setattr(main_module, "recipe_names", lambda: names)
    assert main(["starter", "--output", str(tmp_path), "--weights", "float32"]) == 0
    certificate = json.loads((tmp_path / "embedding_dlib.certificate.json").read_text())
    assert certificate["weights"] == "float32"
    assert sorted(read_index(tmp_path)) == names
    assert "verification_float32" not in certificate
    assert certificate["verification"]["max_abs_error"] < 2e-6
    assert "weights stored as float32" in (tmp_path / "embedding_dlib.md").read_text()
    assert main(["verify", str(tmp_path / "embedding_dlib.onnx")]) == 0
    assert "against recorded from dlib" in capsys.readouterr().out
    committed = json.loads((STARTER / "embedding_dlib.certificate.json").read_text())
    assert committed["verification_float32"]["max_abs_error"] < 2e-6
    assert (
        committed["verification_float32"]["max_abs_error"]
        < (committed["verification"]["max_abs_error"])
    )


def test_the_committed_embedder_against_the_record(capsys: Output) -> None:
    """On machines without dlib."""
    assert main(["verify", str(STARTER / "embedding_dlib.onnx")]) == 0
    assert "against recorded from dlib" in capsys.readouterr().out


def test_a_storage_without_bounds_is_refused() -> None:
    with pytest.raises(ConversionError, match="no bounds for weights stored as float16") as caught:
        load_recipe("landmark_dlib5").storing("float16")
    assert caught.value.where == "landmark_dlib5"


# the package


def test_an_absent_package() -> None:
    source = PackageSource("no_such_package_of_models", "starter-build")
    with pytest.raises(SourceError, match="no_such_package_of_models is not installed") as caught:
        source.fetch(load_recipe("embedding_dlib").files["model"])
    assert caught.value.hint == "pip install 'mobileface[starter-build]'"


def fake_package(folder: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> SourceFile:
    """A package with one model, whose code must not run."""
    inside = folder / "fake_models" / "models"
    inside.mkdir(parents=True)
    (folder / "fake_models" / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (inside / "net.dat").write_bytes(content)
    monkeypatch.syspath_prepend(str(folder))
    return SourceFile("fake_models/models/net.dat", "0" * 40)


def test_another_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = fake_package(tmp_path, monkeypatch, b"other")
    source = PackageSource("fake_models", "starter-build")
    with pytest.raises(SourceIntegrityError, match="git blob SHA-1 is") as caught:
        source.fetch(file)
    assert "different version of the package" in caught.value.hint
    right = dataclasses.replace(file, git_blob_sha1="56a6051ca2b02b04ef92d5150c9ef600403cb1de")
    (tmp_path / "fake_models" / "models" / "net.dat").write_bytes(b"1")
    assert source.fetch(right).read_bytes() == b"1"
    assert "fake_models" not in sys.modules
    assert source.describe() == "installed package fake_models"


# cards


def test_a_card_needs_its_certificate(tmp_path: Path) -> None:
    with pytest.raises(ModelIntegrityError, match="cannot be read"):
        write_cards(starter(), tmp_path)
    (tmp_path / "age.certificate.json").write_text("[]")
    with pytest.raises(ModelIntegrityError, match="not a certificate"):
        write_cards(starter(), tmp_path)
    assert not list(tmp_path.glob("*.md"))


# weights in half the bytes


def network(weights: np.ndarray) -> onnx.ModelProto:  # type: ignore[type-arg]
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    sizes = {"x": ["N", weights.shape[0]], "y": ["N", weights.shape[1]]}
    shapes = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in sizes.items()]
    graph = helper.make_graph(
        [node], "net", shapes[:1], shapes[1:], [numpy_helper.from_array(weights, "w")]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_float16_is_a_rounding_of_the_weights_alone() -> None:
    random = np.random.RandomState(1)
    weights, x = random.standard_normal((64, 32)), random.standard_normal((5, 64))
    model = store_float16(network(weights.astype(np.float32)), "net")
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (found,) = session.run(None, {"x": x.astype(np.float32)})
    expected = x.astype(np.float32) @ weights.astype(np.float16).astype(np.float32)
    error = float(np.abs(found - expected).max())
    print(f"largest difference {error:.1e}")
    assert error < 1e-5
    assert model.ByteSize() < 64 * 32 * 2 + 300


def test_weights_that_cannot_be_float16() -> None:
    large = np.full((64, 32), 1e6, np.float32)
    with pytest.raises(ConversionError, match="array 'w' exceeds the range of float16"):
        store_float16(network(large), "net")
    with pytest.raises(ConversionError, match="no weights to store"):
        store_float16(network(np.ones((2, 2), np.float32)), "net")


# folders


def convert_one(name: str, folder: Path) -> None:
    recipe = load_recipe(name)
    source = PackageSource("face_recognition_models", "starter-build")
    convert(recipe, source if recipe.files else None, folder, verify=False)


@pytest.mark.slow
@pytest.mark.needs_dlib
def test_processes_that_convert_into_one_folder(tmp_path: Path) -> None:
    """Each rewrites the index; none loses what another wrote."""
    context = multiprocessing.get_context("spawn")
    names = ["detection_hog", "landmark_dlib5", "embedding_dlib"] * 2
    processes = [context.Process(target=convert_one, args=(name, tmp_path)) for name in names]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 6
    index = read_index(tmp_path)
    assert set(index) == set(names)
    for entry in index.values():
        assert sha256(tmp_path / entry.file) == entry.sha256
    assert not list(tmp_path.glob(".*"))


@pytest.mark.needs_dlib
def test_a_folder_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        convert_one("detection_hog", tmp_path / "file")


def test_models_go_where_the_runtime_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output, random_source: Path
) -> None:
    """Without --output: MOBILEFACE_HOME, else the user's data folder."""
    for variable, folder in (
        ("MOBILEFACE_HOME", tmp_path / "home"),
        ("XDG_DATA_HOME", tmp_path / "data" / "mobileface" / "models"),
    ):
        monkeypatch.delenv("MOBILEFACE_HOME", raising=False)
        root = folder if variable == "MOBILEFACE_HOME" else tmp_path / "data"
        monkeypatch.setenv(variable, str(root))
        assert main(["all", "--source", str(random_source), "--only", "identification_v1"]) == 2
        assert f"models folder: {folder}" in capsys.readouterr().out

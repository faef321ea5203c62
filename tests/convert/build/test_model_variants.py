"""Variants of a model: what is made, what is refused, and what the folder holds afterwards."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mobileface import find_model, load_embedder
from mobileface.diagnostics.certification import HELD, certify
from mobileface.errors import ConversionError, ImageError, SpecError
from mobileface.host.files import sha256
from mobileface.host.machine import Machine
from mobileface.models.agreement import Bounds
from mobileface.models.index import read_index
from mobileface.models.lookup import list_models
from mobileface.models.probes import make_probes
from mobileface.models.session import Session
from mobileface.models.spec import ModelSpec
from mobileface_convert.build.calibration_images import read_samples
from mobileface_convert.build.collection import convert_recipes
from mobileface_convert.build.ort_files import OPERATORS_FILE, write_ort
from mobileface_convert.build.pipeline import Artefact, convert
from mobileface_convert.build.variants import Plan
from mobileface_convert.commands.main import main
from mobileface_convert.recipes.recipe import Recipe, load_recipe
from mobileface_convert.sources.files import DirectorySource
from tests.convert.faces import invented_faces

Output = pytest.CaptureFixture[str]
RandomRecipe = Callable[[int], Recipe]

ALL = ("fp32", "fp16", "int8")
BOTH = ("portable", "x86")
NAME = "identification_v3"
V3_NAMES = ["fp32_x86", "fp16_x86", "fp16", "int8_x86", "int8", "fp32"]
X86, ARM = Machine("x86_64", frozenset({"avx2"})), Machine("aarch64", frozenset({"asimd"}))


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return invented_faces(tmp_path_factory.mktemp("faces"), 30)


@pytest.fixture(scope="module")
def plan(faces: Path) -> Plan:
    return Plan(ALL, BOTH, read_samples(faces))


@pytest.fixture(scope="module")
def recipe(random_recipe: RandomRecipe) -> Recipe:
    """V3 with random weights: its outputs reach 120, ten times those of the published model."""
    found = random_recipe(3)
    bounds = {**found.bounds, "float32": Bounds(2e-4, 0.9999999)}
    return dataclasses.replace(found, bounds=bounds)


@pytest.fixture(scope="module")
def made(
    random_source: Path,
    recipe: Recipe,
    plan: Plan,
    tmp_path_factory: pytest.TempPathFactory,
) -> Artefact:
    """V3 with random weights, in every variant."""
    folder = tmp_path_factory.mktemp("models")
    source = DirectorySource(random_source)
    return convert(recipe, source, folder, verify=False, plan=plan)


def names(folder: Path, model: str = NAME) -> list[str]:
    return [variant.name for variant in read_index(folder)[model].all_variants]


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# what is made


def test_every_variant_is_listed_and_there(made: Artefact) -> None:
    folder = made.path.parent
    assert made.refused == ()
    assert names(folder) == V3_NAMES
    entry = read_index(folder)[NAME]
    assert entry.file == "identification_v3.onnx"
    assert entry.precision == "fp32"
    listed = {"index.json"}
    for variant in entry.all_variants:
        path = folder / variant.file
        assert sha256(path) == variant.sha256
        assert path.stat().st_size == variant.bytes
        listed |= {variant.file, variant.certificate}
        certificate = json.loads((folder / variant.certificate).read_text())
        assert (certificate["file"], certificate["sha256"]) == (variant.file, variant.sha256)
        assert certificate["precision"] == variant.precision
        assert ("calibration" in certificate) == (variant.precision == "int8")
        assert certificate["record"]["rows"] == 4
    assert files(folder) == listed


def test_which_one_a_machine_runs(made: Artefact) -> None:
    model = find_model(NAME, models=made.path.parent)
    for machine, suffix in ((X86, "_x86"), (ARM, "")):
        for precision in ALL:
            found = model.choose(precision, machine=machine).variant.name
            assert found == precision + suffix


def test_variants_are_one_model(made: Artefact) -> None:
    """One fingerprint and one spec, so that embeddings of one can be compared with another's."""
    folder = made.path.parent
    specs: list[ModelSpec] = []
    for variant in read_index(folder)[NAME].all_variants:
        specs.append(Session(folder / variant.file).spec)
    assert {spec.fingerprint for spec in specs} == {specs[0].fingerprint}
    assert all(spec == specs[0] for spec in specs)
    exact = load_embedder(NAME, models=folder)
    crop = make_probes(2, 112, 112, 3, 5)[1]
    for precision, smallest in (("fp16", 0.9999), ("int8", 0.99)):
        rounded = load_embedder(NAME, models=folder, precision=precision)
        assert rounded.identity == exact.identity
        cosine = float((exact.embed(crop)[0] * rounded.embed(crop)[0]).sum())
        print(f"{precision}: cosine {cosine:.6f}")
        assert cosine >= smallest


def test_calibration_and_comparison_are_on_different_pictures(made: Artefact, faces: Path) -> None:
    samples = read_samples(faces)
    path = made.path.parent / f"{NAME}.int8.certificate.json"
    certificate = json.loads(path.read_text())
    assert certificate["calibration"]["pictures"] == samples.calibration.to_dict()
    compared = certificate["verification_fp32"]
    assert compared["inputs"] == samples.evaluation.to_dict()
    assert compared["rows"] == len(samples.evaluation.paths) == 10
    assert compared["mean_cosine"] >= compared["bounds"]["mean_cosine"] == 0.999
    assert certificate["calibration"]["layers"] == 1
    assert "conv1" in certificate["calibration"]["float32_layers"]


def test_the_records_replay(made: Artefact) -> None:
    verdicts = certify(list_models(made.path.parent), X86)
    assert [verdict.state for verdict in verdicts] == [HELD] * 6


@pytest.mark.needs_mxnet
def test_every_variant_is_compared_with_the_oracle(
    random_source: Path, recipe: Recipe, plan: Plan, tmp_path: Path
) -> None:
    convert(recipe, DirectorySource(random_source), tmp_path, plan=plan)
    assert names(tmp_path) == V3_NAMES
    for variant in read_index(tmp_path)[NAME].all_variants:
        certificate = json.loads((tmp_path / variant.certificate).read_text())
        found = certificate["verification"]
        print(f"{variant.name}: {found['max_abs_error']:.2g} of {found['scale']:.3g}")
        assert found["oracle"].startswith("MXNet")
        assert found["min_cosine"] > (0.98 if variant.precision == "int8" else 0.9999)
        assert (found["bounds"] is None) == (variant.precision == "int8")
        assert ("verification_float32" in certificate) == (variant.precision != "fp32")


def test_integer_layers_are_not_made_twice(
    random_source: Path, random_recipe: RandomRecipe, plan: Plan, tmp_path: Path
) -> None:
    """A network without PReLU is quantised in its convolutions, which know no blocks."""
    recipe = random_recipe(1)
    loose = {**recipe.bounds, "int8": Bounds(2.0, -1.0)}
    recipe = dataclasses.replace(recipe, bounds=loose)
    wanted = dataclasses.replace(plan, precisions=("int8",))
    made = convert(recipe, DirectorySource(random_source), tmp_path, verify=False, plan=wanted)
    assert [variant.name for variant in made.variants] == ["int8"]
    assert all(refused.expected for refused in made.refused)
    certificate = json.loads((tmp_path / made.variants[0].certificate).read_text())
    assert certificate["calibration"]["float32_layers"] == ["conv1"]
    assert certificate["calibration"]["layers"] == 37


def test_a_model_whose_own_file_is_rounded(
    random_source: Path, recipe: Recipe, plan: Plan, tmp_path: Path, capsys: Output
) -> None:
    """Then fp32 is the variant, and the default is what the recipe stores."""
    own = dataclasses.replace(recipe, weights="float16")
    source = str(random_source)
    convert_recipes([own], tmp_path, location=source, complete=True, verify=False, plan=plan)
    entry = read_index(tmp_path)[NAME]
    assert entry.precision == "fp16"
    assert names(tmp_path) == ["fp32_x86", "fp32", "fp16_x86", "int8_x86", "int8", "fp16"]
    model = find_model(NAME, models=tmp_path)
    assert model.choose(machine=ARM).path == model.path
    assert model.choose("fp32", machine=ARM).path.stat().st_size > 1.8 * entry.bytes
    out = capsys.readouterr().out
    assert "\n  fp32: 2.2" in out or "\n  fp32: 2.1" in out


# what is not made


def test_a_variant_that_misses_its_bounds_is_not_written(
    random_source: Path, recipe: Recipe, plan: Plan, tmp_path: Path
) -> None:
    strict = {**recipe.bounds, "int8": Bounds(3.0, 0.99, 0.99999999)}
    recipe = dataclasses.replace(recipe, bounds=strict)
    made = convert(recipe, DirectorySource(random_source), tmp_path, verify=False, plan=plan)
    assert names(tmp_path) == ["fp32_x86", "fp16_x86", "fp16", "fp32"]
    assert not [name for name in files(tmp_path) if "int8" in name]
    assert [refused.name for refused in made.refused] == ["int8_x86", "int8"]
    for refused in made.refused:
        assert "differs from the model in fp32" in refused.reason
        assert "mean cosine" in refused.reason
        assert not refused.expected


def test_without_pictures_there_is_no_int8(
    random_source: Path, recipe: Recipe, tmp_path: Path
) -> None:
    wanted = Plan(ALL)
    made = convert(recipe, DirectorySource(random_source), tmp_path, verify=False, plan=wanted)
    assert names(tmp_path) == ["fp16", "fp32"]
    assert [(r.name, r.expected) for r in made.refused] == [("int8", False)]
    assert "--calibrate DIR" in made.refused[0].reason


def test_a_recipe_without_bounds_has_no_such_variant(
    random_source: Path, recipe: Recipe, plan: Plan, tmp_path: Path
) -> None:
    recipe = dataclasses.replace(recipe, bounds={"float32": recipe.bounds["float32"]})
    made = convert(recipe, DirectorySource(random_source), tmp_path, verify=False, plan=plan)
    assert names(tmp_path) == ["fp32_x86", "fp32"]
    assert {refused.reason for refused in made.refused} == {
        "the recipe has no bounds for float16",
        "the recipe has no bounds for int8",
    }


def test_without_a_plan_there_is_one_file(
    random_source: Path, recipe: Recipe, tmp_path: Path
) -> None:
    convert(recipe, DirectorySource(random_source), tmp_path, verify=False)
    assert names(tmp_path) == ["fp32"]
    certificate = f"{NAME}.certificate.json"
    assert files(tmp_path) == {"index.json", f"{NAME}.onnx", certificate}


# a folder that has variants already


def test_variants_stay_while_the_model_is_the_same(
    random_source: Path, recipe: Recipe, plan: Plan, tmp_path: Path
) -> None:
    source = DirectorySource(random_source)
    convert(recipe, source, tmp_path, verify=False, plan=Plan(("int8",), BOTH, plan.faces))
    assert names(tmp_path) == ["int8_x86", "int8", "fp32"]
    convert(recipe, source, tmp_path, verify=False, plan=Plan(("fp32", "fp16"), BOTH))
    assert names(tmp_path) == V3_NAMES
    other = dataclasses.replace(recipe, opset=18)
    convert(other, source, tmp_path, verify=False, plan=Plan(("fp16",)))
    assert names(tmp_path) == ["fp16", "fp32"]
    assert {name for name in files(tmp_path) if name.endswith(".onnx")} == {
        f"{NAME}.onnx",
        f"{NAME}.fp16.onnx",
    }
    assert len(files(tmp_path)) == 5


# pictures


def test_pictures_are_parted_once(tmp_path: Path) -> None:
    folder = invented_faces(tmp_path / "a", 30)
    (folder / "again.png").write_bytes((folder / "003.png").read_bytes())
    (folder / "notes.txt").write_text("no picture")
    deep = folder / "z"
    deep.mkdir()
    (folder / "029.png").rename(deep / "0.png")
    samples = read_samples(folder)
    first, second = samples.calibration, samples.evaluation
    assert (len(first.paths), len(second.paths)) == (20, 10)
    assert [path.name for path in first.paths] == [f"{number:03d}.png" for number in range(20)]
    assert second.paths[-1] == deep / "0.png"
    contents = {sha256(path) for path in (*first.paths, *second.paths)}
    assert len(contents) == 30


def test_the_hash_is_of_the_contents(tmp_path: Path) -> None:
    first, second = (invented_faces(tmp_path / name, 24) for name in "ab")
    for path in sorted(second.iterdir()):
        path.rename(path.with_name(f"face{path.name}"))
    assert read_samples(first).calibration.sha256 == read_samples(second).calibration.sha256
    other = invented_faces(tmp_path / "c", 24, seed=1)
    assert read_samples(first).calibration.sha256 != read_samples(other).calibration.sha256


def test_folders_that_cannot_calibrate(tmp_path: Path) -> None:
    for folder in (tmp_path / "absent", invented_faces(tmp_path / "few", 23)):
        with pytest.raises(ConversionError, match="calibration images, at least 24") as caught:
            read_samples(folder)
        assert caught.value.where == str(folder)


def test_a_damaged_picture_is_named(random_source: Path, recipe: Recipe, tmp_path: Path) -> None:
    folder = invented_faces(tmp_path / "faces", 30)
    (folder / "004.png").write_bytes(b"no picture")
    wanted = Plan(("int8",), faces=read_samples(folder))
    with pytest.raises(ImageError) as caught:
        convert(
            recipe,
            DirectorySource(random_source),
            tmp_path / "models",
            verify=False,
            plan=wanted,
        )
    assert caught.value.where == str(folder / "004.png")
    assert not list((tmp_path / "models").iterdir())


def test_models_that_take_no_pictures(faces: Path) -> None:
    pictures = read_samples(faces).calibration
    with pytest.raises(SpecError, match="not fed with images alone"):
        next(iter(pictures.feeds(load_recipe("landmark_dlib5").spec)))


# the command


def test_int8_needs_pictures(tmp_path: Path, capsys: Output) -> None:
    command = ["all", "--source", str(tmp_path), "--output", str(tmp_path / "m")]
    assert main([*command, "--precision", "int8"]) == 2
    assert "int8 needs calibration images; pass --calibrate DIR" in capsys.readouterr().err
    assert main([*command, "--calibrate", str(tmp_path)]) == 2
    assert "0 calibration images" in capsys.readouterr().err
    assert not (tmp_path / "m").exists()


@pytest.mark.needs_source
def test_the_command_says_what_it_makes(
    source: Path, faces: Path, tmp_path: Path, capsys: Output
) -> None:
    command = ["all", "--source", str(source), "--output", str(tmp_path), "--no-verify"]
    command += ["--only", NAME, "pose_emnme"]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert out.count("int8 not built: no calibration images; pass --calibrate DIR") == 1
    assert out.count("int8_x86 not built: no calibration images") == 1
    assert names(tmp_path) == ["fp32_x86", "fp16_x86", "fp16", "fp32"]
    assert main([*command, "--precision", "int8", "--calibrate", str(faces), "--ort"]) == 0
    out = capsys.readouterr().out
    assert "  int8: 0.6" in out
    assert "compared with fp32 on 10 other images: max abs error" in out
    assert "not built" not in out
    assert f"written: {tmp_path / 'ort' / f'{NAME}.int8.ort'}" in out
    assert names(tmp_path) == V3_NAMES
    assert names(tmp_path, "pose_emnme") == ["fp32"]


# for minimal builds


def test_ort_files_give_what_their_models_give(made: Artefact, tmp_path: Path) -> None:
    folder = made.path.parent
    written = write_ort(folder, [read_index(folder)[NAME]])
    try:
        assert [path.name for path in written] == [
            f"{NAME}.ort",
            f"{NAME}.int8.ort",
            OPERATORS_FILE,
        ]
        crops = make_probes(4, 112, 112, 3, 9)
        for path, precision in zip(written[:2], ("fp32", "int8"), strict=True):
            variant = precision  # for any machine, as the file is
            expected = load_embedder(NAME, models=folder, variant=variant).embed(crops)
            found = load_embedder(str(path)).embed(crops)
            error = float(np.abs(found - expected).max())
            print(f"{path.name}: largest difference {error:.2g}")
            assert error <= 1e-6
        lines = written[2].read_text().splitlines()
        assert lines[0].startswith("#")
        operators = {name for line in lines[1:] for name in line.split(";")[2].split(",")}
        assert operators >= {"Gemm", "PRelu", "QGemm", "QuantizeLinear"}
    finally:
        for path in written:
            path.unlink()
        written[0].parent.rmdir()


def test_no_network_no_ort_file(made: Artefact, tmp_path: Path) -> None:
    entry = dataclasses.replace(read_index(made.path.parent)[NAME], file="x.json", variants=())
    with pytest.raises(ConversionError, match="none of the models is a network"):
        write_ort(tmp_path, [entry])
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    entry = dataclasses.replace(entry, file="broken.onnx")
    with pytest.raises(ConversionError, match="cannot be converted to"):
        write_ort(tmp_path, [entry])

"""The same networks with random weights: every test means something without the real files."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mobileface.errors import ParityError, SourceIntegrityError
from mobileface.models.index import read_index
from mobileface.models.session import Session
from mobileface_convert import makers
from mobileface_convert.build.pipeline import convert
from mobileface_convert.frontends.mxnet_checkpoint import load_checkpoint
from mobileface_convert.frontends.mxnet_symbol import load_symbol
from mobileface_convert.graph.source_graph import Graph
from mobileface_convert.oracles.mxnet_oracle import MXNetReference
from mobileface_convert.oracles.verify import compare_outputs, probe_tensor, run_batches
from mobileface_convert.recipes.recipe import Recipe, load_recipe
from mobileface_convert.sources.files import DirectorySource

GOLDEN = Path(__file__).parents[1] / "golden"
VERSIONS = (1, 2, 3)
# V3's random activations grow: its outputs reach 120, ten times the published model's.
MAX_ABS_ERROR = {1: 3e-6, 2: 5e-5, 3: 2e-4}


def files_of(recipe: Recipe, root: Path) -> tuple[Path, Path]:
    return root / recipe.files["symbol"].path, root / recipe.files["params"].path


def outputs(graph: Graph) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in graph.weights.items()}


@pytest.mark.parametrize("version", VERSIONS)
def test_equals_recorded_outputs(
    version: int, random_source: Path, random_recipe: Callable[[int], Recipe], tmp_path: Path
) -> None:
    recipe = random_recipe(version)
    made = convert(recipe, DirectorySource(random_source), tmp_path, verify=False)
    with np.load(GOLDEN / f"random_v{version}.npz", allow_pickle=False) as golden:
        expected, oracle = golden["outputs"], str(golden["oracle"])
    tensor = probe_tensor(recipe.spec.input)
    for batch in (1, 8):
        found = run_batches(Session(made.path), tensor, batch)
        agreement = compare_outputs(found, expected, oracle)
        print(f"V{version}, batch {batch}: {agreement}")
        assert agreement.max_abs_error <= MAX_ABS_ERROR[version]
        assert agreement.min_cosine >= 0.9999999


@pytest.mark.needs_mxnet
@pytest.mark.parametrize("version", VERSIONS)
def test_recorded_outputs_are_mxnets(
    version: int, random_source: Path, random_recipe: Callable[[int], Recipe]
) -> None:
    """The recording is what MXNet gives today, on this machine."""
    recipe = random_recipe(version)
    reference = MXNetReference(*files_of(recipe, random_source))
    found = reference.run({"data": probe_tensor(recipe.spec.input)})[0]
    with np.load(GOLDEN / f"random_v{version}.npz", allow_pickle=False) as golden:
        agreement = compare_outputs(found, golden["outputs"], "recorded")
    print(agreement)
    assert agreement.max_abs_error <= MAX_ABS_ERROR[version]


@pytest.mark.needs_source
@pytest.mark.parametrize("version", VERSIONS)
def test_same_networks_as_published(
    version: int, source: Path, random_source: Path, random_recipe: Callable[[int], Recipe]
) -> None:
    """The random networks have the operators, attributes and array shapes of the real ones."""
    recipe = random_recipe(version)
    ours = load_checkpoint(*files_of(recipe, random_source))
    real = load_checkpoint(*files_of(recipe, source))

    def skeleton(graph: Graph) -> list[tuple[str, str]]:
        trivial = ("workspace", "num_group", "pad", "stride")  # stated or not, the default holds
        return [
            (node.op, json.dumps({k: v for k, v in sorted(node.attrs.items()) if k not in trivial}))
            for node in graph.operators
        ]

    assert Counter(skeleton(ours)) == Counter(skeleton(real))
    assert Counter(outputs(ours).values()) == Counter(outputs(real).values())


def test_a_model_beyond_its_bounds_is_not_written(
    random_source: Path,
    random_recipe: Callable[[int], Recipe],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The recorded outputs of the published model refuse the random one; nothing is left behind."""
    monkeypatch.setattr(makers.mxnet, "mxnet_is_installed", lambda: False)
    with pytest.raises(ParityError, match=r"identification_v3.*differs.*max abs error"):
        convert(random_recipe(3), DirectorySource(random_source), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_certificate_tells_the_whole_story(
    random_source: Path, random_recipe: Callable[[int], Recipe], tmp_path: Path
) -> None:
    recipe = random_recipe(2)
    made = convert(recipe, DirectorySource(random_source), tmp_path, verify=False)
    entry = read_index(tmp_path)[recipe.name]
    document = json.loads((tmp_path / entry.certificate).read_text())
    assert document["sha256"] == entry.sha256
    assert document["nodes"] == made.nodes == 73
    assert document["verification"] is None
    changed = {record["name"]: record["changed"] for record in document["passes"]}
    none = dict.fromkeys(
        (
            "prune",
            "drop_copies",
            "fuse_repeat",
            "read_shapes",
            "drop_identity",
            "use_gemm",
            "interleave",
            "dead_channels",
            "zero_weights",
        ),
        0,
    )
    assert changed == {**none, "fold_scale": 1, "fold_batchnorm": 38, "fuse_clip": 25}
    assert [f["git_blob_sha1"] for f in document["source"]["files"]] == [
        file["git_blob_sha1"] for file in recipe.spec.to_dict()["source"]["files"]
    ]


def test_foreign_files_are_refused(random_source: Path, tmp_path: Path) -> None:
    """The real recipe does not take the random files for the real ones."""
    with pytest.raises(SourceIntegrityError, match="MobileFace_Identification_V1"):
        convert(load_recipe("identification_v1"), DirectorySource(random_source), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_symbol_dialects(random_source: Path, random_recipe: Callable[[int], Recipe]) -> None:
    """V1 is written as MXNet 0.9 would; reading it needs no weights."""
    symbol, _ = files_of(random_recipe(1), random_source)
    assert '"attr"' in symbol.read_text()
    graph = load_symbol(symbol)
    assert len(graph.operators) == 135
    assert len(graph.auxiliary) == 74

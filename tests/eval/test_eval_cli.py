"""The commands end to end: their four output files, their numbers, and their errors."""

from __future__ import annotations

import importlib.util
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from sklearn import metrics

from mobileface.commands.main import main as run_mobileface
from mobileface.matching.calibration import Calibration
from mobileface.matching.embeddings import EmbeddingSet
from mobileface_eval.commands.main import main

Run = Callable[..., dict[str, Any]]


def call(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


@pytest.fixture
def run(tmp_path: Path, models: Path) -> Run:
    """Runs a command with the tiny models, checks its files and returns its numbers."""

    def run_command(command: str, *arguments: object, common: bool = True) -> dict[str, Any]:
        output = tmp_path / "out"
        options = ("--models", models, *(("--crops",) if common else ()))
        assert call(command, *arguments, *options, "--output", output) == 0
        assert sorted(path.suffix for path in output.glob(f"{command}.*")) == [
            ".json",
            ".md",
            ".png",
            ".svg",
        ]
        image = cv2.imread(str(output / f"{command}.png"))
        assert min(image.shape[:2]) > 300
        assert image.std() > 5
        assert "<svg" in (output / f"{command}.svg").read_text()
        assert f"![{command}]({command}.svg)" in (output / f"{command}.md").read_text()
        numbers: dict[str, Any] = json.loads((output / f"{command}.json").read_text())
        assert (numbers["schema"], numbers["command"]) == (1, command)
        return numbers

    return run_command


def test_roc_compares_models(
    run: Run, people: Path, models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = shutil.copy(models / "tiny_color.onnx", tmp_path / "other.onnx")
    numbers = run("roc", people, "--embedder", "tiny_color", other)
    assert [model["name"] for model in numbers["models"]] == ["tiny_color", "other"]
    assert numbers["data"]["genuine_pairs"] == 36
    assert numbers["data"]["impostor_pairs"] == 36 * 35 // 2 - 36
    assert "| other | " in capsys.readouterr().out
    assert all(0.5 < model["auc"] <= 1 for model in numbers["models"])


def test_tsne_is_seeded(run: Run, people: Path) -> None:
    options = ("--embedder", "tiny_color", "--people", 4, "--seed")
    runs = [run("tsne", people, *options, seed)["points"] for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]
    assert len(runs[0]) == 12


def test_confusion(run: Run, people: Path) -> None:
    numbers = run("confusion", people, "--embedder", "tiny_color")
    means = np.array(numbers["mean_similarity"])
    assert means.shape == (12, 12)
    assert np.abs(means - means.T).max() <= 1e-6
    assert np.diag(means).mean() > means[~np.eye(12, dtype=bool)].mean()
    wrong = len(numbers["confused"])
    assert numbers["rank1_accuracy"] == pytest.approx(1 - wrong / 36, abs=1e-12)


def test_confusion_with_people_with_one_image_each(run: Run, people: Path) -> None:
    for path in people.glob("*/*_000[23].png"):
        if path.parent.name > "person05":
            path.unlink()
    numbers = run("confusion", people, "--embedder", "tiny_color")
    assert [row[n] is None for n, row in enumerate(numbers["mean_similarity"])] == [False] * 6 + [
        True
    ] * 6


def lfw_bin(path: Path, synthetic: dict[str, list[bytes]]) -> list[bool]:
    """Writes 20 genuine and 20 impostor pairs in the format of lfw.bin."""
    names = sorted(synthetic)
    contents, same = [], []
    for number in range(20):
        a, b = synthetic[names[number % 12]], synthetic[names[(number + 1) % 12]]
        contents += [a[0], a[1 + number // 12], a[0], b[number // 12]]
        same += [True, False]
    path.write_bytes(pickle.dumps((contents, same), 4))
    return same


def test_lfw_bin(run: Run, tmp_path: Path, synthetic: dict[str, list[bytes]]) -> None:
    lfw_bin(tmp_path / "lfw.bin", synthetic)
    numbers = run("lfw", "--data", tmp_path / "lfw.bin", "--embedder", "tiny_color")
    assert (numbers["data"]["pairs"], numbers["flip"]) == (40, True)
    assert len(numbers["models"][0]["fold_accuracies"]) == 10
    assert 0.5 <= numbers["models"][0]["accuracy"] <= 1


def test_lfw_pairs_file_and_bin_file_agree(
    run: Run, people: Path, tmp_path: Path, synthetic: dict[str, list[bytes]]
) -> None:
    lfw_bin(tmp_path / "lfw.bin", synthetic)
    lines = ["10\t2"]
    for number in range(20):
        a, b = f"person{number % 12:02d}", f"person{(number + 1) % 12:02d}"
        lines += [f"{a}\t1\t{2 + number // 12}", f"{a}\t1\t{b}\t{1 + number // 12}"]
    (people / "pairs.txt").write_text("\n".join(lines))
    options = ("--embedder", "tiny_color", "--no-flip")
    one = run("lfw", "--data", tmp_path / "lfw.bin", *options)["models"]
    other = run("lfw", "--data", people, *options)["models"]
    assert one == other


@pytest.mark.slow
def test_megaface_from_images_and_from_embeddings(run: Run, people: Path, tmp_path: Path) -> None:
    strangers = tmp_path / "strangers"
    strangers.mkdir()
    random = np.random.default_rng(5)
    for number in range(40):
        pixels = random.integers(0, 256, (24, 24, 3)).astype(np.uint8)
        (strangers / f"{number}.png").write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    options = ("--embedder", "tiny_color")
    one = run("megaface", "--probes", people, "--distractors", strangers, *options)
    assert one["distractors"]["count"] == 40
    assert list(one["rank1"]) == ["10", "40"]
    models = Path(__file__).resolve().parents[1] / "models"
    for name, folder in (("probes", people), ("strangers", strangers)):
        target = tmp_path / f"{name}.npz"
        arguments = ["embed", folder, "--crops", "--models", models, "--output", target]
        assert run_mobileface([*map(str, arguments), "--embedder", "tiny_color"]) == 0
    npz = tmp_path / "probes.npz", tmp_path / "strangers.npz"
    other = run("megaface", "--probes", npz[0], "--distractors", npz[1])
    np.save(tmp_path / "strangers.npy", EmbeddingSet.load(npz[1]).embeddings)
    third = run("megaface", "--probes", npz[0], "--distractors", tmp_path / "strangers.npy")
    for again in (other, third):
        assert again["cmc"] == one["cmc"]
        assert again["rank1"]["40"] == one["rank1"]["40"]


def test_calibrate(
    run: Run, people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models = Path(__file__).resolve().parents[1] / "models"
    numbers = run("calibrate", "--folder", people, "--embedder", "tiny_color", "--name", "patterns")
    found = Calibration.load(tmp_path / "out" / "tiny_color.calibration.json")
    assert numbers["calibration"] == found.to_dict()
    assert (found.basis.data, found.basis.identities, found.basis.faces) == ("patterns", 12, 36)
    roc = run("roc", people, "--embedder", "tiny_color")
    rate = max(found.lowest_false_match_rate, 0.1)
    threshold = found.threshold(rate)
    assert found.false_non_match_rate(threshold).value <= 1
    assert roc["data"]["impostor_pairs"] == found.basis.impostor_pairs
    pairs = people / "pairs.txt"
    names = [f"person{n:02d}" for n in range(12)]
    lines = [f"{a} 1 2" for a in names]
    lines += [f"{a} 1 {b} 2" for a in names for b in names if a != b]
    pairs.write_text("\n".join(lines))
    listed = run("calibrate", "--pairs", pairs, "--embedder", "tiny_color")["calibration"]["basis"]
    assert (listed["genuine_pairs"], listed["impostor_pairs"]) == (12, 132)
    capsys.readouterr()
    assert call("calibrate", "--models", models) == 2
    assert "pass --folder or --pairs" in capsys.readouterr().err


@pytest.mark.slow
def test_every_rate_has_an_interval_or_a_reason(
    run: Run, people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--embedder", "tiny_color")
    [roc] = run("roc", people, *options)["models"]
    [lfw] = run("lfw", "--data", people, "--make-pairs", 3, "--folds", 4, *options)["models"]
    both = [(found, name) for found in (roc, lfw) for name in ("auc", "eer")]
    both += [(roc, "balanced_accuracy"), (lfw, "accuracy")]
    both += [(run("confusion", people, *options), "rank1_accuracy")]
    both += [(run("tsne", people, *options), "nearest_is_same_person")]
    for found, name in both:
        low, high = found[f"{name}_interval"]
        assert 0 <= low <= found[name] <= high <= 1
        assert low < high
    assert lfw["val"] is lfw["far"] is lfw["val_interval"] is None
    assert lfw["not_supported"] == {"val": "not supported by 36 impostor pairs"}
    for rate, value in roc["true_match_at"].items():
        assert (value is None) == (rate in roc["not_supported"])
        assert (value is None) != (rate in roc["true_match_intervals"])
    assert roc["true_match_at"]["0.001"] is None
    place = tmp_path / "others"
    shutil.copytree(people / "person00", place)
    megaface = run("megaface", "--probes", people, "--distractors", place, *options)
    for name in ("cmc", "rank1"):
        for key, (low, high) in megaface[f"{name}_intervals"].items():
            assert low <= megaface[name][key] <= high
    assert set(megaface["true_accept_at"]) == set(megaface["not_supported"])
    assert set(megaface["true_accept_at"].values()) == {None}
    assert "not supported by 108 pairs of probe and distractor" in capsys.readouterr().out


def test_speed(run: Run) -> None:
    models = ("--embedder", "tiny_color", "tiny_gray")
    numbers = run("speed", *models, "--runs", 3, "--batch", 2, "--threads", 1, common=False)
    assert [model["name"] for model in numbers["models"]] == ["tiny_color", "tiny_gray"]
    for model in numbers["models"]:
        low, high = model["quartiles_ms"]
        assert 0 < low <= model["median_ms"] <= high


@pytest.mark.needs_source
def test_the_published_pairs(run: Run, source: Path, tmp_path: Path) -> None:
    """LFW-Aligned-100Pair with the converted V1 agrees with upstream's published embeddings."""
    from mobileface_convert.build.pipeline import convert
    from mobileface_convert.recipes.recipe import load_recipe
    from mobileface_convert.sources.files import DirectorySource

    place = tmp_path / "converted"
    convert(load_recipe("identification_v1"), DirectorySource(source), place, verify=False)
    data = source / "data" / "LFW-Aligned-100Pair"
    numbers = run("roc", data, "--embedder", place / "identification_v1.onnx")
    [found] = numbers["models"]
    published = np.loadtxt(source / "tool" / "tSNE" / "feature_LFW-Aligned-100Pair.txt")
    published /= np.linalg.norm(published, axis=1, keepdims=True)
    first, second = np.triu_indices(200, 1)
    similarity = (published[first] * published[second]).sum(axis=1)
    same = first // 2 == second // 2
    print({name: found[name] for name in ("genuine_mean", "impostor_mean", "auc")})
    assert found["genuine_mean"] == pytest.approx(0.6034, abs=5e-4)
    assert found["impostor_mean"] == pytest.approx(0.1753, abs=5e-4)
    assert found["auc"] == pytest.approx(0.936, abs=1e-3)
    assert found["balanced_accuracy"] == pytest.approx(0.869, abs=5e-3)
    assert found["genuine_mean"] == pytest.approx(similarity[same].mean(), abs=1e-4)
    assert found["impostor_mean"] == pytest.approx(similarity[~same].mean(), abs=1e-4)
    assert found["auc"] == pytest.approx(metrics.roc_auc_score(same, similarity), abs=1e-4)


@pytest.mark.needs_source
def test_variants_are_compared_in_one_table(source: Path, tmp_path: Path) -> None:
    """V1's fp32 and fp16 variants, selected by name, each use their own file."""
    from mobileface_convert.build.pipeline import convert
    from mobileface_convert.build.variants import Plan
    from mobileface_convert.recipes.recipe import load_recipe
    from mobileface_convert.sources.files import DirectorySource

    place, output = tmp_path / "converted", tmp_path / "out"
    recipe = load_recipe("identification_v1")
    convert(recipe, DirectorySource(source), place, plan=Plan(precisions=("fp16",)))
    data = source / "data" / "LFW-Aligned-100Pair"
    names = ("identification_v1", "identification_v1:fp16")
    options = ("--models", place, "--crops", "--no-cache", "--people", 20, "--output", output)
    assert call("roc", data, "--embedder", *names, *options) == 0
    exact, rounded = json.loads((output / "roc.json").read_text())["models"]
    print(exact["genuine_mean"], rounded["genuine_mean"])
    assert [exact["name"], rounded["name"]] == list(names)
    assert exact["genuine_mean"] != rounded["genuine_mean"]
    assert exact["genuine_mean"] == pytest.approx(rounded["genuine_mean"], abs=1e-4)


def test_no_such_variant(models: Path, people: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--models", models, "--crops", "--no-cache")
    assert call("roc", people, "--embedder", "tiny_color:int8", *options) == 2
    assert "available: " in capsys.readouterr().err


# errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("roc", "absent"), "no such folder"),
        (("roc", "people", "--embedder", "tiny_color", "tiny_color"), "listed twice"),
        (("roc", "people", "--embedder", "nothing"), "no model 'nothing'"),
        (("roc", "people", "--people", "1"), "no impostor pairs"),
        (("lfw", "--data", "absent.bin"), "cannot be read"),
        (("lfw", "--data", "people"), "has no pairs.txt; pass .* --make-pairs SEED"),
        (("lfw", "--data", "people", "--pairs", "absent.txt"), "absent.txt: cannot be read"),
        (("lfw", "--data", "people", "--folds", "1"), "--folds must be at least 2, not 1"),
        (("lfw", "--data", "bad.npz"), "not a pickle|not allowed"),
        (("tsne", "people", "--perplexity", "99"), "must be between 0 and 36"),
        (("tsne", "people", "--people", "1"), "at least 4 images, not 3"),
        (("megaface", "--probes", "people", "--distractors", "absent"), "no such folder or file"),
        (("megaface", "--probes", "bad.npz", "--distractors", "people"), "not an embeddings file"),
        (("megaface", "--probes", "people", "--distractors", "bad.npy"), "not a .npy matrix"),
        (
            ("megaface", "--probes", "people", "--distractors", "long.npy"),
            "row 1 has length 3, not",
        ),
        (("calibrate", "--folder", "bad.npz"), "not an embeddings file"),
        (("calibrate", "--folder", "nan.npz"), "no embeddings|not finite"),
        (("roc", "long.npz"), "row 0 has length 2, not 1"),
    ],
)
def test_errors(
    arguments: tuple[str, ...],
    message: str,
    people: Path,
    models: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import re

    monkeypatch.chdir(people.parent)
    for name in ("bad.npz", "bad.npy"):
        Path(name).write_bytes(b"nothing of the kind")
    vectors = np.full((2, 4), np.nan, np.float32)
    EmbeddingSet("net@0", vectors, ("a/1.png", "b/1.png")).save(Path("nan.npz"))
    np.save("long.npy", np.diag([1, 3]).astype(np.float32))
    EmbeddingSet("net@0", np.ones((2, 4), np.float32), ("a/1", "b/1")).save(Path("long.npz"))
    assert call(*arguments, "--models", models, "--crops") == 2
    out, err = capsys.readouterr()
    assert re.search(message, err)
    assert err.startswith("mobileface-eval: error: ")
    assert err.count("\n") == 1
    assert not Path("evaluation").exists()
    assert "written" not in out


def test_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    known = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "sklearn" else known(name)
    )
    assert call("roc", "x") == 2
    message = "scikit-learn not installed; install the extra with: pip install 'mobileface[eval]'"
    assert message in capsys.readouterr().err


def test_ray_is_named(
    people: Path, models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    known = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "ray" else known(name)
    )
    assert call("roc", people, "--models", models, "--crops", "--cluster") == 2
    assert "pip install 'mobileface[cluster]'" in capsys.readouterr().err

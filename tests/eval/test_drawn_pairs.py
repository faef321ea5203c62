"""Pairs that are drawn for the LFW protocol: disjoint folds, seeded, written, stated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobileface.errors import InputError
from mobileface_eval.commands.main import main
from mobileface_eval.datasets.drawn_pairs import draw_pairs
from mobileface_eval.datasets.face_sets import FaceImage, FaceSet, read_folder, read_pairs


def invented(counts: list[int]) -> FaceSet:
    names = [f"p{person:03d}" for person, count in enumerate(counts) for _ in range(count)]
    images = tuple(FaceImage(f"{name}/{number}.png") for number, name in enumerate(names))
    return FaceSet("invented", images, tuple(names))


@pytest.mark.parametrize("seed", range(4))
def test_folds_share_nobody(seed: int) -> None:
    random = np.random.default_rng(seed)
    given = invented([*random.integers(2, 9, 60), *([1] * 50)])
    drawn = draw_pairs(given, 10, seed)
    pairs, same = drawn.set.pairs, drawn.set.same
    assert pairs is not None
    assert same is not None
    people = np.array(drawn.set.people)[pairs]
    assert ((people[:, 0] == people[:, 1]) == same).all()
    assert len(pairs) == 10 * 2 * drawn.each
    folds = np.array_split(np.arange(len(pairs)), 10)  # as scikit-learn's KFold splits them
    seen = [set(people[fold].ravel()) for fold in folds]
    assert all(not a & b for n, a in enumerate(seen) for b in seen[n + 1 :])
    assert all(same[fold].sum() * 2 == len(fold) for fold in folds)
    assert len(np.unique(np.sort(pairs, axis=1), axis=0)) == len(pairs)
    again, other = draw_pairs(given, 10, seed), draw_pairs(given, 10, seed + 1)
    assert again.set.pairs is not None
    assert np.array_equal(again.set.pairs, pairs)
    assert [i.name for i in other.set.images] != [i.name for i in drawn.set.images]


def test_large_sets_need_no_table_of_all_pairs() -> None:
    drawn = draw_pairs(invented([20_000, 20_000, *([3] * 30_000)]), 2, 0)
    assert drawn.each == 300


def test_too_few_people() -> None:
    with pytest.raises(InputError, match=r"12 people, 12 of them .* too few for 10 folds"):
        draw_pairs(invented([3] * 12), 10, 0)
    with pytest.raises(InputError, match=r"use at most --folds 6"):
        draw_pairs(invented([3] * 12), 10, 0)
    assert draw_pairs(invented([3] * 12), 6, 0).each == 6
    with pytest.raises(InputError, match="add images and people"):
        draw_pairs(invented([1] * 12), 2, 0)
    with pytest.raises(InputError, match="a seed of at least 0, not -1"):
        draw_pairs(invented([3] * 12), 2, -1)


def lfw(people: Path, models: Path, output: Path, *arguments: object) -> dict[str, Any]:
    options = ["--models", models, "--crops", "--embedder", "tiny_color", "--folds", 4]
    command = ["lfw", "--data", people, *options, "--output", output, *arguments]
    assert main([str(argument) for argument in command]) == 0
    numbers: dict[str, Any] = json.loads((output / "lfw.json").read_text())
    return numbers


def test_command(
    people: Path, models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The list that is written gives the same result with --pairs."""
    one = lfw(people, models, tmp_path / "a", "--make-pairs", 7)
    listed = tmp_path / "a" / "lfw_pairs.txt"
    assert one["data"]["made_pairs"] == {
        "seed": 7, "folds": 4, "each": 9, "file": str(listed)
    }  # fmt: skip
    assert one["data"]["pairs"] == 72
    assert "Pairs drawn at random with --make-pairs 7." in capsys.readouterr().out
    other = lfw(people, models, tmp_path / "b", "--pairs", listed)
    assert other["models"] == one["models"]
    assert "made_pairs" not in other["data"]
    assert lfw(people, models, tmp_path / "c", "--make-pairs", 8)["models"] != one["models"]
    assert len(read_folder(people).images) == 36


def test_any_file_of_a_folder_can_be_listed(people: Path) -> None:
    (people / "person00" / "x.tif").write_bytes(b"x")
    (people / "list.txt").write_text("person00/x.tif\tperson00/person00_0001.png\t1\n")
    assert read_pairs(people / "list.txt", people).images[0].name == "person00/x.tif"


def test_errors(people: Path, models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--models", str(models), "--crops", "--make-pairs", "1"]
    assert main(["lfw", "--data", str(people), "--pairs", str(people / "x.txt"), *options]) == 2
    assert "--make-pairs needs a folder as --data, and no --pairs" in capsys.readouterr().err
    assert main(["lfw", "--data", str(people), *options]) == 2
    assert "use at most --folds 6" in capsys.readouterr().err

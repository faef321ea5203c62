"""Models that are compared see the same images, each on its own crop."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mobileface import FaceAnalyzer, align, load_embedder, read_image
from mobileface.tasks.embedding import Embedder
from mobileface.vision.image import Image
from mobileface_eval.commands.comparison import on_common_images
from mobileface_eval.commands.main import main
from mobileface_eval.datasets.face_sets import FaceImage, FaceSet
from mobileface_eval.embedding import Embedded, FaceSource, SkippedImage
from tests.conftest import ROOT


def roc(folder: Path, output: Path, *arguments: object) -> dict[str, Any]:
    command = ["roc", folder, "--allow-missing", "--no-cache", "--output", output, *arguments]
    assert main([str(argument) for argument in command]) == 0
    numbers: dict[str, Any] = json.loads((output / "roc.json").read_text())
    return numbers


def embedded(model: str, numbers: list[int], skipped: list[int]) -> Embedded:
    images = tuple(FaceImage(f"{n // 2}/{n}.png") for n in numbers)
    people = tuple(str(n // 2) for n in numbers)
    vectors = np.array([[n, len(model)] for n in numbers], np.float32)
    left = tuple(SkippedImage(f"{n // 2}/{n}.png", "no face found") for n in skipped)
    return Embedded(model, FaceSet("invented", images, people), vectors, left)


def test_common_images() -> None:
    given = {"a": embedded("a", [0, 1, 2, 4, 5], [3]), "bb": embedded("bb", [1, 2, 3, 4], [0, 5])}
    found = on_common_images(given)
    for label, model in found.models.items():
        assert [image.name for image in model.set.images] == ["0/1.png", "1/2.png", "2/4.png"]
        assert model.vectors.tolist() == [[n, len(label)] for n in (1, 2, 4)]
        assert model.set.people == ("0", "1", "2")
    assert found.own == {"a": 5, "bb": 4}
    assert found.data()["pictures"] == 3
    assert found.data()["left_out"] == [
        {"picture": "0/0.png", "reason": "no face found", "models": ["bb"]},
        {"picture": "1/3.png", "reason": "no face found", "models": ["a"]},
        {"picture": "2/5.png", "reason": "no face found", "models": ["bb"]},
    ]
    assert "3 images left out for all models" in found.text()
    assert "(a 1, bb 2)" in found.text()


def test_every_row_counts_the_same_pairs(
    people: Path,
    models: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A model that misses faces gives the other model the row it has on the rest alone."""
    other = shutil.copy(models / "tiny_color.onnx", tmp_path / "other.onnx")
    usual = FaceSource._face
    blind = {f"person{n:02d}/person{n:02d}_0001.png" for n in (0, 3, 4, 7)}

    def face(self: FaceSource, face_image: FaceImage) -> Image | str:
        if self.label == "other" and face_image.name in blind:
            return "no face found"
        return usual(self, face_image)

    monkeypatch.setattr(FaceSource, "_face", face)
    options = ("--models", models, "--crops", "--embedder", "tiny_color")
    both = roc(people, tmp_path / "both", *options, other)
    assert (both["data"]["pictures"], both["data"]["genuine_pairs"]) == (32, 8 * 3 + 4)
    out = capsys.readouterr().out
    assert "4 images left out for all models" in out
    assert "(tiny_color 0, other 4)" in out
    for name in blind:
        (people / name).unlink()
    alone = roc(people, tmp_path / "alone", *options)
    wanted = {**alone["models"][0]}
    assert both["models"][0] == wanted
    assert {**both["models"][1], "name": "tiny_color"} == wanted
    assert both["data"]["impostor_pairs"] == alone["data"]["impostor_pairs"]


def test_each_model_gets_its_own_crop(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of photos, every model sees what `align` cuts for the crop in its spec, and nothing else."""
    photo = read_image(ROOT / "docs" / "astronaut.jpg")
    made = {"a/1": photo, "a/2": photo[:, ::-1], "b/1": photo // 2, "b/2": photo[:, ::-1] // 2}
    for name, pixels in made.items():
        path = tmp_path / "people" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(".png", np.ascontiguousarray(pixels))[1].tobytes())
    seen: dict[str, list[Image]] = {"tiny_color": [], "tiny_gray": []}
    usual = Embedder.embed

    def embed(self: Embedder, crops: Any, **options: Any) -> Any:
        seen[self.name] += list(crops)
        return usual(self, crops, **options)

    monkeypatch.setattr(Embedder, "embed", embed)
    roc(tmp_path / "people", tmp_path / "out", "--models", models, "--embedder", *seen)
    analyzer = FaceAnalyzer(models, ("detection", "landmarks"), crops=("arcface", "mobileface"))
    for name, crops in seen.items():
        embedder = load_embedder(name, models=models)
        size = (embedder.image.height, embedder.image.width)
        marks = [analyzer(np.ascontiguousarray(pixels))[0].landmarks for pixels in made.values()]
        wanted = [
            align(np.ascontiguousarray(pixels), found, crop=embedder.crop, size=size)
            for pixels, found in zip(made.values(), marks, strict=True)
            if found is not None
        ]
        plain = crops[: len(wanted)]
        error = max(
            int(np.abs(a.astype(int) - b).max()) for a, b in zip(plain, wanted, strict=True)
        )
        print(f"{name} ({embedder.crop}): largest difference {error} grey levels")
        assert error == 0
    assert len({crops[0].shape for crops in seen.values()}) == 2


@pytest.mark.parametrize("command", ["roc", "lfw"])
def test_one_crop_for_models_that_need_two_is_refused(
    command: str, people: Path, models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = [str(people)] if command == "roc" else ["--data", str(people), "--make-pairs", "0"]
    options = ["--folds", "4"] if command == "lfw" else []
    options += ["--models", str(models), "--crops", "--output", str(tmp_path / "out")]
    assert main([command, *place, *options, "--embedder", "tiny_color", "tiny_gray"]) == 2
    err = capsys.readouterr().err
    assert "'mobileface'" in err
    assert "'arcface'" in err
    assert "leave out --crops" in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()

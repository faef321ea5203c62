"""segmentation_selfie, converted here: against LiteRT, images of any size, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

import mobileface
from mobileface import PersonSegmenter, VideoReader
from mobileface.commands.main import main
from mobileface.errors import ImageError, InputError, ModelError, SpecError
from mobileface.models.kinds import PersonMaskSpec
from mobileface.models.kinds.person_mask import PERSON_MASK
from mobileface.vision.image import Image, resize
from mobileface.vision.picture_files import read_image
from mobileface_convert.commands.main import main as convert_main
from mobileface_convert.frontends.tflite import read_tflite
from mobileface_convert.makers.tflite import published_outputs, published_rows
from mobileface_convert.oracles.litert_oracle import LiteRTReference
from mobileface_convert.oracles.verify import read_golden
from mobileface_convert.recipes.recipe import load_recipe
from tests.conftest import ROOT, packaged
from tests.runtime.models.test_starter import no_users_models  # noqa: F401  (autouse)

pytestmark = pytest.mark.needs_mediapipe

NAME = "segmentation_selfie"
PUBLISHED = packaged("mediapipe/modules/selfie_segmentation/selfie_segmentation.tflite")
STARTER = ROOT / "models_onnx"

Output = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model, as the command makes it."""
    made = tmp_path_factory.mktemp("models")
    assert convert_main(["all", "--only", NAME, "--output", str(made)]) == 0
    return made


@pytest.fixture(scope="module")
def segmenter(folder: Path) -> PersonSegmenter:
    found = mobileface.load(NAME, models=folder, intra_op_num_threads=1)
    assert isinstance(found, PersonSegmenter)
    return found


@pytest.fixture(scope="module")
def image(portrait: Path) -> Image:
    return read_image(portrait)


@pytest.mark.slow
def test_the_portrait(segmenter: PersonSegmenter, image: Image) -> None:
    """Face and suit are in the mask, the flag, the wall and the model of the shuttle are not."""
    mask = segmenter(image)
    assert mask.shape == (512, 512)
    assert mask.dtype == np.float32
    assert 0 <= mask.min() <= mask.max() <= 1
    means = {
        "face": mask[70:170, 185:260].mean(),
        "suit": mask[250:400, 120:260].mean(),
        "wall": mask[0:120, 300:400].mean(),
        "shuttle": mask[20:250, 440:500].mean(),
    }
    print({name: round(float(value), 4) for name, value in means.items()})
    assert min(means["face"], means["suit"]) > 0.95
    assert max(means["wall"], means["shuttle"]) < 0.05


@pytest.mark.parametrize("size", [(512, 300), (64, 48), (1200, 1600), (1, 1), (3, 700)])
def test_any_size(segmenter: PersonSegmenter, image: Image, size: tuple[int, int]) -> None:
    """The mask of a scaled image is that of the network's own size, stretched by OpenCV."""
    scaled = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    mask = segmenter(scaled)
    assert mask.shape == scaled.shape[:2]
    shrinks = size[0] >= 256 and size[1] >= 256
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    small = np.asarray(cv2.resize(scaled, (256, 256), interpolation=method), np.uint8)
    fed = np.ascontiguousarray(small[None, :, :, ::-1])
    (raw,) = segmenter.session.run({"image": fed})["mask"]
    expected = cv2.resize(raw, size, interpolation=cv2.INTER_LINEAR)
    error = float(np.abs(mask - expected).max())
    print(f"{size}: {error:.1g}")
    assert error <= 1e-6


def test_gray_and_rgb(segmenter: PersonSegmenter, image: Image) -> None:
    rgb = np.ascontiguousarray(image[:, :, ::-1])
    assert np.array_equal(segmenter(image), segmenter(rgb, color="rgb"))
    gray = image[:, :, 1]
    assert np.array_equal(segmenter(gray), segmenter(np.stack([gray] * 3, axis=2)))


def test_rows_of_certificates_are_means_of_blocks(segmenter: PersonSegmenter) -> None:
    random = np.random.RandomState(5)
    mask = random.rand(3, 256, 256).astype(np.float32)
    rows = PERSON_MASK.rows(segmenter.spec, {}, {"mask": mask})
    expected = np.array(
        [
            [m[y : y + 16, x : x + 16].mean() for y in range(0, 256, 16) for x in range(0, 256, 16)]
            for m in mask.astype(np.float64)
        ]
    )
    error = np.abs(rows[:, :256] - expected).max()
    print(f"{error:.1g}")
    assert error < 1e-6
    assert np.allclose(rows[:, 256:], 1 - rows[:, :256], atol=1e-6)


@pytest.mark.slow
def test_commands_know_it(folder: Path, capsys: Output) -> None:
    """Its certificate holds, also where nothing but the record is there; bench measures it."""
    certificate = json.loads((folder / f"{NAME}.certificate.json").read_text(encoding="utf-8"))
    print(certificate["verification"])
    assert certificate["verification"]["max_abs_error"] < 1e-4
    assert main(["certify", "--models", str(folder)]) == 0
    line = next(x for x in capsys.readouterr().out.splitlines() if NAME in x)
    assert "held" in line
    assert main(["bench", "--models", str(folder), "--model", NAME]) == 0
    assert NAME in capsys.readouterr().out
    assert convert_main(["verify", str(folder / f"{NAME}.onnx")]) == 0
    assert "against recorded from LiteRT" in capsys.readouterr().out


def test_what_is_refused(segmenter: PersonSegmenter) -> None:
    with pytest.raises(ImageError):
        segmenter(np.zeros((4, 4), np.float32))
    with pytest.raises(InputError, match="color must be"):
        segmenter(np.zeros((4, 4, 3), np.uint8), color="hsv")  # type: ignore[arg-type]
    with pytest.raises(ModelError):
        PersonSegmenter(mobileface.load("gender", models=STARTER).session)
    with pytest.raises(SpecError, match="multiple of 16"):
        PERSON_MASK.check(PersonMaskSpec(mask="mask", height=256, width=100), "spec")


@pytest.mark.needs_source
@pytest.mark.needs_litert
def test_every_pixel_of_frames_as_litert_has_it(source: Path, segmenter: PersonSegmenter) -> None:
    """Every tenth frame of both videos; and how many labelled faces lie in the mask."""
    text = (ROOT / "tests" / "data" / "video_faces_all.json").read_text(encoding="utf-8")
    recipe, network = load_recipe(NAME), read_tflite(PUBLISHED)
    oracle = LiteRTReference(PUBLISHED.read_bytes(), str(PUBLISHED))
    worst, frames, faces, inside = 0.0, 0, 0, 0
    for name, labels in json.loads(text)["videos"].items():
        with VideoReader(source / "example" / name) as video:
            for number, image in video:
                if str(number) not in labels:
                    continue
                small = resize(image, 256, 256)
                tensor = small[None, :, :, ::-1].transpose(0, 3, 1, 2).astype(np.float32) / 255
                expected = published_outputs(recipe, network, oracle, tensor)["mask"]
                error = np.abs(segmenter(small).reshape(1, -1) - expected).max()
                worst, frames = max(worst, float(error)), frames + 1
                mask = segmenter(image)
                for label in labels[str(number)]:
                    x1, y1, x2, y2 = label["bbox"]
                    faces += not label["difficult"]
                    inside += not label["difficult"] and mask[y1:y2, x1:x2].mean() > 0.5
    print(f"{frames} frames: {worst:.2g}; {inside} of {faces} faces in the mask")
    assert frames >= 35
    assert worst < 4e-4
    assert (inside, faces) == (132, 206)


@pytest.mark.needs_litert
def test_the_record_is_litert_s() -> None:
    found, _ = published_rows(load_recipe(NAME), {"model": PUBLISHED})
    expected, oracle = read_golden(NAME)
    error = np.abs(found - expected).max()
    print(f"{oracle}: {error:.1g}")
    assert found.shape == (16, 512)
    assert error < 1e-5

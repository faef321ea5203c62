"""``mobileface-convert adopt --task detection``: face detectors of published layouts.

The expected faces come from the original file in ONNX Runtime without optimisation, decoded here by
the formulas of the papers, and from OpenCV's suppression.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest

from mobileface import load_detector
from mobileface.commands.main import main as run
from mobileface.models.probes import make_probes
from mobileface_convert.commands.main import main
from tests.convert.commands.adoptable_detectors import write_retinaface, write_scrfd, write_yolo
from tests.convert.commands.adopting import adopt, error_of, written
from tests.convert.heads.yunet_networks import invented_yunet
from tests.convert.tied_rows import untied

Floats = npt.NDArray[np.floating[Any]]
Picture = npt.NDArray[np.uint8]
Face = tuple[float, tuple[float, float, float, float], list[tuple[float, float]]]
"""Score, box and points in pixels of the network's input."""

PIXELS, SCORE = 3e-4, 1e-6
IOU = 0.4
SIZES = ((64, 96), (101, 77), (150, 203))


def network(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(str(path), options)


def scrfd_faces(outputs: list[Floats], size: tuple[int, int]) -> Iterator[Face]:
    """Guo et al. 2021: distances from the anchor to the sides, in strides."""
    points = len(outputs) in (9, 15)
    grids = len(outputs) // (3 if points else 2)
    anchors = 2 if grids == 3 else 1
    for level in range(grids):
        stride = 8 * 2**level
        parts = [outputs[level + grids * role] for role in range(2 + points)]
        rows = [part.reshape(-1, part.shape[-1]).astype(np.float64) for part in parts]
        for n in range(len(rows[0])):
            cell = n // anchors
            x = cell % (size[1] // stride) * stride
            y = cell // (size[1] // stride) * stride
            left, top, right, bottom = rows[1][n] * stride
            pairs = rows[2][n].reshape(5, 2) * stride if points else []
            box = (x - left, y - top, x + right, y + bottom)
            yield float(rows[0][n, 0]), box, [(x + dx, y + dy) for dx, dy in pairs]


def retinaface_faces(outputs: list[Floats], size: tuple[int, int]) -> Iterator[Face]:
    """Deng et al. 2019: priors and variances of SSD, in parts of the picture."""
    boxes, classes, points = (part[0].astype(np.float64) for part in outputs)
    height, width = size
    n = 0
    for stride, sides in ((8, (16, 32)), (16, (64, 128)), (32, (256, 512))):
        for row in range(height // stride):
            for column in range(width // stride):
                for side in sides:
                    prior = ((column + 0.5) * stride / width, (row + 0.5) * stride / height)
                    extent = (side / width, side / height)
                    middle = [prior[a] + boxes[n, a] * 0.1 * extent[a] for a in (0, 1)]
                    whole = [extent[a] * math.exp(boxes[n, 2 + a] * 0.2) for a in (0, 1)]
                    low = [(middle[a] - whole[a] / 2) * size[1 - a] for a in (0, 1)]
                    high = [(middle[a] + whole[a] / 2) * size[1 - a] for a in (0, 1)]
                    moved = [
                        (
                            (prior[0] + points[n, 2 * k] * 0.1 * extent[0]) * width,
                            (prior[1] + points[n, 2 * k + 1] * 0.1 * extent[1]) * height,
                        )
                        for k in range(5)
                    ]
                    powers = np.exp(classes[n])
                    known = abs(classes[n].sum() - 1) < 1e-3 and classes[n].min() >= 0
                    score = classes[n, 1] if known else powers[1] / powers.sum()
                    yield float(score), (low[0], low[1], high[0], high[1]), moved
                    n += 1
    assert n == len(boxes)


def yolo_faces(outputs: list[Floats], size: tuple[int, int]) -> Iterator[Face]:
    """YOLOv5-face: object times class; YOLOv8-face: columns, points with a visibility."""
    rows = outputs[0][0].astype(np.float64)
    if rows.shape[1] != 16:
        rows = rows.T
    for row in rows:
        x, y, w, h = row[:4]
        marks = row[5:15].reshape(5, 2) if len(row) == 16 else row[5:].reshape(-1, 3)[:, :2]
        score = row[4] * row[15] if len(row) == 16 else row[4]
        box = (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
        yield float(score), box, [(float(p[0]), float(p[1])) for p in marks]


Decode = Callable[[list[Floats], tuple[int, int]], Iterator[Face]]
RGB, BGR = slice(None, None, -1), slice(None)


def published(
    path: Path,
    picture: Picture,
    decode: Decode,
    *,
    order: slice,
    mean: Any,
    std: float,
    fill: int,
    multiple: int,
    size: tuple[int, int] | None = None,
    score: float,
) -> tuple[Floats, Floats, Floats]:
    """Scores, boxes and points that the file gives for a picture, the best first."""
    pixels, (height, width) = picture.astype(np.float32), picture.shape[:2]
    factor = np.ones(2)
    sides = tuple(math.ceil(side / multiple) * multiple for side in (height, width))
    if size is not None:
        scale, sides = min(size[0] / height, size[1] / width), size
        to = (round(width * scale), round(height * scale))
        pixels = np.asarray(cv2.resize(pixels, to, interpolation=cv2.INTER_LINEAR), np.float32)
        factor = np.array([width / to[0], height / to[1]])
    canvas = np.full((*sides, 3), fill, np.float32)
    canvas[: len(pixels), : pixels.shape[1]] = pixels
    fed = ((canvas[..., order] - np.float32(mean)) / np.float32(std)).transpose(2, 0, 1)[None]
    outputs = network(path).run(None, {"input.1": np.ascontiguousarray(fed, np.float32)})
    faces = [face for face in decode(outputs, (sides[0], sides[1])) if face[0] > score]
    boxes = [[x1, y1, x2 - x1, y2 - y1] for _, (x1, y1, x2, y2), _ in faces]
    kept = cv2.dnn.NMSBoxes(boxes, [face[0] for face in faces], score, IOU)
    best = [faces[index] for index in np.asarray(kept, int).reshape(-1)]
    if not best:
        return np.zeros(0), np.zeros((0, 4)), np.zeros((0, 0, 2))
    corners = np.array([box for _, box, _ in best]).reshape(-1, 2, 2) * factor
    points = np.array([marks for _, _, marks in best]).reshape(len(best), -1, 2) * factor
    return np.array([face[0] for face in best]), corners.reshape(-1, 4), points


SCRFD: dict[str, Any] = {
    "decode": scrfd_faces, "order": RGB, "mean": 127.5, "std": 128, "fill": 0, "multiple": 32,
}  # fmt: skip
RETINAFACE: dict[str, Any] = {
    "decode": retinaface_faces, "order": BGR, "mean": (104, 117, 123), "std": 1, "fill": 0,
    "multiple": 32,
}  # fmt: skip
YOLO: dict[str, Any] = {
    "decode": yolo_faces, "order": RGB, "mean": 0, "std": 255, "fill": 114, "multiple": 32,
    "size": (96, 128),
}  # fmt: skip
FIVE = (8, 16, 32, 64, 128)

NETWORKS: dict[str, tuple[str, Callable[..., Path], dict[str, Any], dict[str, Any]]] = {
    "scrfd": ("scrfd", write_scrfd, {}, SCRFD),
    "scrfd, no points": ("scrfd", write_scrfd, {"points": False}, SCRFD),
    "scrfd, any batch": ("scrfd", write_scrfd, {"flat": False}, SCRFD),
    "scrfd, five strides": ("scrfd", write_scrfd, {"strides": FIVE}, {**SCRFD, "multiple": 128}),
    "scrfd, fixed size": ("scrfd", write_scrfd, {"size": (64, 96)}, {**SCRFD, "size": (64, 96)}),
    "scrfd, operator set 19": ("scrfd", write_scrfd, {"opset": 19}, SCRFD),
    "retinaface": ("retinaface", write_retinaface, {}, RETINAFACE),
    "retinaface, logits": ("retinaface", write_retinaface, {"softmax": False}, RETINAFACE),
    "retinaface, any batch": ("retinaface", write_retinaface, {"batch": "N"}, RETINAFACE),
    "yolov5": ("yolo", write_yolo, {}, YOLO),
    "yolov8": ("yolo", write_yolo, {"version": 8}, YOLO),
    "yolov8, no points": ("yolo", write_yolo, {"version": 8, "points": False}, YOLO),
    "yolov8, any batch": ("yolo", write_yolo, {"version": 8, "batch": "N"}, YOLO),
}
"""Layout, writer of the file, its options and what the oracle does."""


@pytest.mark.parametrize("name", NETWORKS)
def test_finds_what_the_original_finds(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layout, write, options, facts = NETWORKS[name]
    original, models = write(tmp_path / "net.onnx", **options), tmp_path / "models"
    given = ["--task", "detection", "--layout", layout, "--name", "mine", "--output", models]
    assert adopt(original, *given) == 0
    said = capsys.readouterr().out
    single = layout != "yolo" and "any batch" not in name
    assert ("batch fixed at 1" in said) is single
    probed = json.loads((models / "mine.certificate.json").read_text())["recipe"]["spec"]
    score = min(0.25, probed["single_shot"]["probe_score"])
    detector = load_detector(
        "mine", models=models, max_side=0, score_threshold=score, iou_threshold=IOU
    )
    errors, count = np.zeros(2), 0
    for number, size in enumerate(SIZES):
        pictures = make_probes(4, *size, 3, number + 1)[1::2]
        found = detector.detect_batch(pictures)
        for picture, faces in zip(pictures, found, strict=True):
            scores, boxes, points = published(original, picture, score=score, **facts)
            assert len(faces.scores) == len(scores)
            count += len(scores)
            if not len(scores):
                continue
            marks = np.zeros((len(scores), 0, 2)) if faces.keypoints is None else faces.keypoints
            assert marks.shape == points.shape
            places = [np.abs(faces.boxes - boxes).max(), np.abs(marks - points).max(initial=0)]
            errors = np.maximum(errors, [max(places), np.abs(faces.scores - scores).max()])
    print(
        f"{name}: {count} faces, largest error {errors[0]:.2g} pixels, {errors[1]:.2g} of a score"
    )
    assert count > 20
    assert errors[0] <= PIXELS
    assert errors[1] <= SCORE
    assert written(models) == sorted(
        ["index.json", "licenses/mine.txt", "mine.certificate.json", "mine.md", "mine.onnx"]
    )


def test_yunet_finds_what_opencv_finds(tmp_path: Path) -> None:
    original, models = tmp_path / "face.onnx", tmp_path / "models"
    original.write_bytes(invented_yunet(1).SerializeToString())
    given = ["--task", "detection", "--layout", "yunet", "--name", "mine", "--output", models]
    assert adopt(original, *given) == 0
    detector = load_detector("mine", models=models, max_side=0, score_threshold=0.6)
    errors, count = [0.0], 0
    for height, width in SIZES:
        (picture,) = make_probes(2, height, width, 3, 1)[1:]
        oracle = cv2.FaceDetectorYN.create(str(original), "", (width, height), 0.6, 0.3, 5000)
        rows = np.asarray(oracle.detect(picture)[1]).reshape(-1, 15)
        found = detector.detect(picture)
        assert len(found.scores) == len(rows)
        assert found.keypoints is not None
        corners = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4]], axis=1)
        ours = np.concatenate([found.boxes, found.keypoints.reshape(-1, 10)], axis=1)
        theirs = np.concatenate([corners, rows[:, 4:14]], axis=1)
        distances = np.abs(ours[:, None] - theirs[None]).max(axis=2)
        assert sorted(distances.argmin(axis=1)) == list(range(len(rows)))
        errors.append(float(distances.min(axis=1).max()))
        count += len(rows)
    print(f"{count} faces, largest error {max(errors):.2g} pixels")
    assert count > 20
    assert max(errors) <= 5e-4


def drawn(path: Path) -> Path:
    """A picture with a few discs."""
    picture = np.full((120, 160, 3), (40, 90, 60), np.uint8)
    for index, (x, y) in enumerate(((40, 40), (110, 70), (60, 95))):
        cv2.circle(picture, (x, y), 14 + 4 * index, (120, 170, 230), -1, cv2.LINE_AA)
        cv2.circle(picture, (x - 5, y - 4), 2, (20, 20, 20), -1)
        cv2.circle(picture, (x + 5, y - 4), 2, (20, 20, 20), -1)
    assert cv2.imwrite(str(path), picture)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("name", ["scrfd", "retinaface", "yolov8, no points", "scrfd, fixed size"])
def test_every_command_knows_it(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layout, write, options, facts = NETWORKS[name]
    original, models = write(tmp_path / "net.onnx", **options), tmp_path / "models"
    recipe = tmp_path / "my.toml"
    given = [original, "--task", "detection", "--layout", layout, "--name", "mine"]
    assert adopt(*given, "--output", models, "--write-recipe", recipe) == 0
    picture, place = drawn(tmp_path / "drawn.png"), ["--models", str(models)]
    index = json.loads((models / "index.json").read_text())["models"]
    assert index["mine"]["task"] == "detection"
    capsys.readouterr()
    by_name = ["--detector", "mine", *place, "--score-threshold", "0.1", "--iou-threshold", "0.4"]
    assert run(["detect", str(picture), *by_name, "--max-side", "0", "--json"]) == 0
    faces = json.loads(capsys.readouterr().out)["faces"]
    image = np.asarray(cv2.imread(str(picture)), np.uint8)
    scores, boxes, points = published(original, image, score=0.1, **facts)
    assert len(faces) == len(scores) > 0
    told = np.array([face["bbox"] for face in faces])
    rounded = np.array([face["det_score"] for face in faces])  # to three decimals
    told = untied(rounded, told, scores, boxes, tie=6e-4)
    error = float(np.abs(told - boxes).max())
    print(f"{name}: {len(faces)} faces, error {error:.2g} pixels")
    assert error <= 0.06  # JSON gives a decimal
    assert ("kps" in faces[0]) is (points.shape[1] > 0)
    capsys.readouterr()
    if "fixed size" in name:  # a network of random numbers finds faces everywhere in a photo
        bench = ["bench", "--model", "mine", *place, "--seconds", "1", "--batch", "1", "--json"]
        assert run(bench) == 0
        assert "mine" in capsys.readouterr().out
    assert run(["certify", *place, "--json"]) == 0
    verdicts = json.loads(capsys.readouterr().out)["variants"]
    assert [v["state"] for v in verdicts if v["model"] == "mine"] == ["held"]
    assert main(["verify", str(models / "mine.onnx"), "--source", str(tmp_path)]) == 0
    assert adopt(recipe, "--output", tmp_path / "again") == 0
    same = [(folder / "mine.onnx").read_bytes() for folder in (models, tmp_path / "again")]
    assert same[0] == same[1]
    original.write_bytes(write(tmp_path / "other.onnx", **options, seed=99).read_bytes())
    assert main(["verify", str(models / "mine.onnx"), "--source", str(tmp_path)]) == 2


SCRFD_FACTS = ["--layout", "scrfd"]
REFUSED: dict[str, tuple[Callable[..., Path], dict[str, Any], list[str], str]] = {
    "no layout": (write_scrfd, {}, [], "--layout must be given"),
    "outputs": (write_scrfd, {"strides": (8, 16)}, SCRFD_FACTS, "scrfd has 1 in a row"),
    "retinaface of scrfd": (write_scrfd, {}, ["--layout", "retinaface"], "has 9 outputs"),
    "yolo of scrfd": (write_scrfd, {}, ["--layout", "yolo"], "has 9 outputs, yolo has 1 output"),
    "scrfd of yolo": (write_yolo, {}, SCRFD_FACTS, "has 1 output, scrfd has 6 or 9"),
    "yunet of scrfd": (write_scrfd, {}, ["--layout", "yunet"], "must be computed by"),
    "gray": (write_scrfd, {}, [*SCRFD_FACTS, "--color", "gray"], "grey pictures"),
    "one channel": (write_scrfd, {"channels": 1}, SCRFD_FACTS, "grey pictures"),
    "shapes": (write_scrfd, {"strides": (16, 32, 64)}, SCRFD_FACTS, "rows for 256x256 pixels"),
    "logits": (write_scrfd, {"logits": True}, SCRFD_FACTS, "not of 0 to 1"),
    "size": (write_yolo, {}, ["--layout", "yolo", "--size", "64"], "reads 128x96 pixels, not 64"),
    "no multiple": (write_scrfd, {"size": (48, 96)}, SCRFD_FACTS, "not multiples of 32"),
    "size 0": (write_scrfd, {}, [*SCRFD_FACTS, "--size", "0"], "must be above 0"),
    "open, but fixed inside": (
        write_yolo, {"size": ("H", "W")}, ["--layout", "yolo"], "pass --size",
    ),
    "crop": (write_scrfd, {}, [*SCRFD_FACTS, "--crop", "arcface"], "--crop is not for"),
    "feature": (write_scrfd, {}, [*SCRFD_FACTS, "--feature", "x"], "--feature is not for"),
    "head": (write_scrfd, {}, [*SCRFD_FACTS, "--head", "age=0-9"], "--head is not for"),
    "shipped": (write_scrfd, {}, [*SCRFD_FACTS, "--name", "detection_yunet"], "has this name"),
    "std": (write_scrfd, {}, [*SCRFD_FACTS, "--std", "0"], "must be positive"),
    "yunet, color": (write_scrfd, {}, ["--layout", "yunet", "--color", "rgb"], "--color is not"),
    "tolerance": (write_scrfd, {}, [*SCRFD_FACTS, "--tolerance", "1e-12"], "differs from ONNX"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write, options, given, reason = REFUSED[name]
    original, models = write(tmp_path / "net.onnx", **options), tmp_path / "models"
    assert adopt(original, "--task", "detection", *given, "--output", models) == 2
    said = error_of(capsys)
    print(said)
    assert reason in said
    assert not list(models.glob("*.onnx"))


def test_a_name_is_not_taken_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    original, models = write_scrfd(tmp_path / "net.onnx"), tmp_path / "models"
    given = [original, "--task", "detection", *SCRFD_FACTS, "--output", models]
    assert adopt(*given) == 0
    capsys.readouterr()
    assert adopt(*given) == 2
    assert "has a model of this name" in error_of(capsys)
    assert adopt(*given, "--replace") == 0


def test_layouts_are_for_detection(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    original = write_scrfd(tmp_path / "net.onnx")
    assert adopt(original, "--task", "embedding", *SCRFD_FACTS) == 2
    assert "--layout is not for --task embedding" in error_of(capsys)
    assert adopt(original, *SCRFD_FACTS) == 2
    assert "--task must be given" in error_of(capsys)
    with pytest.raises(SystemExit) as ended:
        adopt(original, "--task", "detection", "--layout", "centernet")
    assert ended.value.code == 2
    assert "invalid choice: 'centernet'" in capsys.readouterr().err


def test_weights_in_float16(tmp_path: Path) -> None:
    original, models = write_scrfd(tmp_path / "net.onnx"), tmp_path / "models"
    given = ["--task", "detection", *SCRFD_FACTS, "--output", models, "--weights", "float16"]
    assert adopt(original, *given) == 0
    entry = json.loads((models / "index.json").read_text())["models"]["net"]
    assert entry["precision"] == "fp16"
    (picture,) = make_probes(2, *SIZES[2], 3, 4)[1:]
    scores, boxes, _ = published(original, picture, score=0.5, **SCRFD)
    detector = load_detector("net", models=models, max_side=0, iou_threshold=IOU)
    found = detector.detect(picture)
    distances = np.abs(found.boxes[None] - boxes[:, None]).max(axis=2)
    near = distances.min(axis=1)[scores > 0.55]
    print(f"{len(near)} faces, largest error {near.max():.2g} pixels")
    assert len(near) > 5
    assert near.max() <= 0.05

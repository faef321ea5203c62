"""YuNet as one graph finds what OpenCV's FaceDetectorYN finds, alone and in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from mobileface.errors import GraphError
from mobileface.models.probes import make_probes
from mobileface_convert.backends.onnx import clean
from mobileface_convert.frontends.onnx_file import parse_onnx, read_onnx_file
from mobileface_convert.heads.yunet_head import build_yunet
from tests.convert.heads.yunet_networks import invented_yunet, published_yunet

Floats = npt.NDArray[np.float32]
Picture = npt.NDArray[np.uint8]
Rows = tuple[Floats, Floats, Floats]
"""Scores (M,), boxes (M, 4) and points (M, 5, 2)."""

PIXELS, SCORE = 0.05, 1e-4
SIDES = (97, 160, 333, 640, 901)
"""Longer sides to which real pictures are scaled."""

SIZES = ((64, 64), (101, 77), (33, 200), (40, 62))


class Finder:
    """The converted graph."""

    def __init__(self, model: onnx.ModelProto) -> None:
        built = clean(ir.to_proto(build_yunet(model)), "yunet")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 3
        self.session = onnxruntime.InferenceSession(built.SerializeToString(), options)

    def __call__(self, pictures: Picture, **options: float) -> list[Rows]:
        types = {"topk": np.int64}
        fed = {k: np.array(v, types.get(k, np.float32)) for k, v in options.items()}
        names = ("image_index", "scores", "boxes", "kps")
        numbers, *rows = self.session.run(names, {"image": pictures, **fed})
        assert list(numbers) == sorted(numbers)
        return [tuple(part[numbers == index] for part in rows) for index in range(len(pictures))]


class Oracle:
    """OpenCV's own detector on the file as it is published."""

    def __init__(self, content: bytes, score: float = 0.6, topk: int = 5000) -> None:
        self.options = (score, 0.3, topk)
        self.content = np.frombuffer(content, np.uint8)
        self.detector = self.create(32, 32)

    def create(self, height: int, width: int) -> cv2.FaceDetectorYN:
        none = np.zeros(0, np.uint8)
        return cv2.FaceDetectorYN.create("onnx", self.content, none, (width, height), *self.options)

    def __call__(self, picture: Picture) -> Rows:
        height, width = picture.shape[:2]
        self.detector.setInputSize((width, height))
        found = self.detector.detect(picture)[1]
        rows: Floats = np.asarray([] if found is None else found, np.float32).reshape(-1, 15)
        boxes = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4]], axis=1)
        return rows[:, 14], boxes, rows[:, 4:14].reshape(-1, 5, 2)


def compare(found: Rows, expected: Rows, where: str) -> tuple[float, float]:
    """The largest error of a coordinate and of a score; faces in the oracle's order."""
    assert len(found[0]) == len(expected[0]), f"{where}: {found[0]} instead of {expected[0]}"
    if not len(found[0]):
        return 0, 0
    distances = np.abs(found[1][None] - expected[1][:, None]).max(axis=2)
    order = distances.argmin(axis=1)  # nearly equal scores may stand in another order
    assert len(set(order)) == len(order), where
    pairs = [(part[order], wanted) for part, wanted in zip(found, expected, strict=True)]
    score, box, points = (float(np.abs(ours - theirs).max()) for ours, theirs in pairs)
    assert max(box, points) <= PIXELS, f"{where}: {box} {points}"
    assert score <= SCORE, f"{where}: {score}"
    return max(box, points), score


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("score", "topk"), [(0.6, 5000), (0.5, 40), (0.5, 1)])
def test_invented_networks_find_what_opencv_finds(seed: int, score: float, topk: int) -> None:
    content = invented_yunet(seed).SerializeToString()
    finder, oracle = Finder(parse_onnx(content, where="x")), Oracle(content, score, topk)
    errors = []
    for height, width in SIZES:
        (picture,) = make_probes(2, height, width, 3, seed)[1:]
        (found,) = finder(picture[None], score_threshold=score, topk=topk)
        errors.append(compare(found, oracle(picture), f"{height}×{width}"))
    print("pixels, scores:", np.max(errors, axis=0))


@pytest.mark.parametrize("size", SIZES)
def test_a_batch_gives_what_each_picture_gives(size: tuple[int, int]) -> None:
    finder = Finder(parse_onnx(invented_yunet(1).SerializeToString(), where="x"))
    pictures = np.concatenate([make_probes(4, *size, 3, 7), np.zeros((1, *size, 3), np.uint8)])
    together = finder(pictures, score_threshold=0.5, topk=30)
    counts = [len(rows[0]) for rows in together]
    assert len(set(counts)) > 1, counts
    for picture, rows in zip(pictures, together, strict=True):
        (alone,) = finder(picture[None], score_threshold=0.5, topk=30)
        for one, other in zip(alone, rows, strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-4)


def test_no_face_is_no_row() -> None:
    finder = Finder(parse_onnx(invented_yunet(0).SerializeToString(), where="x"))
    for size in ((1, 1), (40, 50)):
        found = finder(np.zeros((2, *size, 3), np.uint8), score_threshold=1)
        assert [[part.shape for part in rows] for rows in found] == [[(0,), (0, 4), (0, 5, 2)]] * 2


def test_looser_suppression_keeps_more() -> None:
    finder = Finder(parse_onnx(invented_yunet(2).SerializeToString(), where="x"))
    picture = make_probes(2, 64, 64, 3, 2)[1:]
    counts = [len(finder(picture, iou_threshold=overlap)[0][0]) for overlap in (0, 0.3, 0.7, 1)]
    assert counts == sorted(counts), counts
    assert counts[0] < counts[-1], counts


def spoil(model: onnx.ModelProto, kind: str, **changes: object) -> None:
    """Changes attributes of the last node of a kind."""
    node = [node for node in model.graph.node if node.op_type == kind][-1]
    kept = [item for item in node.attribute if item.name not in changes]
    del node.attribute[:]
    node.attribute.extend(kept)
    node.attribute.extend(onnx.helper.make_attribute(*item) for item in changes.items())


def _no_number(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    array = onnx.numpy_helper.to_array(tensor).copy()
    array.flat[0] = np.nan
    tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))


def _older(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 16


def _nameless(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        node.output[:] = ["other" if name == "kps_16" else name for name in node.output]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda model: spoil(model, "Transpose", perm=[0, 3, 1, 2]), "not moved to the end"),
        (lambda model: spoil(model, "Conv", pads=[1, 1, 0, 1]), "expected"),
        (lambda model: spoil(model, "Conv", auto_pad="SAME_UPPER"), "expected"),
        (lambda model: spoil(model, "Conv", group=5), "expected"),
        (_nameless, "'kps_16' must be computed by Reshape, not nothing"),
        (_no_number, "holds nan or inf"),
        (_older, "17 expected"),
        (lambda model: model.graph.input.pop(), "expected 1 input, got 0"),
        (lambda model: model.graph.initializer.pop(0), "is not a stored array"),
    ],
)
def test_another_network_is_refused(change: Callable[[onnx.ModelProto], None], what: str) -> None:
    model = parse_onnx(invented_yunet(0).SerializeToString(), where="x")
    change(model)
    with pytest.raises(GraphError, match=what):
        build_yunet(model, where="x.onnx")


@pytest.fixture(scope="module")
def published() -> Path:
    """The published file, out of the package that the recipe names."""
    return published_yunet()


def scaled(picture: Picture, side: int) -> Picture:
    height, width = picture.shape[:2]
    factor = side / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, size, interpolation=how), np.uint8)


def real_pictures(source: Path) -> Iterator[tuple[str, Picture]]:
    """Every example, 100 portraits, every fifth frame of both videos."""
    files = [path for folder in ("example", "data/test") for path in (source / folder).rglob("*")]
    files = [path for path in files if path.suffix in (".jpg", ".png")]
    files += sorted((source / "data" / "LFW-Aligned-100Pair").rglob("*.jpg"))[::2]
    for path in sorted(files):
        yield path.name, np.asarray(cv2.imread(str(path)), np.uint8)
    for path in sorted((source / "example").glob("*.mp4")):
        video = cv2.VideoCapture(str(path))
        number = 0
        while video.grab():
            if number % 5 == 0:
                yield f"{path.name} {number}", np.asarray(video.retrieve()[1], np.uint8)
            number += 1


def compare_real(source: Path, published: Path, score: float, sizes: int) -> int:
    """Compares all pictures at ``sizes`` of the sizes in turn; returns how many faces there are."""
    finder, oracle = Finder(read_onnx_file(published)), Oracle(published.read_bytes(), score)
    errors, faces, runs = [], 0, 0
    for turn, (name, picture) in enumerate(real_pictures(source)):
        for step in range(sizes):
            shown = scaled(picture, SIDES[(turn + step) % len(SIDES)])
            expected = oracle(shown)
            (found,) = finder(shown[None], score_threshold=score)
            errors.append(compare(found, expected, f"{name} {shown.shape}"))
            faces, runs = faces + len(expected[0]), runs + 1
    print(f"{runs} runs, {faces} faces; pixels, scores:", np.max(errors, axis=0))
    return faces


@pytest.mark.slow
@pytest.mark.needs_source
@pytest.mark.needs_yunet
@pytest.mark.parametrize("score", [0.6, 0.2])
def test_real_faces_are_those_of_opencv(source: Path, published: Path, score: float) -> None:
    assert compare_real(source, published, score, 1) > 250


@pytest.mark.endurance
@pytest.mark.needs_source
@pytest.mark.needs_yunet
def test_real_faces_are_those_of_opencv_at_every_size(source: Path, published: Path) -> None:
    assert compare_real(source, published, 0.6, len(SIDES)) > 1500

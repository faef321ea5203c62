"""``mobileface-convert adopt --task landmarks``: unknown landmark networks run by their name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest

import mobileface
from mobileface import FaceAnalyzer, PointPredictor, Session, VideoReader, VideoWriter
from mobileface.commands.main import main as run
from mobileface.vision.synthetic_faces import draw_frames
from mobileface_convert.build.adopted_points import POINT_SETS
from mobileface_convert.commands.main import main
from mobileface_convert.oracles.litert_oracle import LiteRTReference
from mobileface_convert.oracles.mxnet_oracle import MXNetReference
from tests.convert.commands.adopting import adopt, error_of
from tests.convert.commands.point_networks import SIDE, write_mxnet, write_onnx, write_tflite

FloatArray = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Network = Callable[[FloatArray], FloatArray]
"""Scaled pixels (N, 3, SIDE, SIDE), RGB → numbers (N, D) of the engine of the format."""

MARGIN = 0.25
FACTS = ["--task", "landmarks", "--crop", "box", "--color", "rgb", "--mean", 127.5, "--std", 128]
TOLERANCE = 2e-5  # of the crop's side
BOXES = np.array([[40, 30, 120, 130], [200.5, 90, 260, 140.25], [-30, 180, 60, 260]])
ROLLS = (None, 20.0, -135.0)


def picture() -> npt.NDArray[np.uint8]:
    """Seeded, uint8 (240, 320, 3), BGR, with areas and edges."""
    grid = np.random.RandomState(8).randint(0, 256, (30, 40, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(grid, (320, 240), interpolation=cv2.INTER_CUBIC), np.uint8)


def square(box: Doubles, roll: float | None) -> npt.NDArray[np.float64]:
    """The matrix from image to crop, from where three corners of the turned square go."""
    middle, side = (box[:2] + box[2:]) / 2, (1 + 2 * MARGIN) * (box[2:] - box[:2]).max()
    angle = np.deg2rad(roll or 0.0)  # clockwise on a picture whose y points down
    across = np.array([np.cos(angle), np.sin(angle)]) * side / 2
    down = np.array([-np.sin(angle), np.cos(angle)]) * side / 2
    corners = np.array([middle - across - down, middle + across - down, middle - across + down])
    crop = np.array([[0, 0], [SIDE, 0], [0, SIDE]], np.float32)
    return np.asarray(cv2.getAffineTransform(corners.astype(np.float32), crop), np.float64)


def expected(
    network: Network, image: npt.NDArray[np.uint8], places: list[tuple[Doubles, float | None]]
) -> tuple[FloatArray, list[Doubles]]:
    """The engine's numbers for the crops that OpenCV cuts out, and the matrices."""
    matrices = [square(box, roll) for box, roll in places]
    crops = [cv2.warpAffine(image, matrix, (SIDE, SIDE)) for matrix in matrices]
    pixels = np.stack(crops)[..., ::-1].astype(np.float32)
    return network(((pixels - 127.5) / 128).transpose(0, 3, 1, 2)), matrices


def back(points: FloatArray, matrix: Doubles) -> Doubles:
    """Pixels of a crop (K, 2) as pixels of the image, by OpenCV."""
    given = points.astype(np.float64)[None]
    return np.asarray(cv2.transform(given, cv2.invertAffineTransform(matrix))[0], np.float64)


def compare(
    model: Path, network: Network, to_crop: Callable[[FloatArray], FloatArray]
) -> PointPredictor:
    """Compares a model's points with the engine's, in parts of the square's side."""
    image, worst = picture(), 0.0
    predictor = PointPredictor(Session(model))
    found = predictor.predict(image, BOXES, ROLLS)
    numbers, matrices = expected(network, image, list(zip(BOXES, ROLLS, strict=True)))
    assert np.abs(numbers[0] - numbers[1]).max() > 1e-2 * np.abs(numbers).max()
    for marks, row, matrix, box in zip(found, numbers, matrices, BOXES, strict=True):
        points = to_crop(row)
        side = (1 + 2 * MARGIN) * (box[2:] - box[:2]).max()
        worst = max(worst, np.abs(marks.points - back(points[:, :2], matrix)).max() / side)
        if points.shape[1] == 3:
            assert marks.z is not None
            worst = max(worst, np.abs(marks.z - points[:, 2] * side / SIDE).max() / side)
        else:
            assert marks.z is None
    print(f"{model.name}: largest error {worst:.2g} of the square's side")
    assert worst <= TOLERANCE
    return predictor


def onnx_engine(path: Path) -> Network:
    session = onnxruntime.InferenceSession(str(path))
    return lambda fed: session.run(None, {"input": fed})[0].reshape(len(fed), -1)


CASES: dict[str, tuple[list[object], int, float, tuple[int, int] | None]] = {
    # options, numbers for each face, their size, shape of the output
    "unit": (["--points-names", 5, "--points-range", "unit"], 10, 1, None),
    "signed": (["--points-names", 68, "--points-range", "signed"], 136, 1, None),
    "pixels": (["--points-names", 98, "--points-range", "pixels"], 196, SIDE, (98, 2)),
    "planar": (
        ["--points-names", 106, "--points-range", "unit", "--points-order", "planar"],
        212,
        1,
        None,
    ),
    "3-D": (["--points-names", 468, "--points-range", "pixels"], 1404, SIDE, None),
    "3-D signed": (["--points-names", 5, "--points-range", "signed"], 15, 1, (5, 3)),
}


def in_crop(name: str) -> Callable[[FloatArray], FloatArray]:
    """How the numbers of a case become pixels of the crop, (K, 2) or (K, 3)."""
    options, size, _, _ = CASES[name]
    names = POINT_SETS[str(options[1])]
    axes = size // len(names)

    def convert(row: FloatArray) -> FloatArray:
        planar = "planar" in options
        points = row.reshape(axes, -1).T.copy() if planar else row.reshape(-1, axes).copy()
        if "unit" in options:
            return np.asarray(points * SIDE, np.float32)
        if "signed" in options:
            points[:, :2] += 1
            return np.asarray(points * SIDE / 2, np.float32)
        return np.asarray(points, np.float32)

    return convert


@pytest.mark.parametrize("name", CASES)
def test_onnx(name: str, tmp_path: Path) -> None:
    options, size, scale, rows = CASES[name]
    path = write_onnx(tmp_path / "net.onnx", size, scale, rows=rows)
    models = tmp_path / "models"
    given = [path, *FACTS, *options, "--margin", MARGIN, "--name", "mine", "--output", models]
    assert adopt(*given) == 0
    predictor = compare(models / "mine.onnx", onnx_engine(path), in_crop(name))
    assert predictor.point_names == POINT_SETS[str(options[1])]


@pytest.mark.needs_litert
@pytest.mark.parametrize("name", ["unit", "pixels", "3-D signed"])
def test_tflite(name: str, tmp_path: Path) -> None:
    options, size, scale, rows = CASES[name]
    path = write_tflite(tmp_path / "net.tflite", size, scale, rows=rows)
    models = tmp_path / "models"
    given = [path, *FACTS, *options, "--margin", MARGIN, "--name", "mine", "--output", models]
    assert adopt(*given) == 0
    oracle = LiteRTReference(path.read_bytes(), str(path))

    def network(fed: FloatArray) -> FloatArray:
        (found,) = oracle.run({"image": np.ascontiguousarray(fed.transpose(0, 2, 3, 1))}).values()
        return found.reshape(len(fed), -1)

    compare(models / "mine.onnx", network, in_crop(name))


@pytest.mark.needs_mxnet
@pytest.mark.parametrize("loss", [False, True])
@pytest.mark.parametrize("name", ["signed", "pixels", "3-D"])
def test_mxnet(name: str, loss: bool, tmp_path: Path) -> None:
    """A loss is cut off, the layer before it is not."""
    options, size, scale, rows = CASES[name]
    files = write_mxnet(tmp_path, size, scale, rows=rows, loss=loss)
    models, recipe = tmp_path / "models", tmp_path / "my.toml"
    given = [*files, *FACTS, *options, "--margin", MARGIN, "--name", "mine", "--size", SIDE]
    assert adopt(*given, "--output", models, "--write-recipe", recipe) == 0
    reference = MXNetReference(*files, "rows_output" if rows else "fc_output")

    def network(fed: FloatArray) -> FloatArray:
        return reference.run({"data": np.ascontiguousarray(fed)})[0].reshape(len(fed), -1)

    compare(models / "mine.onnx", network, in_crop(name))
    assert adopt(recipe, "--output", tmp_path / "again") == 0
    same = [(folder / "mine.onnx").read_bytes() for folder in (models, tmp_path / "again")]
    assert same[0] == same[1]


def test_by_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """landmarks, track, bench, certify, verify and a recipe; the points are ONNX Runtime's."""
    path, models = write_onnx(tmp_path / "net.onnx", 204), tmp_path / "models"
    options = ["--points-names", 68, "--points-range", "unit", "--margin", MARGIN]
    assert adopt(path, *FACTS, *options, "--name", "mine", "--output", models) == 0
    assert "68 points in 3-D" in capsys.readouterr().out
    image = draw_frames(1, 240, 320)[0]
    photo = tmp_path / "photo.png"
    cv2.imwrite(str(photo), image)
    chosen = ["--models", str(models), "--detector", "detection_hog", "--landmarks", "mine"]
    assert run(["landmarks", str(photo), *chosen, "--json"]) == 0
    (face,) = json.loads(capsys.readouterr().out)["faces"]
    assert set(face["kps_names"]) == set(POINT_SETS["68"])
    box = np.array(face["bbox"], np.float64)
    numbers, (matrix,) = expected(onnx_engine(path), image, [(box, None)])
    points = numbers.reshape(68, 3) * SIDE
    wanted = dict(zip(POINT_SETS["68"], back(points[:, :2], matrix), strict=True))
    error = max(
        float(np.abs(wanted[name] - place).max())
        for name, place in zip(face["kps_names"], face["kps"], strict=True)
    )
    print(f"largest error {error:.2g} pixels of a box of {box[2] - box[0]:.0f}")
    assert error <= 0.011  # rounded to 0.01
    scale = (1 + 2 * MARGIN) * (box[2:] - box[:2]).max() / SIDE
    depths = dict(zip(POINT_SETS["68"], points[:, 2] * scale, strict=True))
    pairs = zip(face["kps_names"], face["kps_z"], strict=True)
    assert max(abs(depths[name] - z) for name, z in pairs) <= 0.011
    assert run(["bench", "--models", str(models), "--model", "mine", "--seconds", "1"]) == 0
    assert "mine" in capsys.readouterr().out
    assert run(["certify", "--models", str(models), "--json"]) == 0
    verdicts = json.loads(capsys.readouterr().out)["variants"]
    assert [v["state"] for v in verdicts if v["model"] == "mine"] == ["held"]
    assert main(["verify", str(models / "mine.onnx"), "--source", str(tmp_path)]) == 0
    assert "max abs error" in capsys.readouterr().out
    (merged,) = mobileface.load_landmarks("mine", models=models).predict(image, [box])
    assert merged.z is not None
    assert set(FaceAnalyzer(models).models["landmarks"]) == {"landmark_dlib5"}


def test_track(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every tracked face has the points of the chosen network, where ONNX Runtime puts them."""
    path, models = write_onnx(tmp_path / "net.onnx", 136), tmp_path / "models"
    options = ["--points-names", 68, "--points-range", "unit", "--margin", MARGIN]
    assert adopt(path, *FACTS, *options, "--name", "mine", "--output", models) == 0
    video, lines = tmp_path / "in.avi", tmp_path / "t.jsonl"
    with VideoWriter(video, 25, 320, 240) as writer:
        for _ in range(4):
            writer.write(draw_frames(1, 240, 320)[0])
    chosen = ["--models", str(models), "--detector", "detection_hog", "--landmarks", "mine"]
    assert run(["track", str(video), *chosen, "--tracks", str(lines), "--tasks", "landmarks"]) == 0
    header, *frames, _ = (json.loads(line) for line in lines.read_text().splitlines())
    assert header["models"]["landmarks"] == ["mine"]
    with VideoReader(video) as reader:
        images = [image for _, image in reader]
    (face,) = frames[-1]["faces"]
    box = np.array(face["bbox"], np.float64)
    numbers, (matrix,) = expected(onnx_engine(path), images[-1], [(box, None)])
    wanted = dict(zip(POINT_SETS["68"], back(numbers.reshape(68, 2) * SIDE, matrix), strict=True))
    pairs = zip(face["kps_names"], face["kps"], strict=True)
    error = max(float(np.abs(wanted[name] - place).max()) for name, place in pairs)
    print(f"largest error {error:.2g} pixels of a box of {box[2] - box[0]:.0f}")
    assert error <= 0.5
    capsys.readouterr()
    missing = ["--tracks", str(lines), "--landmarks", "nothing"]
    assert run(["track", str(video), "--models", str(models), *missing]) == 2
    assert "nothing" in capsys.readouterr().err


def test_points_stand_instead_of_the_detectors(tmp_path: Path) -> None:
    """YuNet gives the same five names, and how far the head is turned."""
    path, models = write_onnx(tmp_path / "net.onnx", 10), tmp_path / "models"
    options = ["--points-names", 5, "--points-range", "unit", "--margin", MARGIN]
    assert adopt(path, *FACTS, *options, "--name", "mine", "--output", models) == 0
    image = np.ascontiguousarray(draw_frames(1, 240, 320)[0])
    analyzer = FaceAnalyzer(models, ("detection", "landmarks"), landmarks="mine")
    (face,) = analyzer(image)
    assert face.kps is not None
    assert face.roll is not None
    numbers, (matrix,) = expected(
        onnx_engine(path), image, [(face.bbox.astype(np.float64), face.roll)]
    )
    error = float(np.abs(face.kps - back(numbers.reshape(5, 2) * SIDE, matrix)).max())
    print(f"roll {face.roll:.1f}; largest error {error:.2g} pixels")
    assert error <= 1e-2


def test_gray_and_one_of_two_outputs(tmp_path: Path) -> None:
    path, models = write_onnx(tmp_path / "net.onnx", 10, channels=1, second=True), tmp_path / "m"
    names = tmp_path / "names.txt"
    names.write_text("a\nb\nc\nd\ne\n")
    facts = [*FACTS[:5], "gray", *FACTS[6:], "--points-names", names, "--points-range", "unit"]
    assert adopt(path, *facts, "--margin", 0, "--feature", "fc", "--output", models) == 0
    predictor = PointPredictor(Session(models / "net.onnx"))
    assert predictor.point_names == ("a", "b", "c", "d", "e")
    gray = cv2.cvtColor(picture(), cv2.COLOR_BGR2GRAY)
    box = np.array([100.0, 50, 100 + SIDE, 50 + SIDE])  # the crop is a part of the picture
    crop = gray[50 : 50 + SIDE, 100 : 100 + SIDE].astype(np.float32)
    fed = ((crop - 127.5) / 128)[None, None]
    session = onnxruntime.InferenceSession(str(path))
    (wanted,) = session.run(["fc"], {"input": fed})
    (found,) = predictor.predict(np.asarray(gray, np.uint8), box[None])
    error = float(np.abs(found.points - (wanted.reshape(5, 2) * SIDE + (100, 50))).max())
    print(f"largest error {error:.2g} pixels")
    assert error <= 1e-3


NAMES = ["--points-names", 5]
UNIT = ["--points-range", "unit"]
WIDE = ["--margin", MARGIN]
GOOD = [*NAMES, *UNIT, *WIDE]
REFUSED: dict[str, tuple[list[object], str]] = {
    "no names": ([*UNIT, *WIDE], "--points-names must be given"),
    "no facts": ([], "--points-names, --points-range, --margin must be given"),
    "names": ([*UNIT, *WIDE, "--points-names", 68], "gives 10 numbers, neither x and y (136)"),
    "no such names": ([*UNIT, *WIDE, "--points-names", "x"], "no file and no known set"),
    "pixels": ([*NAMES, *WIDE, "--points-range", "pixels"], "which are no pixels"),
    "crop": ([*GOOD, "--crop", "arcface"], "--crop arcface needs the landmarks"),
    "margin": ([*NAMES, *UNIT, "--margin", -0.5], "must be above -0.5 and at most 10"),
    "margin nan": ([*NAMES, *UNIT, "--margin", "nan"], "margin"),
    "gray": ([*GOOD, "--color", "gray"], "reads 3 channels"),
    "size": ([*GOOD, "--size", 64], "reads 48x48 pixels, not 64"),
    "heads": ([*GOOD, "--head", "gender=female,male"], "--head is not for --task landmarks"),
    "embedding": ([*GOOD, "--task", "embedding"], "is not for --task embedding"),
    "feature": ([*GOOD, "--feature", "x"], "has no output 'x'"),
    "0..1": ([*GOOD, "--std", 0.5], "is not for pixels 0..255"),
    "name": ([*GOOD, "--name", "landmark_mesh"], "a model of the package has this name"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more, reason = REFUSED[name]
    path, models = write_onnx(tmp_path / "net.onnx", 10), tmp_path / "models"
    assert adopt(path, *FACTS, *more, "--output", models) == 2
    said = error_of(capsys)
    print(said)
    assert reason in said
    assert not models.exists()


PLANAR = [*GOOD, "--points-order", "planar"]
BAD_NETWORKS: dict[str, tuple[dict[str, object], list[object], str]] = {
    "odd": ({"size": 11}, GOOD, "gives 11 numbers, neither x and y (10) nor x, y and z (15)"),
    "pixels as unit": ({"size": 10, "scale": 48.0}, GOOD, "which is no --points-range unit"),
    "two outputs": ({"size": 10, "second": True}, GOOD, "has 2 outputs: fc, score"),
    "planar": ({"size": 10, "rows": (5, 2)}, PLANAR, "[5, 2] has the numbers of a point"),
    "interleaved": ({"size": 10, "rows": (2, 5)}, GOOD, "[2, 5] has all x, then all y"),
    "any size": ({"size": 10, "side": "side"}, GOOD, "leaves the size of the crop open"),
}


@pytest.mark.parametrize("name", BAD_NETWORKS)
def test_refused_networks(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts, options, reason = BAD_NETWORKS[name]
    path, models = write_onnx(tmp_path / "net.onnx", **facts), tmp_path / "models"  # type: ignore[arg-type]
    assert adopt(path, *FACTS, *options, "--output", models) == 2
    said = error_of(capsys)
    print(said)
    assert reason in said
    assert not models.exists()


BAD_NAMES = {
    "twice": ("a\nb\na\n", "line 3: 'a' is there twice"),
    "blank": ("a\n\nb\n", "line 2: must be text"),
    "spaces": ("left eye\n", "line 1: 'left eye' must be letters"),
    "empty": ("\n\n", "too large, or empty"),
    "bytes": ("\udcff", "cannot be read"),
}


@pytest.mark.parametrize("name", BAD_NAMES)
def test_refused_names(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, reason = BAD_NAMES[name]
    names = tmp_path / "names.txt"
    names.write_bytes(text.encode("utf-8", "surrogateescape"))
    path = write_onnx(tmp_path / "net.onnx", 10)
    given = [path, *FACTS, *UNIT, *WIDE, "--points-names", names, "--output", tmp_path / "m"]
    assert adopt(*given) == 2
    assert reason in error_of(capsys)


def test_an_existing_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, models = write_onnx(tmp_path / "net.onnx", 10), tmp_path / "models"
    given = [path, *FACTS, *GOOD, "--name", "mine", "--output", models]
    assert adopt(*given) == 0
    capsys.readouterr()
    assert adopt(*given) == 2
    assert "has a model of this name" in error_of(capsys)
    assert adopt(*given, "--replace") == 0


def test_a_turned_picture_gives_turned_points(tmp_path: Path) -> None:
    """With the roll, the network sees the same pixels."""
    path, models = write_onnx(tmp_path / "net.onnx", 10), tmp_path / "models"
    assert adopt(path, *FACTS, *GOOD, "--output", models) == 0
    predictor, image = PointPredictor(Session(models / "net.onnx")), picture()
    x1, y1, x2, y2 = 100.0, 60.0, 180.0, 150.0
    (upright,) = predictor.predict(image, [[x1, y1, x2, y2]])
    last = image.shape[0] - 1
    turned = np.ascontiguousarray(np.rot90(image, -1))  # clockwise: (x, y) goes to (last - y, x)
    (found,) = predictor.predict(turned, [[last - y2, x1, last - y1, x2]], [90.0])
    wanted = np.stack([last - upright.points[:, 1], upright.points[:, 0]], axis=1)
    error = float(np.abs(found.points - wanted).max())
    print(f"largest error {error:.2g} pixels")
    assert error <= 0.05

"""Drawings of faces of several skin tones: white skin, dark features, faces found again."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

import mobileface
from mobileface import Face, FaceAnalyzer, PersonSegmenter, PortraitStyle, Pose, draw_portrait
from mobileface.effects.background_video import small_mask
from mobileface.effects.face_drawing import CONTOURS, MeshFace, smooth_line
from mobileface.effects.portrait import drawable
from mobileface.errors import ImageError, InputError
from mobileface.vision.image import Image
from mobileface.vision.picture_files import read_image
from tests.runtime.models.test_starter import no_users_models  # noqa: F401  (autouse)

CHEEKS_AND_FOREHEAD = (
    (117, 118, 101, 36, 205, 187, 123),
    (346, 347, 330, 266, 425, 411, 352),
    (69, 108, 151, 337, 299, 296, 336, 9, 107, 66),
)
"""Outlines on the mesh, which are shrunk by 15 % so that brows and folds lie outside."""

COVERED = {
    "Candie_Kung_0001": 0.5,  # a cap, and its shadow
    "Barry_Zito_0002": 0.85,  # the shadow of a cap
    "Thomas_Rupprath_0002": 0.85,  # goggles
    "Jacqueline_Obradors_0002": 0.9,  # hair, as all below but for Felix_Mantilla
    "Carla_Myers_0002": 0.9,
    "Isabelle_Huppert_0001": 0.94,
    "Zhang_Ziyi_0004": 0.94,
    "Felix_Mantilla_0001": 0.94,  # wrinkles, from the side
    "Gao_Qiang_0001": 0.94,  # glasses
}
"""Photos in which something lies on cheeks or forehead, and the share that is white at least."""


@pytest.fixture(scope="module")
def analyzer() -> FaceAnalyzer:
    return FaceAnalyzer(tasks=("detection", "landmarks", "pose"), landmarks="landmark_mesh")


@pytest.fixture(scope="module")
def segmenter() -> PersonSegmenter:
    found: PersonSegmenter = mobileface.load("segmentation_selfie")
    return found


Draw = Callable[[Image], tuple[list[Face], Image]]


@pytest.fixture(scope="module")
def draw(analyzer: FaceAnalyzer, segmenter: PersonSegmenter) -> Draw:
    def drawn(image: Image) -> tuple[list[Face], Image]:
        faces = analyzer(image)
        return faces, draw_portrait(image, faces, small_mask(segmenter, image))

    return drawn


def mesh_in(drawing: Image, image: Image, face: Face) -> MeshFace:
    assert face.mesh is not None
    factor = np.array(drawing.shape[::-1], np.float32) / image.shape[1::-1]
    return MeshFace(((face.mesh.points + 0.5) * factor - 0.5).astype(np.float32))


def white_skin(drawing: Image, mesh: MeshFace) -> float:
    """Share of the pixels inside of cheeks and forehead that are lighter than middle gray."""
    inside = np.zeros(drawing.shape, np.uint8)
    for outline in CHEEKS_AND_FOREHEAD:
        points = mesh.points[list(outline)]
        shrunk = points.mean(axis=0) + 0.85 * (points - points.mean(axis=0))
        cv2.fillPoly(inside, [shrunk.round().astype(np.int32)], (1,))
    return float((drawing[inside > 0] > 127).mean())


def dark_contours(drawing: Image, mesh: MeshFace) -> float:
    """Of eyes, brows and lips, the least share of contour with a dark pixel near.

    Near is within 0.03 of the eyes' distance.
    """
    reach = max(round(0.03 * mesh.eye_distance), 1)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    darkest = cv2.erode(drawing, disc)
    shares = []
    for lines in CONTOURS.values():
        line = np.concatenate([smooth_line(mesh.points[list(numbers)]) for numbers in lines])
        x, y = line.round().astype(int).T
        seen = (x >= 0) & (y >= 0) & (x < drawing.shape[1]) & (y < drawing.shape[0])
        shares.append(float((darkest[y[seen], x[seen]] < 128).mean()))
    return min(shares)


def check(name: str, image: Image, draw: Draw) -> tuple[float, float]:
    """The least white skin and the least dark contours of an image's faces."""
    faces, drawing = draw(image)
    meshes = [mesh_in(drawing, image, face) for face in faces if not drawable(face)]
    found = [(white_skin(drawing, mesh), dark_contours(drawing, mesh)) for mesh in meshes]
    white, dark = (min(values) for values in zip(*found, strict=True))
    print(f"{name}: {len(meshes)} faces, skin {white:.1%} white, contours {dark:.0%} dark")
    return white, dark


@pytest.mark.slow
@pytest.mark.needs_source
def test_skin_is_white_and_features_are_dark(source: Path, draw: Draw) -> None:
    """199 faces of 100 people of LFW, of all skin tones."""
    paths = sorted((source / "data" / "LFW-Aligned-100Pair").glob("*/*.jpg"))
    results, tones = {}, []
    for path in paths:
        image = read_image(path)
        try:
            results[path.stem] = check(path.stem, image, draw)
        except InputError as error:
            print(f"{path.stem}: {error}")
            continue
        tones.append(float(np.median(image[40:90, 20:80])))
    less = {name: white for name, (white, _) in results.items() if white < 0.97}
    print(
        f"{len(results)} faces, tones {min(tones):.0f} to {max(tones):.0f}; less than 97 %: {less}"
    )
    assert len(results) >= 199
    assert set(less) <= set(COVERED)
    assert all(white >= COVERED[name] for name, white in less.items())
    assert min(dark for _, dark in results.values()) >= 0.6
    dark_skin = [w for (w, _), tone in zip(results.values(), tones, strict=True) if tone < 80]
    print(f"{len(dark_skin)} dark ones: {np.mean(dark_skin):.1%} white")
    assert len(dark_skin) >= 10


@pytest.mark.slow
@pytest.mark.needs_source
@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("friends.jpg", 0.97),
        ("makeup_result/girl_makeup.png", 0.97),
        ("light/normal_light_1.png", 0.97),
        ("light/normal_light_2.png", 0.97),
        ("light/dark_light_1.png", 0.9),  # lit from one side, the other one is black
        ("light/dark_light_3.png", 0.97),
        ("light/bright_light_1.png", 0.97),
    ],
)
def test_light_and_dark_pictures(name: str, least: float, source: Path, draw: Draw) -> None:
    white, dark = check(name, read_image(source / "example" / name), draw)
    assert white >= least
    assert dark >= 0.6


@pytest.mark.slow
@pytest.mark.parametrize("scale", [0.5, 1, 4])
def test_a_face_is_found_again_in_its_drawing(
    scale: float, portrait: Path, analyzer: FaceAnalyzer, draw: Draw
) -> None:
    """By the detector and the mesh, which look at the drawing alone; at three sizes."""
    image = read_image(portrait)
    image = np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
    faces, drawing = draw(image)
    white, dark = check(f"{scale}", image, draw)
    mesh = mesh_in(drawing, image, faces[0])
    again = analyzer(drawing)
    assert len(again) == 1
    assert again[0].mesh is not None
    numbers = [33, 133, 263, 362, 61, 291, 1]
    off = np.hypot(*(again[0].mesh.points - mesh.points)[numbers].T).mean() / mesh.eye_distance
    print(f"{scale}: {drawing.shape}, corners {off:.3f} of the eyes' distance off")
    assert off < 0.08
    assert white >= 0.97
    assert dark >= 0.6
    assert drawing.shape == (image.shape[:2] if scale == 4 else drawing.shape)
    assert (drawing[: len(drawing) // 3, : len(drawing) // 8] > 250).mean() > 0.99  # the flag


@pytest.mark.parametrize("factor", [0.25, 0.5, 1.0])
def test_thresholds_follow_the_skin(factor: float, portrait: Path, analyzer: FaceAnalyzer) -> None:
    """The same face and mesh, darker: nearly the same drawing."""
    image = read_image(portrait)[20:240, 120:340]
    faces = analyzer(image)
    drawing = draw_portrait(np.rint(image * factor).astype(np.uint8), faces)
    same = float(((drawing > 127) == (draw_portrait(image, faces) > 127)).mean())
    print(f"{factor}: {same:.2%} the same")
    assert same > 0.97


@pytest.mark.slow
def test_styles(portrait: Path, analyzer: FaceAnalyzer) -> None:
    """Wider lines and more darkness make a darker drawing; rgb, gray, and no enlarging."""
    image = read_image(portrait)
    faces = analyzer(image)
    blacks = {
        style: float((draw_portrait(image, faces, style=style) < 128).mean())
        for style in (
            PortraitStyle(0.5, 0),
            PortraitStyle(1, 0),
            PortraitStyle(2, 0),
            PortraitStyle(1, 0.7),
            PortraitStyle(1, 1.3),
        )
    }
    values = list(blacks.values())
    print([f"{value:.3f}" for value in values])
    assert values == sorted(values)
    assert draw_portrait(image, faces, enlarge=False).shape == image.shape[:2]
    gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    colored = draw_portrait(image, faces)
    rgb = draw_portrait(np.ascontiguousarray(image[:, :, ::-1]), faces, color="rgb")
    assert np.array_equal(colored, draw_portrait(np.asarray(gray), faces))
    error = int(np.abs(rgb.astype(int) - colored).max())
    print(f"rgb: {error}")
    assert error <= 8


def test_what_is_refused(portrait: Path, analyzer: FaceAnalyzer) -> None:
    image = read_image(portrait)
    (face,) = analyzer(image)
    turned = dataclasses.replace(face, pose=Pose(pitch=3, roll=0, yaw=-66.4, degrees=True))
    small = np.asarray(cv2.resize(image, (36, 36), interpolation=cv2.INTER_AREA), np.uint8)
    assert face.mesh is not None
    points = (face.mesh.points * 36 / 512).astype(np.float32)
    tiny = dataclasses.replace(face, mesh=dataclasses.replace(face.mesh, points=points))
    for picture, faces, text in (
        (image, [], "no face found"),
        (image, [dataclasses.replace(face, mesh=None)], "no mesh of the face was found"),
        (image, [turned], "the face is turned by 66°, more than 60°"),
        (small, [tiny], "the eyes are 3 pixels apart, at least 12 are needed"),
    ):
        with pytest.raises(InputError, match=text):
            draw_portrait(picture, faces)
    assert draw_portrait(image, [turned, face]).shape > image.shape
    for options in ({"line_width": 0.4}, {"line_width": 3.1}, {"darkness": -0.1}, {"darkness": 3}):
        with pytest.raises(InputError, match="is not between"):
            PortraitStyle(**options)
    with pytest.raises(ImageError, match="drop the alpha channel"):
        draw_portrait(np.zeros((8, 8, 4), np.uint8), [face])
    with pytest.raises(ImageError, match="mask: expected"):
        draw_portrait(image, [face], np.zeros((4, 4), int))  # type: ignore[arg-type]


def test_splines_go_through_their_points() -> None:
    points = np.random.RandomState(4).uniform(0, 100, (7, 2)).astype(np.float32)
    for closed in (False, True):
        line = smooth_line(points, closed=closed, steps=6)
        error = float(np.abs(line[::6] - points).max())
        print(f"{error:.1g}")
        assert error < 1e-5

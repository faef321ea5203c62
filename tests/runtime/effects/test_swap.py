"""FaceSwapper: the warp, the colours, the seam, and what is refused."""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np
import pytest

from mobileface import Face, FaceAnalyzer, FaceSwapper, Landmarks, MobileFaceError, read_image
from mobileface.effects.face_warp import facing, map_face
from mobileface.effects.mesh_triangles import load_triangles
from mobileface.vision.image import Image
from tests.runtime.models.test_starter import no_users_models  # noqa: F401  (autouse)

skimage_color = pytest.importorskip("skimage.color")


@pytest.fixture(scope="module")
def analyzer() -> FaceAnalyzer:
    return FaceAnalyzer(
        tasks=("detection", "landmarks", "pose"),
        landmarks="landmark_mesh",
        pose="pose_mesh",
        intra_op_num_threads=1,
    )


@pytest.fixture(scope="module")
def image(portrait: object) -> Image:
    return read_image(str(portrait))


@pytest.fixture(scope="module")
def face(image: Image, analyzer: FaceAnalyzer) -> Face:
    return analyzer(image)[0]


@pytest.fixture(scope="module")
def other(image: Image) -> Image:
    """Another face: mirrored, smaller, in other colours."""
    mirrored = cv2.resize(image[:, ::-1], (400, 400), interpolation=cv2.INTER_AREA)
    return np.asarray(255 * (mirrored / 255.0) ** [1.6, 1.3, 1.1], np.uint8)


@pytest.fixture(scope="module")
def other_face(other: Image, analyzer: FaceAnalyzer) -> Face:
    return analyzer(other)[0]


def hull(face: Face, shape: tuple[int, ...], grown: int = 0) -> np.ndarray:
    """Where the hull of a mesh lies, bool (H, W)."""
    assert face.mesh is not None
    mask = np.zeros(shape[:2], np.uint8)
    points = np.round(cv2.convexHull(face.mesh.points)).astype(np.int32)
    cv2.fillPoly(mask, [points], (1,))
    return cv2.dilate(mask, np.ones((3, 3), np.uint8), iterations=grown) > 0


def test_the_map_is_opencvs_affine_map_of_each_triangle(face: Face) -> None:
    assert face.mesh is not None
    triangles = load_triangles()
    random = np.random.default_rng(3)
    there = (face.mesh.points * 0.7 + random.normal(0, 2, (468, 2))).astype(np.float32)
    shown = facing(face.mesh, triangles) > 0.5
    found = map_face(face.mesh, there, shown, triangles, (512, 512))
    assert found is not None
    worst, count = 0.0, 0
    for corners in triangles.corners[np.flatnonzero(shown)]:
        here = face.mesh.points[corners]
        if cv2.contourArea(here) < 12:
            continue
        matrix = cv2.getAffineTransform(here, there[corners])
        x, y = np.round(here.mean(axis=0)).astype(int)
        row, column = y - found.place[0].start, x - found.place[1].start
        expected = matrix @ [x, y, 1]
        worst = max(worst, *np.abs(expected - [found.x[row, column], found.y[row, column]]))
        count += 1
    print(f"{count} triangles, worst {worst:.1e} pixels")
    assert count > 50
    assert worst < 1e-3


def test_a_face_on_itself_changes_nothing(image: Image, face: Face) -> None:
    difference = np.abs(FaceSwapper(image, face)(image, face).astype(int) - image).max()
    print(f"{difference} grey levels")
    assert difference <= 2


def test_nothing_changes_outside_of_the_face(
    image: Image, face: Face, other: Image, other_face: Face
) -> None:
    before = other.copy()
    result = FaceSwapper(image, face)(other, other_face)
    changed = (result != other).any(axis=2)
    inside = hull(other_face, other.shape)
    print(f"{changed.sum()} of {inside.sum()} pixels of the hull change")
    assert not (changed & ~hull(other_face, other.shape, grown=1)).any()
    assert changed[inside].mean() > 0.6
    np.testing.assert_array_equal(other, before)


def test_swapping_again_changes_little(
    image: Image, face: Face, other: Image, other_face: Face, analyzer: FaceAnalyzer
) -> None:
    """With the same mesh, and with the one that is found in the result, which moves by a pixel."""
    swapper = FaceSwapper(image, face)
    once = swapper(other, other_face)
    inside = hull(other_face, other.shape)
    first = np.abs(once.astype(int) - other)[inside].mean()
    for found, share in ((other_face, 0.12), (analyzer(once)[0], 0.45)):
        again = np.abs(swapper(once, found).astype(int) - once)[inside].mean()
        print(f"mean of {first:.2f} grey levels at first, {again:.2f} the second time")
        assert again < share * first


def test_a_larger_source_is_averaged(
    image: Image, face: Face, other: Image, other_face: Face
) -> None:
    """Four times as large, with a chequered pattern of ±40 that means over an area do not have."""
    assert face.mesh is not None
    assert face.mesh.z is not None
    soft = (image // 2 + 50).astype(np.uint8)
    large = np.repeat(np.repeat(soft, 4, axis=0), 4, axis=1)
    pattern = np.indices(large.shape[:2]).sum(axis=0) % 2 * 80 - 40
    large = (large + pattern[..., None]).astype(np.uint8)
    points = ((face.mesh.points + 0.5) * 4 - 0.5).astype(np.float32)
    mesh = dataclasses.replace(face.mesh, points=points, z=face.mesh.z * 4)
    grown = dataclasses.replace(face, mesh=mesh, bbox=face.bbox * 4)
    results = [FaceSwapper(*pair)(other, other_face) for pair in ((soft, face), (large, grown))]
    difference = np.abs(results[0].astype(int) - results[1])[hull(other_face, other.shape)]
    print(f"mean {difference.mean():.2f} grey levels")
    assert difference.mean() < 2


def test_colours_are_those_of_the_target(image: Image, face: Face) -> None:
    """Mean and standard deviation of L*, a* and b* by scikit-image."""
    random = np.random.default_rng(5)
    warped, target = (
        np.clip(random.normal(middle, [18, 15, 20], (60, 60, 3)), 0, 255).astype(np.uint8)
        for middle in ([120, 110, 130], [100, 120, 150])
    )
    place = np.ones((60, 60), bool)
    found = FaceSwapper(image, face)._matched(warped, target, place)
    measured = []
    for part in (found / 255, target / 255.0):
        lab = skimage_color.rgb2lab(part[..., ::-1]).reshape(-1, 3)
        measured.append(np.stack([lab.mean(axis=0), lab.std(axis=0)]))
    error = np.abs(measured[0] - measured[1]).max()
    print(f"worst difference of means and sigmas: {error:.3f}")
    assert error < 0.1


def test_hair_on_the_forehead_stays_at_home(
    image: Image, face: Face, other: Image, other_face: Face
) -> None:
    """A band of hair painted above the brows of the source does not get onto the target."""
    assert face.mesh is not None
    points = face.mesh.points
    eyes = points[[33, 263]].mean(axis=0)
    up = points[10] - eyes
    corners = np.array([[-0.9, 0.42], [0.9, 0.42], [0.9, 0.62], [-0.9, 0.62]])
    across = np.array([-up[1], up[0]])
    band = np.rint(eyes + corners[:, :1] * across + corners[:, 1:] * up).astype(np.int32)
    painted = cv2.fillPoly(image.copy(), [band], (20, 30, 40))
    plain, with_band = (
        FaceSwapper(picture, face)(other, other_face).astype(int) for picture in (image, painted)
    )
    inside = hull(other_face, other.shape)
    changed = np.abs(with_band - plain).max(axis=2)[inside]
    target = np.abs(with_band - other).max(axis=2)[inside]
    share = float((changed > 60).mean())
    print(f"more than 60 levels: {share:.2%} of the face; swapped at all {(target > 8).mean():.0%}")
    assert share <= 0.01  # 0.04 if the hair came along
    assert (target > 8).mean() >= 0.3


@pytest.mark.parametrize("channels", [1, 3])
def test_gray_pictures_stay_gray(
    channels: int, image: Image, face: Face, other: Image, other_face: Face
) -> None:
    gray = cv2.cvtColor(other, cv2.COLOR_BGR2GRAY)
    shown = gray if channels == 1 else cv2.merge([gray] * 3)
    result = FaceSwapper(image, face)(shown, other_face)
    assert result.shape == shown.shape
    assert (result != shown).any()
    if channels == 3:
        assert (result == result[..., :1]).all()
    from_gray = FaceSwapper(gray, other_face)(image, face)
    assert (from_gray != image).any()


def test_what_looks_away_stays(image: Image, face: Face) -> None:
    """A target turned by 50 degrees: the far cheek is not drawn."""
    assert face.mesh is not None
    assert face.mesh.z is not None
    triangles = load_triangles()
    points = np.column_stack([face.mesh.points, face.mesh.z]).astype(np.float64)
    middle = points.mean(axis=0)
    for yaw in (-50, 50):
        cosine, sine = math.cos(math.radians(yaw)), math.sin(math.radians(yaw))
        turned = (points - middle) @ np.array([[cosine, 0, -sine], [0, 1, 0], [sine, 0, cosine]])
        turned = (turned + middle).astype(np.float32)
        mesh = Landmarks(face.mesh.names, turned[:, :2], turned[:, 2])
        away = facing(mesh, triangles) < 0
        centres = points[triangles.corners].mean(axis=1)[:, 0] - middle[0]
        print(f"yaw {yaw}: {away.sum()} look away, at {np.median(centres[away]):.0f} pixels")
        assert away.sum() > 30
        assert ((centres[away] > 0) == (yaw < 0)).mean() > 0.9


def test_a_face_without_a_mesh_is_refused(image: Image, face: Face) -> None:
    bare = dataclasses.replace(face, mesh=None, pose=None)
    with pytest.raises(MobileFaceError, match="source: the face has no mesh"):
        FaceSwapper(image, bare)
    swapper = FaceSwapper(image, dataclasses.replace(face, pose=None))
    with pytest.raises(MobileFaceError, match="target: the face has no mesh"):
        swapper(image, bare)
    with pytest.raises(MobileFaceError, match="target, face 1: the face has no mesh"):
        swapper(image, [face, bare])


def test_rgb_is_bgr_reversed(image: Image, face: Face, other: Image, other_face: Face) -> None:
    expected = FaceSwapper(image, face)(other, other_face)
    found = FaceSwapper(image[..., ::-1], face, color="rgb")(other[..., ::-1], other_face)
    difference = np.abs(found[..., ::-1].astype(int) - expected).max()
    print(f"{difference} grey levels")
    assert difference <= 1


@pytest.mark.parametrize("cut", [170, 215, 235])
def test_a_face_across_the_border(cut: int, image: Image, face: Face, other: Image) -> None:
    """What lies in the image is swapped as in the whole image, but for colours and the edge."""
    assert face.mesh is not None
    swapper = FaceSwapper(image, face)
    points = (face.mesh.points - np.array([cut, 0], np.float32)).astype(np.float32)
    mesh = dataclasses.replace(face.mesh, points=points)
    moved = dataclasses.replace(face, mesh=mesh, bbox=face.bbox - [cut, 0, cut, 0])
    target = np.ascontiguousarray(other[:, ::-1])
    target = cv2.resize(target, (512, 512))
    whole, part = swapper(target, face), swapper(target[:, cut:], moved)
    difference = np.abs(whole[:, cut:].astype(int) - part)
    print(f"mean {difference.mean():.2f}, worst {difference.max()} grey levels")
    assert (part != target[:, cut:]).any()
    assert difference.mean() < 1
    left = dataclasses.replace(
        moved, mesh=dataclasses.replace(mesh, points=points - np.float32(2000))
    )
    np.testing.assert_array_equal(swapper(target, left), target)
    # as a source, what lies beyond the border is not shown
    found = FaceSwapper(image[:, cut:], moved)(target, face)
    assert not (found[:, : cut - 20] != target[:, : cut - 20]).any()

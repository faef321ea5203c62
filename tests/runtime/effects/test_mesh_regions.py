"""Regions of the mesh against the pose model's shape, dlib's points, and colours of a portrait."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import pytest

import mobileface
from mobileface import Face, LandmarkPredictor
from mobileface.effects.mesh_regions import (
    POINTS,
    Contour,
    Region,
    contour,
    mirrored,
    region_mask,
)
from mobileface.effects.mesh_shape import MEAN_SHAPE
from mobileface.effects.mesh_triangles import load_triangles
from mobileface.errors import InputError
from mobileface.vision.image import Image
from tests import record_mesh_shape
from tests.runtime.effects.conftest import STARTER


def points(face: Face) -> mobileface.types.FloatArray:
    assert face.mesh is not None
    return face.mesh.points


def test_the_mean_shape_is_the_pose_models() -> None:
    """Its 60 points are part of the table, to the rounding of both."""
    model = json.loads((STARTER / "pose_mesh.json").read_text())["rigid_pose"]
    error = np.abs(MEAN_SHAPE[model["points"]] - np.array(model["reference"])).max()
    print(f"60 points: at most {error:.5f} from pose_mesh's")
    assert error <= 0.00055


@pytest.mark.needs_source
def test_the_table_is_what_the_recipe_of_the_shape_prints(source: Path) -> None:
    """Derived anew from the portraits."""
    mean, partner = record_mesh_shape.mean_shape(
        record_mesh_shape.meshes(source / record_mesh_shape.LFW)
    )
    error = np.abs(mean - MEAN_SHAPE).max()
    print(f"468 points: at most {error:.5f} from a fresh derivation")
    assert error <= 0.001  # 0.0005 with OpenCV 4.11, 0.0007 with 5.0, which crops otherwise
    assert np.array_equal(partner, mirrored())


def test_sides_are_mirror_images() -> None:
    partner = mirrored()
    assert np.array_equal(partner[partner], np.arange(POINTS))
    assert np.array_equal(MEAN_SHAPE[partner], MEAN_SHAPE * [-1, 1, 1])
    for name in get_args(Contour):
        numbers = contour(name)
        assert len(set(numbers)) == len(numbers)
        other = name.replace("left", "RIGHT").replace("right", "left").replace("RIGHT", "right")
        assert {int(partner[number]) for number in numbers} == set(contour(other))


def test_triangles_cover_the_oval_once() -> None:
    """Euler: a disc of V points with B on its rim has 2V − 2 − B triangles; no point is left out.

    Every inner edge belongs to two triangles, those of the rim to one, and these are the oval.
    """
    corners = load_triangles().corners
    rim = contour("oval")
    assert corners.shape == (2 * POINTS - 2 - len(rim), 3)
    assert set(corners.ravel().tolist()) == set(range(POINTS))
    edges = np.sort(np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [2, 0]]]))
    unique, counts = np.unique(edges, axis=0, return_counts=True)
    outer = {tuple(edge) for edge in unique[counts == 1].tolist()}
    line = {tuple(sorted(pair)) for pair in zip(rim, rim[1:] + rim[:1], strict=True)}
    assert set(counts.tolist()) == {1, 2}
    assert outer == line


def test_eyes_lie_between_dlibs_corners(astronaut: Image, astronauts_face: Face) -> None:
    dlib = mobileface.load("landmark_dlib5", models=STARTER)
    assert isinstance(dlib, LandmarkPredictor)
    named = dlib.predict(astronaut, astronauts_face.bbox[None])[0]
    rings: dict[str, Contour] = {"left": "left_eye", "right": "right_eye"}
    for side, name in rings.items():
        ends = named.select((f"{side}_eye_outer", f"{side}_eye_inner"))
        assert ends is not None
        ring = points(astronauts_face)[list(contour(name))]
        low, high = np.sort(ends[:, 0])
        error = np.abs([ring[:, 0].min() - low, ring[:, 0].max() - high])
        print(f"{side} eye: its ends are {error.round(2)} px from dlib's, width {high - low:.1f}")
        assert error.max() < 0.2 * (high - low)


def test_regions_have_the_colours_of_what_they_are(astronaut: Image, astronauts_face: Face) -> None:
    """Lips are redder than skin, teeth lighter and less red than lips, eyes and lids darker."""
    lab = cv2.cvtColor(astronaut.astype(np.float32) / 255, cv2.COLOR_BGR2LAB)
    where = points(astronauts_face)
    names: tuple[Region, ...] = ("skin", "lips", "mouth", "eyes", "brows", "shadow")
    masks = {name: region_mask(astronaut.shape, where, name) > 0.99 for name in names}
    mean = {name: np.median(lab[mask], axis=0) for name, mask in masks.items()}
    print({name: value.round(1).tolist() for name, value in mean.items()})
    assert mean["lips"][1] > mean["skin"][1] + 5
    assert mean["mouth"][0] > mean["lips"][0] + 5
    assert mean["mouth"][1] < mean["lips"][1] - 5
    assert mean["shadow"][0] < mean["skin"][0] - 5
    assert mean["eyes"][0] < mean["skin"][0] - 20
    apart = np.sum([masks[name] for name in ("skin", "lips", "mouth", "eyes", "brows")], axis=0)
    assert apart.max() == 1


def test_a_mask_is_the_area_of_its_polygon(astronauts_face: Face) -> None:
    """Antialiased, at eight times the size: within 3 % of the shoelace formula's area."""
    where = points(astronauts_face) * 8
    parts: dict[Region, tuple[Contour, ...]] = {
        "face": ("oval",),
        "eyes": ("left_eye", "right_eye"),
    }
    for region, names in parts.items():
        area = sum(cv2.contourArea(where[list(contour(name))]) for name in names)
        found = float(region_mask((4096, 4096), where, region).sum())
        print(f"{region}: {found:.0f} px, polygon {area:.0f}")
        assert found == pytest.approx(area, rel=0.03)


def test_empty_outside_and_soft(astronauts_face: Face) -> None:
    where = points(astronauts_face).copy()
    where[list(contour("inner_lips"))] = where[13]
    assert not region_mask((512, 512), where, "mouth").any()
    assert not region_mask((512, 512), where + 1e4, "face").any()
    assert not region_mask((512, 512), where + 1e6, "face").any()
    soft = region_mask((512, 512), where, "face", feather=3)
    sharp = region_mask((512, 512), where, "face")
    assert soft.sum() == pytest.approx(sharp.sum(), rel=1e-3)
    assert ((soft > 0.05) & (soft < 0.95)).sum() > 3 * ((sharp > 0.05) & (sharp < 0.95)).sum()


def test_what_is_no_mesh() -> None:
    with pytest.raises(InputError, match="468 points of landmark_mesh, not shape"):
        region_mask((9, 9), np.zeros((5, 2)), "face")
    with pytest.raises(InputError, match="not finite"):
        region_mask((9, 9), np.full((POINTS, 2), np.nan), "face")
    with pytest.raises(InputError, match="no region 'nose'"):
        region_mask((9, 9), np.zeros((POINTS, 2)), "nose")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no contour 'nose'"):
        contour("nose")

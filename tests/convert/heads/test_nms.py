"""Suppression of boxes equals MXNet's to the last bit, in all the cases that detectors meet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import pytest

from mobileface.errors import GraphError, UnsupportedOperatorError
from mobileface_convert.backends.onnx import clean
from mobileface_convert.graph.onnx_builder import GraphBuilder
from mobileface_convert.heads.nms import BoxNms, box_nms
from mobileface_convert.oracles.mxnet_oracle import import_mxnet
from tests.convert.ops.op_check import run_onnx

pytestmark = pytest.mark.needs_mxnet

Rows = npt.NDArray[np.float32]
Random = np.random.RandomState

PUBLISHED = BoxNms(0.45, 0.01, 400, id_index=0, classes=1)
OPTIONS = ("overlap", "valid", "topk")


def model(options: BoxNms, rows_kept: int | None = None) -> onnx.ModelProto:
    """Rows of any number to what is left of them; the settings may be fed."""
    builder = GraphBuilder("nms", 17)
    rows = builder.input("rows", np.float32, ("N", "R", 6))
    given: dict[str, ir.Value] = {
        "overlap": builder.option("overlap", options.overlap_thresh, np.float32),
        "valid": builder.option("valid", options.valid_thresh, np.float32),
        "topk": builder.option("topk", options.topk, np.int64),
    }
    best = box_nms(builder, rows, options, rows_kept=rows_kept, **given)  # type: ignore[arg-type]
    return clean(ir.to_proto(builder.build({"best": best})), "nms")


def mxnet_nms(rows: Rows, options: BoxNms) -> Rows:
    names = ("overlap_thresh", "valid_thresh", "topk", "coord_start", "score_index", "id_index")
    names += ("background_id", "force_suppress", "in_format", "out_format")
    mxnet = import_mxnet()
    given = {name: getattr(options, name) for name in names}
    found: Rows = mxnet.nd.contrib.box_nms(mxnet.nd.array(rows), **given).asnumpy()
    return found


def boxes(random: Random, batch: int, count: int, side: float = 100) -> Rows:
    """(batch, count, 6): id 0, a score, a box of some pixels."""
    low, size = random.rand(2, batch, count, 2) * side
    rows = np.zeros((batch, count, 6), np.float32)
    rows[..., 1] = random.rand(batch, count)
    rows[..., 2:] = np.concatenate([low, low + size / 2], axis=-1)
    return rows


def ties(random: Random) -> Rows:
    """Few different scores, many of each."""
    rows = boxes(random, 2, 60)
    rows[..., 1] = random.randint(0, 6, (2, 60)) / 5
    return rows


def exact_overlap(random: Random) -> Rows:
    """Pairs whose overlap is the threshold itself: 9 of 20 pixels are shared, 9/20 = 0.45."""
    rows = boxes(random, 1, 40)
    corner = random.randint(0, 8, (40, 2)) * 64.0
    rows[0, :, 2:4] = corner
    heights = random.choice([9, 20], 40)
    rows[0, :, 4] = corner[:, 0] + 1
    rows[0, :, 5] = corner[:, 1] + heights
    return rows


def many(random: Random) -> Rows:
    """More candidates than take part."""
    return boxes(random, 1, int(random.randint(395, 900)), 400)


def few(random: Random) -> Rows:
    rows = boxes(random, 2, 500)
    rows[..., 1] *= (random.rand(2, 500) < 0.006).astype(np.float32)
    return rows


def none(random: Random) -> Rows:
    rows = boxes(random, 2, 130)
    rows[..., 1] *= 0.01
    return rows


def short(random: Random) -> Rows:
    """Fewer rows than are kept."""
    return boxes(random, 3, int(random.randint(1, 60)), 50)


def crowded(random: Random) -> Rows:
    """Nearly all boxes on one spot."""
    rows = boxes(random, 1, 300)
    rows[..., 2:] = np.float32([10, 10, 60, 60]) + random.rand(1, 300, 4) * 8
    return rows


def odd_boxes(random: Random) -> Rows:
    """Inverted boxes, boxes of no area, negative and huge coordinates, equal boxes."""
    rows = boxes(random, 1, 80)
    rows[0, :10, 2:] = rows[0, :10, [4, 5, 2, 3]].T
    rows[0, 10:20, 4] = rows[0, 10:20, 2]
    rows[0, 20:30, 2:] -= 60
    rows[0, 30:35, 2:] *= 1e6
    rows[0, 40:60, 2:] = rows[0, 40, 2:]
    return rows


def at_threshold(random: Random) -> Rows:
    """Scores that are the threshold, one step below and one above."""
    rows = boxes(random, 1, 50)
    limit = np.float32(0.01)
    steps = [limit, np.nextafter(limit, np.float32(0)), np.nextafter(limit, np.float32(1)), 0, -1]
    rows[..., 1] = random.choice(np.array(steps, np.float32), (1, 50))
    return rows


SCENES: dict[str, Callable[[Random], Rows]] = {
    "plain": lambda random: boxes(random, 2, 150),
    "ties": ties,
    "exact overlap": exact_overlap,
    "many": many,
    "few": few,
    "none": none,
    "short": short,
    "crowded": crowded,
    "odd boxes": odd_boxes,
    "at threshold": at_threshold,
}
SEEDS = range(25)


@pytest.fixture(scope="module")
def published() -> dict[int | None, onnx.ModelProto]:
    return {kept: model(PUBLISHED, kept) for kept in (None, 100)}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("scene", SCENES)
def test_equals_mxnet(published: dict[int | None, onnx.ModelProto], scene: str, seed: int) -> None:
    rows = SCENES[scene](Random(seed)).astype(np.float32)
    expected = mxnet_nms(rows, PUBLISHED)
    (found,) = run_onnx(published[None], {"rows": rows})
    np.testing.assert_array_equal(found, expected)
    (kept,) = run_onnx(published[100], {"rows": rows})
    assert kept.shape == (len(rows), 100, 6)
    count = min(100, rows.shape[1])
    np.testing.assert_array_equal(kept[:, :count], expected[:, :count])
    assert (kept[:, count:] == -1).all()


def test_scenes_are_what_they_are_called() -> None:
    """Each scene suppresses, or leaves, what it is there for."""
    left = {
        name: [int((mxnet_nms(make(Random(s)), PUBLISHED)[..., 0] >= 0).sum()) for s in range(5)]
        for name, make in SCENES.items()
    }
    print(left)
    assert max(left["none"]) == 0
    assert 0 < max(left["few"]) < 20
    assert max(left["crowded"]) < 30
    assert min(left["many"]) > 100
    scores = [ties(Random(s))[..., 1] for s in SEEDS]
    assert all(len(np.unique(s)) < 10 for s in scores)
    rows = exact_overlap(Random(0))
    higher = mxnet_nms(rows, BoxNms(0.46, 0.01, 400, id_index=0))
    lower = mxnet_nms(rows, BoxNms(0.44, 0.01, 400, id_index=0))
    assert (higher >= 0).sum() > (lower >= 0).sum()


@pytest.mark.parametrize("seed", range(5))
def test_nan_is_no_score(published: dict[int | None, onnx.ModelProto], seed: int) -> None:
    rows = boxes(Random(seed), 1, 60)
    rows[0, ::7, 1] = np.nan
    (found,) = run_onnx(published[None], {"rows": rows})
    rows[0, ::7, 1] = -1
    np.testing.assert_array_equal(found, mxnet_nms(rows, PUBLISHED))


SETTINGS = (
    BoxNms(0.3, 0.5, 20, id_index=0, classes=None),
    BoxNms(0.0, 0.0, -1, id_index=0, classes=3),
    BoxNms(0.5, 0.2, -1, id_index=0, background_id=1, classes=None),
    BoxNms(0.5, 0.2, 30, id_index=0, background_id=0, classes=3),
    BoxNms(0.6, 0.1, -1, id_index=0, force_suppress=True, classes=None),
    BoxNms(0.6, 0.1, -1, id_index=-1),
    BoxNms(1.0, 0.1, -1, id_index=0, classes=3),
    BoxNms(0.45, 0.01, 400, id_index=0, classes=3, out_format="center"),
)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("options", SETTINGS, ids=str)
def test_classes_and_settings(options: BoxNms, seed: int) -> None:
    random = Random(seed)
    rows = boxes(random, 2, 90)
    rows[..., 0] = random.randint(0, 3, (2, 90))
    (found,) = run_onnx(model(options), {"rows": rows})
    np.testing.assert_array_equal(found, mxnet_nms(rows, options))


@pytest.mark.parametrize("fed", [(0.3, 0.5, 10), (0.7, 0.0, -1), (0.1, 0.9, 0), (1.0, 0.2, 1)])
def test_settings_may_be_fed(
    published: dict[int | None, onnx.ModelProto], fed: tuple[float, float, int]
) -> None:
    rows = boxes(Random(1), 2, 150)
    overlap, valid, topk = fed
    given: dict[str, Any] = {
        "overlap": np.array(overlap, np.float32),
        "valid": np.array(valid, np.float32),
        "topk": np.array(topk, np.int64),
    }
    (found,) = run_onnx(published[None], {"rows": rows, **given})
    expected = mxnet_nms(rows, BoxNms(overlap, valid, topk or -1, id_index=0))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("options", "columns", "kind", "message"),
    [
        (BoxNms(0.5, 0, in_format="center"), 6, UnsupportedOperatorError, "in_format='center'"),
        (BoxNms(-0.1, 0), 6, UnsupportedOperatorError, "overlap_thresh=-0.1"),
        (BoxNms(0.5, 0), 5, GraphError, "5 columns, at least 6 are needed"),
        (BoxNms(0.5, 0, score_index=-1), 6, GraphError, "must not be negative"),
    ],
    ids=str,
)
def test_settings_without_a_conversion(
    options: BoxNms, columns: int, kind: type[Exception], message: str
) -> None:
    builder = GraphBuilder("nms", 17)
    rows = builder.input("rows", np.float32, ("N", "R", columns))
    with pytest.raises(kind, match=message):
        box_nms(builder, rows, options)

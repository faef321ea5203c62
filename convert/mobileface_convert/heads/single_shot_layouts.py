"""Published layouts of face detectors: what their outputs mean.

========== ============================================ ============================================
layout     outputs                                      source of its formulas
========== ============================================ ============================================
scrfd      scores (n, 1), then distances (n, 4), then   Guo et al. 2021, arXiv:2105.04714
           points (n, 10) of each stride; 6 or 9 for
           strides 8, 16, 32 with two anchors a cell,
           10 or 15 for 8 to 128 with one
retinaface boxes (N, A, 4), classes (N, A, 2), points   Deng et al. 2019, arXiv:1905.00641
           (N, A, 10), in any order; two square anchors
           a cell at strides 8, 16, 32
yolov5     (N, A, 16): cx, cy, w, h, object, five       Qi et al. 2021, arXiv:2105.12931
           points, class
yolov8     (N, 5 or 20, A): cx, cy, w, h, score, then x, Ultralytics 2023, in the layout of its pose
           y and visibility of five points              models
========== ============================================ ============================================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mobileface.errors import ConversionError

__all__ = ["FORMS", "LAYOUTS", "POINTS", "Form", "Reading", "read_outputs"]

POINTS = 5

LAYOUTS = ("scrfd", "retinaface", "yolo", "yunet")
"""What a caller can say of a file; "yolo" is one of two forms, by the shape of its output."""


@dataclass(frozen=True)
class Form:
    """What a layout says of the network's input, and its published defaults.

    Attributes:
        title: For cards.
        color: Channel order that the network was trained with.
        mean: Subtracted from pixels 0..255.
        std: Divisor of the result.
        fill: Value of pixels that are added at the right and below.
        score_threshold: Its author's.
        iou_threshold: Its author's.
    """

    title: str
    color: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fill: int
    score_threshold: float
    iou_threshold: float


FORMS: Mapping[str, Form] = {
    "scrfd": Form("SCRFD", "rgb", (127.5,), (128.0,), 0, 0.5, 0.4),
    "retinaface": Form("RetinaFace", "bgr", (104.0, 117.0, 123.0), (1.0,), 0, 0.6, 0.4),
    "yolov5": Form("YOLOv5-face", "rgb", (0.0,), (255.0,), 114, 0.3, 0.5),
    "yolov8": Form("YOLOv8-face", "rgb", (0.0,), (255.0,), 114, 0.25, 0.7),
}


@dataclass(frozen=True)
class Reading:
    """What the outputs of a network are.

    Attributes:
        form: A key of `FORMS`.
        outputs: Their names. SCRFD: scores of each stride, distances, points; RetinaFace: boxes,
            classes, points; YOLO: the only one.
        points: Whether there are points.
        logits: Whether RetinaFace's classes are to be turned into probabilities.
        flat: Whether outputs have no axis for the images of a batch.
    """

    form: str
    outputs: tuple[str, ...]
    points: bool = True
    logits: bool = False
    flat: bool = False

    @property
    def strides(self) -> tuple[int, ...]:
        """Width of a cell of each grid, in pixels; empty if the network decodes itself."""
        if self.form == "scrfd":
            return tuple(8 << level for level in range(len(self.outputs) // (2 + self.points)))
        return (8, 16, 32) if self.form == "retinaface" else ()

    @property
    def units(self) -> tuple[tuple[int, ...], ...]:
        """For each grid the length in pixels that each anchor's distances are counted in."""
        if self.form == "retinaface":
            return ((16, 32), (64, 128), (256, 512))
        count = 2 if len(self.strides) == 3 else 1
        return tuple((stride,) * count for stride in self.strides)

    @property
    def multiple(self) -> int:
        """The sides of the network's input are multiples of this, in pixels."""
        return max(self.strides, default=64)


def read_outputs(
    layout: str, found: Mapping[str, Sequence[int]], size: tuple[int, int], where: str
) -> Reading:
    """What the outputs of a network are.

    Args:
        layout: "scrfd", "retinaface" or "yolo".
        found: The shape of each output for one image, in the order of the file.
        size: Height and width of that image, in pixels.
        where: Name of the file in error messages.

    Raises:
        ConversionError: They do not have the layout.
    """
    reading = {"scrfd": _scrfd, "retinaface": _retinaface, "yolo": _yolo}[layout](found, where)
    height, width = size
    wanted = [
        (height // stride) * (width // stride) * len(units)
        for stride, units in zip(reading.strides, reading.units, strict=True)
    ]
    if reading.form == "retinaface":
        wanted = [sum(wanted)]
    for index, name in enumerate(reading.outputs if wanted else ()):
        rows, expected = found[name][-2], wanted[index % len(wanted)]
        if rows != expected:
            raise ConversionError(
                f"output '{name}' has {rows} rows for {width}x{height} pixels, {layout} has "
                f"{expected}",
                where=where,
            )
    return reading


def _scrfd(found: Mapping[str, Sequence[int]], where: str) -> Reading:
    names, points = tuple(found), len(found) in (9, 15)
    if len(found) not in (6, 9, 10, 15):
        raise _count(found, "scrfd", "6 or 9 outputs, or 10 or 15 for five strides", where)
    grids = len(found) // (2 + points)
    flat = len(found[names[0]]) == 2
    for index, name in enumerate(names):
        width, shape = (1, 4, 2 * POINTS)[index // grids], list(found[name])
        if len(shape) != (2 if flat else 3) or shape[-1] != width:
            raise ConversionError(
                f"output {index + 1} '{name}' has the shape {shape}, scrfd has {width} in a row "
                "there",
                where=where,
                hint="scores of each stride come first, then distances, then points",
            )
    return Reading("scrfd", names, points, flat=flat)


def _retinaface(found: Mapping[str, Sequence[int]], where: str) -> Reading:
    if len(found) != 3:
        raise _count(found, "retinaface", "3 outputs", where)
    roles = {shape[-1]: name for name, shape in found.items() if len(shape) == 3}
    if sorted(roles) != [2, 4, 2 * POINTS]:
        raise ConversionError(
            f"outputs of shapes {_listed(found)}, retinaface has (1, A, 4), (1, A, 2) and "
            "(1, A, 10)",
            where=where,
        )
    return Reading("retinaface", (roles[4], roles[2], roles[2 * POINTS]))


def _yolo(found: Mapping[str, Sequence[int]], where: str) -> Reading:
    if len(found) != 1:
        hint = "export it with decoding: one output for all strides"
        raise _count(found, "yolo", "1 output", where, hint)
    ((name, shape),) = found.items()
    if len(shape) == 3 and shape[2] == 6 + 2 * POINTS:
        return Reading("yolov5", (name,))
    if len(shape) == 3 and shape[1] in (5, 5 + 3 * POINTS):
        return Reading("yolov8", (name,), points=shape[1] > 5)
    raise ConversionError(
        f"an output of shape {list(shape)}, yolo has (1, A, 16), (1, 20, A) or (1, 5, A)",
        where=where,
    )


def _count(
    found: Mapping[str, Sequence[int]], layout: str, wanted: str, where: str, hint: str = ""
) -> ConversionError:
    many = "1 output" if len(found) == 1 else f"{len(found)} outputs"
    what = f"the network has {many}, {layout} has {wanted}"
    return ConversionError(what, where=where, hint=hint or "pass another --layout")


def _listed(found: Mapping[str, Sequence[int]]) -> str:
    return ", ".join(str(list(shape)) for shape in found.values())

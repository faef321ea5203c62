"""Kind "landmarks": a shape predictor of regression trees, on a grey image and boxes."""

from __future__ import annotations

from dataclasses import dataclass

from ...fields import Names, Text
from .base import PROBE_SEED, Facts, Feed, Kind, Tensors

__all__ = ["SHAPE_PREDICTOR", "LandmarkSpec"]

_HEIGHT, _WIDTH = 120, 160
_BOXES = 8


@dataclass(frozen=True, slots=True)
class LandmarkSpec:
    """A landmark model: image uint8 (H, W) and boxes int64 (N, 4) in, float32 (N, P, 2) out.

    Attributes:
        image: Name of the ONNX input for the grey image.
        boxes: Name of the ONNX input for left, top, right, bottom of each face.
        output: Name of the ONNX output, x and y of each point in pixels of the image.
        points: Name of each point, in order; "left" is left as the viewer sees it.
    """

    image: Text
    boxes: Text
    output: Text
    points: Names


class ShapePredictor(Kind[LandmarkSpec]):
    """A cascade of regression trees (Kazemi and Sullivan, CVPR 2014) as dlib trains it."""

    name = "landmarks"
    task = "landmarks"
    section = LandmarkSpec
    runner = "mobileface.tasks.landmarks:LandmarkPredictor"
    no_export = (
        "its regression trees read pixels at computed places and follow branches by number, for "
        "which {target} has no layers"
    )

    def tensors(self, section: LandmarkSpec) -> Tensors:
        """A grey image and boxes in, points out."""
        return Tensors(
            {section.image: (None, None), section.boxes: (None, 4)},
            {section.output: (None, len(section.points), 2)},
        )

    def probes(self, spec: Facts) -> list[Feed]:
        """Two images with eight boxes each: inside, partly outside and around the image."""
        import numpy as np

        from ..probes import make_probes

        section = spec.require(LandmarkSpec)
        random = np.random.RandomState(PROBE_SEED)
        corner = random.randint(-30, 120, (_BOXES, 2))
        side = random.randint(20, 120, (_BOXES, 1))
        boxes = np.hstack([corner, corner + side]).astype(np.int64)
        images = make_probes(2, _HEIGHT, _WIDTH, 1, PROBE_SEED)[..., 0]
        return [{section.image: image, section.boxes: boxes} for image in images]

    def describe_input(self, section: LandmarkSpec) -> str:
        """Both inputs."""
        return (
            f"`{section.image}`, uint8 (H, W), the mean of red, green and blue; "
            f"`{section.boxes}`, int64 (N, 4): left, top, right, bottom"
        )

    def describe_output(self, section: LandmarkSpec) -> str:
        """The points and their names."""
        points = ", ".join(section.points)
        shape = f"float32 (N, {len(section.points)}, 2)"
        return f"`{section.output}`, {shape}, x and y in pixels: {points}"


SHAPE_PREDICTOR = ShapePredictor()

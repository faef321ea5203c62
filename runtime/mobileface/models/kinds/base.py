"""What a kind of model is: everything that depends on what a network takes and gives.

A kind states its section of the spec, the inputs and outputs that go with it, the class that runs
it, what a certificate feeds it with and records of it, and how cards describe it. Nothing else in
the project asks which kind a model is; see "Add a model kind" in CONTRIBUTING.md. Importing a kind
needs the standard library alone: numpy is imported when a network is fed.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from ...errors import SpecError

if TYPE_CHECKING:
    from ...arrays import Array, ByteArray, FloatArray
    from ...vision.network_input import ImageInput

__all__ = ["PROBE_SEED", "Facts", "Feed", "Kind", "Option", "Shape", "Tensors"]

Shape = tuple["int | None", ...]
"""Sizes of a tensor; None stands for any size."""

Feed = Mapping[str, "Array"]
"""The inputs of one run of a network, by name."""

PROBE_SEED = 20200229
"""Start of the random numbers from which certificates' inputs are made."""

S = TypeVar("S")


class Facts(Protocol):
    """What a kind reads of a `mobileface.models.spec.ModelSpec`."""

    @property
    def name(self) -> str:
        """Name of the model."""

    @property
    def task(self) -> str:
        """What it does."""

    @property
    def input(self) -> ImageInput | None:
        """Its image input, if it has one of fixed size."""

    def require(self, section: type[S], where: str = "") -> S:
        """Its section of that type, or a `mobileface.errors.ModelError`."""


@dataclass(frozen=True, slots=True)
class Tensors:
    """The inputs and outputs that a spec promises.

    Attributes:
        inputs: Shape of each input by name; inputs with a default count as well.
        outputs: Shape of each output by name.
    """

    inputs: Mapping[str, Shape] = field(default_factory=dict)
    outputs: Mapping[str, Shape] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Option:
    """A keyword of a kind's runner that commands offer as an option.

    Attributes:
        name: The keyword, e.g. "min_face_size"; the option is ``--min-face-size``.
        type: What the text is converted to.
        metavar: What stands for the value in help texts.
        help: One line.
        thorough: The value where a missed face is worse than a wrong box; None: the runner's own.
    """

    name: str
    type: type[int] | type[float]
    metavar: str
    help: str
    thorough: float | None = None


class Kind(Generic[S]):
    """A kind of model.

    Attributes:
        name: Key of its section in the spec, e.g. "yolo".
        task: The task that it serves, e.g. "detection".
        section: Dataclass of that section.
        runner: Module and class that runs it, as "package.module:Class". The class is called with
            a `Session` and the options; with the spec alone if the kind has no network.
        options: Keywords of the runner for commands to offer.
        has_network: False if its file is nothing but the spec.
        needs_input: True if the spec needs a section "input".
        one_size: True if the network reads images of one size only, so that ONNX Runtime may plan
            its memory once.
        calibration: Images that int8 ranges are taken from: "crops", "photos" or None.
        ordered: True if rounding does not change the order of the rows of its outputs.
        cuts_classifier: True if its output is the layer before the classifier that the network was
            trained with, so that conversion cuts the classifier off.
        exports_trunk: True if other formats than ONNX get the network without its decoding and
            NMS, which the sidecar describes.
        on_request: True if its models run only when they are asked for, not by preference alone.
        input_color: Channel order of the images that it reads, if the spec has no "input".
        no_export: Why other formats than ONNX cannot hold it, with a place for "{target}"; may be
            empty.
    """

    name: ClassVar[str]
    task: ClassVar[str]
    section: type[S]
    runner: ClassVar[str]
    options: ClassVar[tuple[Option, ...]] = ()
    has_network: ClassVar[bool] = True
    needs_input: ClassVar[bool] = False
    one_size: ClassVar[bool] = False
    calibration: ClassVar[str | None] = None
    ordered: ClassVar[bool] = True
    cuts_classifier: ClassVar[bool] = False
    exports_trunk: ClassVar[bool] = False
    on_request: ClassVar[bool] = False
    input_color: ClassVar[str | None] = None
    no_export: ClassVar[str] = ""

    def check(self, section: S, where: str) -> None:
        """Checks fields against each other.

        Args:
            section: The section, each field of which is valid by itself.
            where: What error messages call it.

        Raises:
            SpecError: Two fields contradict each other.
        """

    def tensors(self, section: S) -> Tensors:
        """The inputs (besides the spec's "input") and outputs that the network must have."""
        raise NotImplementedError

    def probes(self, spec: Facts) -> list[Feed]:
        """Inputs for a certificate that every machine makes alike; one mapping for each run.

        By default four probe images of the size in the spec's "input".
        """
        if spec.input is None:
            raise SpecError(f"a model for '{spec.task}' has no network", where=spec.name)
        from ..probes import probe_input

        return [{spec.input.name: probe_input(spec.input, 4, PROBE_SEED)}]

    def rows(self, spec: Facts, fed: Feed, found: Feed) -> FloatArray:
        """What a run gave, as float32 (N, D), one row for each thing that the network describes.

        By default all outputs side by side.
        """
        import numpy as np

        values = [found[name] for name in self.tensors(spec.require(self.section)).outputs]
        rows = np.concatenate([value.reshape(len(value), -1) for value in values], axis=1)
        return np.asarray(rows, np.float32)

    def pair(self, found: FloatArray, expected: FloatArray) -> FloatArray:
        """Rows of ``found`` in the order of ``expected``; by default they are in order already."""
        return found

    def significant(self, spec: Facts, rows: FloatArray) -> FloatArray:
        """The rows that a variant in lower precision must reproduce; by default all."""
        return rows

    def feed(self, spec: Facts, image: ByteArray) -> Feed:
        """The inputs that the runtime makes of one image, to calibrate int8 ranges with.

        Args:
            spec: The model.
            image: uint8 (H, W, 3), BGR.

        Raises:
            SpecError: The network is not fed with images alone.
        """
        if spec.input is None:
            raise SpecError("the network is not fed with images alone", where=spec.name)
        from ...vision.image import to_tensor

        return {spec.input.name: to_tensor([image], spec.input)}

    def describe_input(self, section: S) -> str:
        """One line for the model's card; empty if the spec's "input" says all."""
        return ""

    def describe_output(self, section: S) -> str:
        """One line for the model's card."""
        return "see the spec in the file"

    def crop(self, section: S) -> str | None:
        """Name of the crop that the network wants, see `mobileface.vision.crops`."""
        return None

    def normalizes(self, section: S) -> bool:
        """True if the converter added a scaling to unit length on request."""
        return False

    def normalizing(self, section: S) -> S | None:
        """The section of the same model with that scaling; None if it gives no embeddings."""
        return None

    def fingerprint(self, section: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The facts of a section, as JSON types, that decide whether outputs can be compared."""
        return None

    def runner_class(self) -> type[Any]:
        """The class that runs models of this kind."""
        module, _, name = self.runner.partition(":")
        found: type[Any] = getattr(importlib.import_module(module), name)
        return found


def detection_rows(
    scores: Array, boxes: Array, longer_side: int, points: Array | None = None
) -> FloatArray:
    """Rows of a certificate for a detector: score, box and points in parts of the longer side.

    Args:
        scores: float32 (N, R, 1); rows that score 0 or less are unused and left out.
        boxes: float32 (N, R, 4) in pixels.
        longer_side: Of the image, in pixels.
        points: float32 (N, R, P, 2) in pixels, if the detector gives any.
    """
    import numpy as np

    side = np.float32(longer_side)
    parts = [scores, boxes / side]
    if points is not None:
        parts.append(points.reshape(*points.shape[:2], 2 * points.shape[2]) / side)
    rows = np.concatenate(parts, axis=-1)
    rows = rows.reshape(-1, rows.shape[-1])
    return np.asarray(rows[rows[:, 0] > 0], np.float32)


def paired_detections(found: FloatArray, expected: FloatArray) -> FloatArray:
    """For each expected detection the found one with the largest IoU; zeros below an IoU of 0.5.

    Args:
        found: float32 (M, D): score, box, and what else there is.
        expected: float32 (N, D).

    Returns:
        float32 (N, D).
    """
    import numpy as np

    matched = np.zeros_like(expected)
    for row, wanted in enumerate(expected):
        overlaps = _overlaps(found[:, 1:5], wanted[1:5])
        if len(found) and overlaps.max() >= 0.5:
            # Of boxes with the same overlap, take the one with the nearest score.
            near = np.flatnonzero(overlaps >= overlaps.max() - 1e-4)
            matched[row] = found[near[np.abs(found[near, 0] - wanted[0]).argmin()]]
    return matched


def _overlaps(boxes: FloatArray, box: FloatArray) -> FloatArray:
    """IoU of boxes (M, 4) with one box."""
    import numpy as np

    low, high = np.maximum(boxes[:, :2], box[:2]), np.minimum(boxes[:, 2:], box[2:])
    shared = np.clip(high - low, 0, None).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod() - shared
    return np.asarray(shared / np.maximum(areas, 1e-12), np.float32)

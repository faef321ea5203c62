"""The sections of a model's spec: what its inputs and outputs are and mean.

`mobileface.models.spec` is the door to them. Standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from .fields import LATER

__all__ = [
    "COLORS",
    "DTYPES",
    "FITS",
    "LAYOUTS",
    "AttributeSpec",
    "EmbeddingSpec",
    "HogSpec",
    "ImageInput",
    "LandmarkBox",
    "LandmarkSpec",
    "License",
    "PoseSpec",
    "SourceFileSpec",
    "SourceSpec",
    "YoloSpec",
]

Color = Literal["gray", "rgb", "bgr"]
Fit = Literal["stretch", "center_crop"]
DType = Literal["float32", "uint8"]
Layout = Literal["nchw", "nhwc"]

COLORS = ("gray", "rgb", "bgr")
"""Orders of the channels of an input."""

FITS = ("stretch", "center_crop")
"""Ways of bringing a picture to the size of an input."""

DTYPES = ("float32", "uint8")
"""Element types of an input."""

LAYOUTS = ("nchw", "nhwc")
"""Orders of the axes of an input."""


@dataclass(frozen=True, slots=True)
class License:
    """Under which terms a model may be used.

    Attributes:
        name: SPDX identifier, e.g. "MIT".
        url: Where the text stands.
    """

    name: str
    url: str


@dataclass(frozen=True, slots=True)
class SourceFileSpec:
    """One file that the model was made from.

    Attributes:
        path: Path in the upstream repository, with forward slashes.
        git_blob_sha1: Git's name for its content, 40 hexadecimal digits.
        bytes: Size of the file, if known.
    """

    path: str
    git_blob_sha1: str
    bytes: int | None = None


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """Where the model comes from.

    Attributes:
        repository: Address of the upstream repository.
        files: The source files; none for weights that come out of an installed package.
        commit: The commit that the file hashes belong to.
        package: The installed package that the weights come from.
    """

    repository: str
    files: tuple[SourceFileSpec, ...] = ()
    commit: str | None = None
    package: str | None = None


@dataclass(frozen=True, slots=True)
class ImageInput:
    """How a picture becomes the network's input tensor.

    Attributes:
        name: Name of the ONNX input.
        height: Pixels.
        width: Pixels.
        color: Order of the channels; "gray" is one channel.
        mean: Subtracted from the 0..255 value of each channel, one value a channel or one for all.
        std: Divides what is left after that.
        fit: "stretch" to the size, or "center_crop": scale the shorter side, cut the longer.
        dtype: "float32", or "uint8" for a network that applies ``mean`` and ``std`` itself.
        layout: "nchw" for (N, C, height, width), "nhwc" for (N, height, width, C).
    """

    name: str
    height: int
    width: int
    color: Color
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    fit: Fit = "stretch"
    dtype: DType = field(default="float32", metadata=LATER)
    layout: Layout = field(default="nchw", metadata=LATER)

    @property
    def channels(self) -> int:
        """1 for gray, else 3."""
        return 1 if self.color == "gray" else 3

    @property
    def shape(self) -> tuple[int, int, int]:
        """Sizes of the input tensor behind the batch axis."""
        size = (self.height, self.width)
        return (self.channels, *size) if self.layout == "nchw" else (*size, self.channels)


@dataclass(frozen=True, slots=True)
class EmbeddingSpec:
    """What an identification network gives.

    Attributes:
        output: Name of the ONNX output, float32 (N, size).
        size: Number of elements.
        normalized: True if the network itself scales it to unit length.
        crop: How a face is cut out for it; a name in `mobileface.vision.crops`.
        normalization_added: True if it does so because the converter was asked to add that; the
            published network does not.
    """

    output: str
    size: int
    normalized: bool
    crop: str
    normalization_added: bool = field(default=False, metadata=LATER)


@dataclass(frozen=True, slots=True)
class LandmarkSpec:
    """A landmark model: image uint8 (H, W) and boxes int64 (N, 4) in, float32 (N, P, 2) out.

    Attributes:
        image: Name of the ONNX input for the grey picture.
        boxes: Name of the ONNX input for left, top, right, bottom of each face.
        output: Name of the ONNX output, x and y of each point in pixels of the picture.
        points: What each point is, in order; "left" is left as the viewer sees it.
    """

    image: str
    boxes: str
    output: str
    points: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PoseSpec:
    """A linear pose model over five landmarks: (pitch, roll, yaw) = 100 · coefficients · features.

    Attributes:
        points: The landmarks it reads, in order.
        coefficients: Three rows of 2·points + 1 numbers: pitch, roll, yaw. Recipes leave them to
            the source file.
    """

    points: tuple[str, ...]
    coefficients: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class HogSpec:
    """A sliding-window detector over gradient histograms; one ONNX run scores a pyramid level.

    Attributes:
        image: Name of the ONNX input, uint8 (1 or 3, H, W).
        output: Name of the ONNX output, float32 (K, rows, columns), threshold subtracted.
        filters: Number of filters K.
        filter_rows: Height of a filter in cells.
        filter_columns: Width of a filter in cells.
        cell_size: Side of a cell in pixels.
        pyramid_step: Each level is (step − 1) / step of the one before.
        max_pyramid_levels: The most levels that are searched.
        min_layer_width: A level narrower than this, in pixels, is not searched.
        min_layer_height: A level lower than this, in pixels, is not searched.
        overlap_threshold: Two boxes overlap if their intersection is more than this part of the
            rectangle around both.
        covered_threshold: Or if it is more than this part of either of them.
    """

    image: str
    output: str
    filters: int
    filter_rows: int
    filter_columns: int
    cell_size: int
    pyramid_step: int
    max_pyramid_levels: int
    min_layer_width: int
    min_layer_height: int
    overlap_threshold: float
    covered_threshold: float


@dataclass(frozen=True, slots=True)
class YoloSpec:
    """A YOLO-type detector: one run from a picture to boxes, in pixels of that picture.

    Attributes:
        image: Name of the ONNX input, uint8 (N, H, W, 3) RGB.
        ids: Name of the output with the class of each row, float32 (N, rows, 1); -1: unused.
        scores: Name of the output with the scores, float32 (N, rows, 1), highest first.
        boxes: Name of the output with left, top, right, bottom, float32 (N, rows, 4).
        iou_input: Name of the optional input: boxes that overlap more are suppressed.
        valid_input: Name of the optional input: rows must score more than this.
        topk_input: Name of the optional input: how many rows are compared.
        rows: Number of rows.
        short_side: Pixels that the shorter side of a picture is scaled to.
        max_side: Pixels that the longer side then may have.
        multiple: Sides are scaled to multiples of this.
        score_threshold: Boxes that score less are no detections.
        iou_threshold: Default of ``iou_input``.
        topk: Default of ``topk_input``.
        labels: What each class is.
    """

    image: str
    ids: str
    scores: str
    boxes: str
    iou_input: str
    valid_input: str
    topk_input: str
    rows: int
    short_side: int
    max_side: int
    multiple: int
    score_threshold: float
    iou_threshold: float
    topk: int
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LandmarkBox:
    """The square in a detected box that landmark models were trained on.

    Attributes:
        side: Its side, in heights of the box.
        shift_down: How much lower its centre is, in heights of the box.
    """

    side: float
    shift_down: float


@dataclass(frozen=True, slots=True)
class AttributeSpec:
    """What an attribute network gives.

    Attributes:
        gender_output: Name of the output with the logits of ``genders``.
        age_output: Likewise of ``ages``.
        expression_output: Likewise of ``expressions``.
        genders: What each class is.
        ages: Years that each class stands for.
        expressions: What each class is; a word may stand for several.
        uncertain_below: With a best expression less probable than this, none is named.
        uncertain_expression: What is said then.
        crop: How a face is cut out for it; a name in `mobileface.vision.crops`.
    """

    gender_output: str
    age_output: str
    expression_output: str
    genders: tuple[str, ...]
    ages: tuple[int, ...]
    expressions: tuple[str, ...]
    uncertain_below: float
    uncertain_expression: str
    crop: str

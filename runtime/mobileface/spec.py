"""What a model is: the facts that travel inside its ONNX file.

The converter writes a `ModelSpec` as JSON into the metadata entry ``mobileface.spec``; the runtime
reads it from there and knows nothing else about a model. Standard library only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from . import checks
from .checks import Check, build, plain
from .crops import CROPS
from .errors import SpecError

__all__ = [
    "METADATA_KEY",
    "SCHEMA",
    "EmbeddingSpec",
    "HogSpec",
    "ImageInput",
    "LandmarkSpec",
    "License",
    "ModelSpec",
    "PoseSpec",
    "SourceFileSpec",
    "SourceSpec",
]

METADATA_KEY = "mobileface.spec"
"""Name of the ONNX metadata entry."""

SCHEMA = 1
"""Version of the JSON form; a runtime refuses a newer one."""

Color = Literal["gray", "rgb", "bgr"]
_COLORS = ("gray", "rgb", "bgr")
_SECTIONS = {
    "embedding": ("input", "embedding"),
    "landmarks": ("landmarks",),
    "detection": ("hog",),
    "pose": ("pose",),
}
"""The sections that a model for each task must have."""


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
    """How a picture becomes the network's input tensor, float32 (N, C, height, width).

    Attributes:
        name: Name of the ONNX input.
        height: Pixels.
        width: Pixels.
        color: Order of the channels; "gray" is one channel.
        mean: Subtracted from the 0..255 value of each channel, one value a channel or one for all.
        std: Divides what is left after that.
    """

    name: str
    height: int
    width: int
    color: Color
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    @property
    def channels(self) -> int:
        """1 for gray, else 3."""
        return 1 if self.color == "gray" else 3


@dataclass(frozen=True, slots=True)
class EmbeddingSpec:
    """What an identification network gives.

    Attributes:
        output: Name of the ONNX output, float32 (N, size).
        size: Number of elements.
        normalized: True if the network itself scales it to unit length.
        crop: How a face is cut out for it; a name in `mobileface.crops`.
    """

    output: str
    size: int
    normalized: bool
    crop: str


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
class ModelSpec:
    """All facts about one model.

    Attributes:
        name: Identifier, e.g. "identification_v2".
        task: What it does: "embedding", "landmarks", "detection" or "pose".
        title: One line for people.
        license: Terms of use of the weights.
        source: What it was made from.
        preference: Of several models for a task, the one with the highest number is the default.
        input: Its picture input, where it has one of fixed size.
        embedding: Its result, for task "embedding".
        landmarks: Its inputs and points, for task "landmarks".
        hog: Its geometry, for a detector over gradient histograms.
        pose: Its coefficients, for task "pose".
    """

    name: str
    task: str
    title: str
    license: License
    source: SourceSpec
    preference: int = 0
    input: ImageInput | None = None
    embedding: EmbeddingSpec | None = None
    landmarks: LandmarkSpec | None = None
    hog: HogSpec | None = None
    pose: PoseSpec | None = None

    def to_dict(self) -> dict[str, Any]:
        """The spec as JSON types; `from_dict` reads it back."""
        return {"schema": SCHEMA, **plain(self)}

    def to_json(self) -> str:
        """The spec as one line of JSON."""
        return json.dumps(self.to_dict(), separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], where: str = "spec") -> ModelSpec:
        """Reads what `to_dict` wrote.

        Args:
            data: The mapping.
            where: What error messages call it, usually a file.

        Raises:
            SpecError: A field is missing, unknown, of the wrong type or out of range; names it.
        """
        fields = dict(checks.mapping(data, where))
        schema = fields.pop("schema", None)
        if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
            raise SpecError("schema must be a whole number", where=where)
        if schema > SCHEMA:
            raise SpecError(
                f"schema {schema} is newer than {SCHEMA}", where=where, hint="upgrade mobileface"
            )
        spec = build(cls, fields, where, _FIELDS)
        for section in _SECTIONS[spec.task]:
            if getattr(spec, section) is None:
                raise SpecError(f"field '{section}' is missing", where=where)
        return spec

    @classmethod
    def from_json(cls, text: str, where: str = "spec") -> ModelSpec:
        """Reads what `to_json` wrote.

        Raises:
            SpecError: Not JSON, or not a spec.
        """
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise SpecError(f"not JSON ({error})", where=where) from error
        return cls.from_dict(data, where)


def _section(kind: type[Any], fields: Mapping[str, Check]) -> Check:
    """A table that becomes a dataclass."""
    return lambda value, where: build(kind, value, where, fields)


def _pose(value: Any, where: str) -> PoseSpec:
    """A pose section whose coefficients fit its points."""
    row = checks.list_of(checks.number)
    fields = {"points": checks.list_of(checks.name), "coefficients": checks.list_of(row)}
    pose = build(PoseSpec, value, where, fields)
    width = 2 * len(pose.points) + 1
    if pose.coefficients and [len(items) for items in pose.coefficients] != [width] * 3:
        raise SpecError(f"must be 3 rows of {width}", where=f"{where}, coefficients")
    return pose


def _input(value: Any, where: str) -> ImageInput:
    """An input section whose numbers fit its channels."""
    fields: dict[str, Check] = {
        "name": checks.text,
        "height": checks.whole(1),
        "width": checks.whole(1),
        "color": checks.one_of(_COLORS),
        "mean": checks.numbers((1, 3)),
        "std": checks.numbers((1, 3), positive=True),
    }
    image = build(ImageInput, value, where, fields)
    for field, numbers in (("mean", image.mean), ("std", image.std)):
        if len(numbers) not in (1, image.channels):
            raise SpecError(
                f"{len(numbers)} numbers for {image.channels} channels", where=f"{where}, {field}"
            )
    return image


_FILE = _section(
    SourceFileSpec,
    {"path": checks.text, "git_blob_sha1": checks.hexadecimal, "bytes": checks.whole(0)},
)
_FIELDS: dict[str, Check] = {
    "name": checks.name,
    "task": checks.one_of(tuple(_SECTIONS)),
    "title": checks.text,
    "license": _section(License, {"name": checks.text, "url": checks.text}),
    "source": _section(
        SourceSpec,
        {
            "repository": checks.text,
            "files": checks.list_of(_FILE, empty=True),
            "commit": checks.hexadecimal,
            "package": checks.text,
        },
    ),
    "preference": checks.whole(0),
    "input": _input,
    "embedding": _section(
        EmbeddingSpec,
        {
            "output": checks.text,
            "size": checks.whole(1),
            "normalized": checks.truth,
            "crop": checks.one_of(tuple(CROPS)),
        },
    ),
    "landmarks": _section(
        LandmarkSpec,
        {
            "image": checks.text,
            "boxes": checks.text,
            "output": checks.text,
            "points": checks.list_of(checks.name),
        },
    ),
    "hog": _section(
        HogSpec,
        {
            "image": checks.text,
            "output": checks.text,
            **{
                name: checks.whole(minimum)
                for name, minimum in {
                    "filters": 1,
                    "filter_rows": 1,
                    "filter_columns": 1,
                    "cell_size": 1,
                    "pyramid_step": 2,
                    "max_pyramid_levels": 1,
                    "min_layer_width": 1,
                    "min_layer_height": 1,
                }.items()
            },
            "overlap_threshold": checks.number,
            "covered_threshold": checks.number,
        },
    ),
    "pose": _pose,
}

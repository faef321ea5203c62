"""What a model is: the facts that travel inside its ONNX file.

The converter writes a `ModelSpec` as JSON into the metadata entry ``mobileface.spec``; the runtime
reads it from there and knows nothing else about a model. Standard library only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import SpecError
from ..vision.crops import CROPS
from . import fields as checks
from .fields import Check, build, plain
from .sections import (
    COLORS,
    DTYPES,
    FITS,
    LAYOUTS,
    AttributeSpec,
    EmbeddingSpec,
    HogSpec,
    ImageInput,
    LandmarkBox,
    LandmarkSpec,
    License,
    PoseSpec,
    SourceFileSpec,
    SourceSpec,
    YoloSpec,
)

__all__ = [
    "METADATA_KEY",
    "SCHEMA",
    "AttributeSpec",
    "EmbeddingSpec",
    "HogSpec",
    "ImageInput",
    "LandmarkBox",
    "LandmarkSpec",
    "License",
    "ModelSpec",
    "PoseSpec",
    "SourceFileSpec",
    "SourceSpec",
    "YoloSpec",
]

METADATA_KEY = "mobileface.spec"
"""Name of the ONNX metadata entry."""

SCHEMA = 1
"""Version of the JSON form; a runtime refuses a newer one."""

_SECTIONS = {
    "embedding": ("input", "embedding"),
    "landmarks": ("landmarks",),
    "detection": (),
    "pose": ("pose",),
    "attributes": ("input", "attributes"),
}
"""The sections that a model for each task must have."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """All facts about one model.

    Attributes:
        name: Identifier, e.g. "identification_v2".
        task: What it does: "embedding", "landmarks", "detection", "pose" or "attributes".
        title: One line for people.
        license: Terms of use of the weights.
        source: What it was made from.
        preference: Of several models for a task, the one with the highest number is the default.
        input: Its picture input, where it has one of fixed size.
        embedding: Its result, for task "embedding".
        landmarks: Its inputs and points, for task "landmarks".
        hog: Its geometry, for a detector over gradient histograms.
        pose: Its coefficients, for task "pose".
        yolo: Its inputs and outputs, for a detector of the YOLO kind.
        landmark_box: Which square of its boxes landmark models want, where it is not the box.
        attributes: Its outputs and classes, for task "attributes".
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
    yolo: YoloSpec | None = None
    landmark_box: LandmarkBox | None = None
    attributes: AttributeSpec | None = None

    def to_dict(self) -> dict[str, Any]:
        """The spec as JSON types; `from_dict` reads it back."""
        return {"schema": SCHEMA, **plain(self)}

    def to_json(self) -> str:
        """The spec as one line of JSON."""
        return json.dumps(self.to_dict(), separators=(",", ":"), allow_nan=False)

    @property
    def fingerprint(self) -> str:
        """Twelve digits that models share whose outputs can be compared with each other.

        They are a hash of what the weights were made from and of what goes in and comes out; name,
        licence and how weights are stored do not count. Neither does who scales pixels and
        lengths, the network or who runs it: the embeddings are the same.
        """
        facts = self.to_dict()
        for way in ("dtype", "layout"):
            facts.get("input", {}).pop(way, None)
        if facts.get("embedding", {}).pop("normalization_added", False):
            facts["embedding"]["normalized"] = False
        kept = {field: facts.get(field) for field in ("source", "input", "embedding")}
        text = json.dumps(kept, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

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
        if spec.task == "detection" and (spec.hog is None) == (spec.yolo is None):
            raise SpecError("a detector has either a field 'hog' or a field 'yolo'", where=where)
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
        "color": checks.one_of(COLORS),
        "mean": checks.numbers((1, 3)),
        "std": checks.numbers((1, 3), positive=True),
        "fit": checks.one_of(FITS),
        "dtype": checks.one_of(DTYPES),
        "layout": checks.one_of(LAYOUTS),
    }
    image = build(ImageInput, value, where, fields)
    for field, numbers in (("mean", image.mean), ("std", image.std)):
        if len(numbers) not in (1, image.channels):
            raise SpecError(
                f"{len(numbers)} numbers for {image.channels} channels", where=f"{where}, {field}"
            )
    if image.dtype == "uint8" and image.fit == "center_crop":
        raise SpecError("center_crop gives no whole numbers for uint8", where=f"{where}, dtype")
    return image


def _embedding(value: Any, where: str) -> EmbeddingSpec:
    """An embedding section that does not contradict itself."""
    fields: dict[str, Check] = {
        "output": checks.text,
        "size": checks.whole(1),
        "normalized": checks.truth,
        "crop": checks.one_of(tuple(CROPS)),
        "normalization_added": checks.truth,
    }
    embedding = build(EmbeddingSpec, value, where, fields)
    if embedding.normalization_added and not embedding.normalized:
        raise SpecError("must be true where it was added", where=f"{where}, normalized")
    return embedding


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
    "embedding": _embedding,
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
    "yolo": _section(
        YoloSpec,
        {
            **dict.fromkeys(("image", "ids", "scores", "boxes"), checks.text),
            **dict.fromkeys(("iou_input", "valid_input", "topk_input"), checks.text),
            **dict.fromkeys(
                ("rows", "short_side", "max_side", "multiple", "topk"), checks.whole(1)
            ),
            "score_threshold": checks.number,
            "iou_threshold": checks.number,
            "labels": checks.list_of(checks.name),
        },
    ),
    "landmark_box": _section(LandmarkBox, {"side": checks.number, "shift_down": checks.number}),
    "attributes": _section(
        AttributeSpec,
        {
            **dict.fromkeys(("gender_output", "age_output", "expression_output"), checks.text),
            "genders": checks.list_of(checks.name),
            "ages": checks.list_of(checks.whole(0)),
            "expressions": checks.list_of(checks.name),
            "uncertain_below": checks.number,
            "uncertain_expression": checks.text,
            "crop": checks.one_of(tuple(CROPS)),
        },
    ),
}

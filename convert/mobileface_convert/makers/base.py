"""What a maker is: how files of one kind become a model, and how that is proven right."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from mobileface.models.spec import METADATA_KEY, ModelSpec

from ..oracles.verify import Agreement
from ..passes import PassResult
from ..recipes.recipe import Recipe

__all__ = ["Built", "Files", "Maker", "PassRecord", "with_spec"]

Files = Mapping[str, Path]
"""Local source files by their role in the recipe."""


@dataclass(frozen=True, slots=True)
class PassRecord:
    """What one pass did.

    Attributes:
        name: Name of the pass.
        result: What it returned.
    """

    name: str
    result: PassResult


@dataclass(frozen=True)
class Built:
    """A model that is not on disk yet.

    Attributes:
        spec: What it is.
        content: The bytes of its file.
        suffix: ".onnx", or ".json" for a model that is nothing but its spec.
        nodes: Number of ONNX nodes.
        passes: What was rewritten on the way.
        inputs: How the inputs of the comparison are made, for the certificate.
    """

    spec: ModelSpec
    content: bytes
    suffix: str = ".onnx"
    nodes: int = 0
    passes: Sequence[PassRecord] = ()


@dataclass(frozen=True)
class Maker:
    """How models of one kind are made.

    Attributes:
        build: Recipe and files → model.
        agree: Model file, recipe and files (None: none at hand) → how it compares with its oracle.
    """

    build: Callable[[Recipe, Files], Built]
    agree: Callable[[Path, Recipe, Files | None], Agreement]


def with_spec(model: onnx.ModelProto, spec: ModelSpec) -> bytes:
    """The bytes of an ONNX model that carries its spec and licence."""
    onnx.helper.set_model_props(model, {METADATA_KEY: spec.to_json(), "license": spec.license.name})
    return bytes(model.SerializeToString())

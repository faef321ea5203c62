"""Interface of the makers, which build models from source files and verify them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from mobileface.models.spec import METADATA_KEY, ModelSpec

from ..graph.report import Report
from ..oracles.verify import Agreement
from ..recipes.recipe import Recipe

__all__ = ["Built", "Files", "Maker", "PassRecord", "with_spec"]

FloatArray = npt.NDArray[np.float32]

Files = Mapping[str, Path]
"""Paths of the local source files, by role in the recipe."""


@dataclass(frozen=True, slots=True)
class PassRecord:
    """The result of one pass.

    Attributes:
        name: Name of the pass.
        result: What it changed and left.
    """

    name: str
    result: Report


@dataclass(frozen=True)
class Built:
    """A converted model that is not written to disk yet.

    Attributes:
        spec: The spec of the model.
        content: The bytes of the model file.
        suffix: ".onnx", or ".json" for a model that consists of its spec only.
        nodes: Number of ONNX nodes.
        passes: Results of the passes.
    """

    spec: ModelSpec
    content: bytes
    suffix: str = ".onnx"
    nodes: int = 0
    passes: Sequence[PassRecord] = ()


@dataclass(frozen=True)
class Maker:
    """The functions that build and verify models of one kind.

    Attributes:
        build: Builds a model from a recipe and its files.
        agree: Compares a model file with its reference, given the recipe and the source files
            (None if not available).
        rows: What the source files give for the probes, float32 (N, D), before any scaling to unit
            length that was added, and the name of the oracle; None if the maker cannot adopt
            networks.
    """

    build: Callable[[Recipe, Files], Built]
    agree: Callable[[Path, Recipe, Files | None], Agreement]
    rows: Callable[[Recipe, Files], tuple[FloatArray, str]] | None = None


def with_spec(model: onnx.ModelProto, spec: ModelSpec) -> bytes:
    """Serialises an ONNX model with its spec and licence in the metadata."""
    onnx.helper.set_model_props(model, {METADATA_KEY: spec.to_json(), "license": spec.license.name})
    return bytes(model.SerializeToString())

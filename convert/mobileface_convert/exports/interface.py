"""What ``export`` and ``model`` may be told of the machine, of what is read and what is given."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from mobileface.errors import ConversionError

from ..graph.shapes import Shape
from ..graph.source_graph import Graph
from ..passes import Pass, read_uint8, unit_length
from ..recipes.recipe import Recipe

__all__ = ["Interface", "adapted", "add_interface", "picture_input"]

FloatArray = npt.NDArray[np.float32]

_MACHINES = ("portable", "x86", "plain")
"""Those of `passes.TARGETS` that ONNX Runtime runs."""


@dataclass(frozen=True)
class Interface:
    """How a network that no recipe knows is wrapped.

    Attributes:
        pixels: The input that becomes uint8 (N, H, W, C); the network scales it itself. None: all
            stay float32 (N, C, H, W).
        normalize: The rows of the only output get unit length.
    """

    pixels: str | None = None
    normalize: bool = False

    @property
    def passes(self) -> list[tuple[str, Pass]]:
        """What makes the network so."""
        found: list[tuple[str, Pass]] = []
        if self.pixels is not None:
            found.append(("read_uint8", partial(read_uint8, name=self.pixels)))
        if self.normalize:
            found.append(("unit_length", unit_length))
        return found

    @property
    def dtypes(self) -> dict[str, npt.DTypeLike]:
        """Element types of the inputs that are not float32."""
        return {} if self.pixels is None else {self.pixels: np.uint8}

    def shapes(self, shapes: Mapping[str, Sequence[int | str]]) -> dict[str, Shape]:
        """Shapes of the model's inputs for those of the network's."""
        found: dict[str, Shape] = {name: tuple(shape) for name, shape in shapes.items()}
        if self.pixels is not None:
            batch, channels, height, width = found[self.pixels]
            found[self.pixels] = (batch, height, width, channels)
        return found

    def noise(self, shapes: Mapping[str, tuple[int, ...]], seed: int) -> dict[str, FloatArray]:
        """Seeded inputs of the network: normal, and whole numbers of a byte where it reads those.

        Args:
            shapes: Shapes as the network has them.
            seed: Of the generator.
        """
        draw = np.random.RandomState(seed)
        return {
            name: (
                draw.randint(0, 256, shape) if name == self.pixels else draw.standard_normal(shape)
            ).astype(np.float32)
            for name, shape in shapes.items()
        }

    def fed(self, inputs: Mapping[str, FloatArray]) -> dict[str, npt.NDArray[np.generic]]:
        """The model's inputs for those of the network."""
        fed: dict[str, npt.NDArray[np.generic]] = dict(inputs)
        if self.pixels is not None:
            fed[self.pixels] = inputs[self.pixels].transpose(0, 2, 3, 1).astype(np.uint8)
        return fed

    def given(self, outputs: Sequence[FloatArray]) -> list[FloatArray]:
        """What the model gives where the network gives these."""
        if not self.normalize:
            return list(outputs)
        (rows,) = outputs
        lengths = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
        return [(rows / np.where(lengths > 0, lengths, 1)).astype(np.float32)]


def add_interface(parser: argparse.ArgumentParser) -> None:
    """Adds --machine, --input and --normalize."""
    parser.add_argument(
        "--machine",
        choices=_MACHINES,
        default="portable",
        help="the machine it is made for: any (portable), x86-64 (x86), or as published (plain); "
        "default: %(default)s",
    )
    parser.add_argument(
        "--input",
        choices=("float32", "uint8"),
        default="float32",
        help="float32 N,C,H,W or uint8 N,H,W,C, pixels as they lie in memory; default: %(default)s",
    )
    parser.add_argument(
        "--normalize", action="store_true", help="scale the output's rows to unit length"
    )


def adapted(recipe: Recipe, options: argparse.Namespace) -> Recipe:
    """The recipe of what the options ask for.

    Raises:
        ConversionError: The model cannot be made so.
    """
    recipe = recipe.targeting(options.machine)
    recipe = recipe.reading_uint8() if options.input == "uint8" else recipe
    return recipe.normalizing() if options.normalize else recipe


def picture_input(graph: Graph, shapes: Mapping[str, Sequence[int | str]]) -> str:
    """The one input that is a picture.

    Raises:
        ConversionError: There are none, or several.
    """
    found = [name for name, shape in shapes.items() if len(shape) == 4 and shape[1] in (1, 3)]
    if len(found) != 1:
        raise ConversionError(
            f"{len(found)} of its inputs are pictures of 1 or 3 channels; uint8 needs just one",
            where=graph.origin,
        )
    return found[0]

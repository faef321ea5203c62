"""Options of ``export`` and ``model`` for the target machine, the input and the output."""

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

__all__ = ["Interface", "adapted", "add_interface", "image_input", "parse_shape"]

FloatArray = npt.NDArray[np.float32]

_MACHINES = ("portable", "x86", "plain")
"""The targets of `passes.TARGETS` that are for ONNX Runtime."""


@dataclass(frozen=True)
class Interface:
    """Changes to the input and output of a network without a recipe.

    Attributes:
        pixels: Name of the input that becomes uint8 (N, H, W, C); None if all inputs stay float32
            (N, C, H, W).
        normalize: Whether to L2-normalise the rows of the only output.
    """

    pixels: str | None = None
    normalize: bool = False

    @property
    def passes(self) -> list[tuple[str, Pass]]:
        """The passes that make these changes, by name."""
        found: list[tuple[str, Pass]] = []
        if self.pixels is not None:
            found.append(("read_uint8", partial(read_uint8, name=self.pixels)))
        if self.normalize:
            found.append(("unit_length", unit_length))
        return found

    def shapes(self, shapes: Mapping[str, Sequence[int | str]]) -> dict[str, Shape]:
        """Converts the shapes of the network's inputs to those of the model's inputs."""
        found: dict[str, Shape] = {name: tuple(shape) for name, shape in shapes.items()}
        if self.pixels is not None:
            batch, channels, height, width = found[self.pixels]
            found[self.pixels] = (batch, height, width, channels)
        return found

    def noise(self, shapes: Mapping[str, tuple[int, ...]], seed: int) -> dict[str, FloatArray]:
        """Random inputs for the network: standard normal, or integers 0..255 for pixels.

        Args:
            shapes: Shapes of the network's inputs.
            seed: Seed of the generator.
        """
        draw = np.random.RandomState(seed)
        return {
            name: (
                draw.randint(0, 256, shape) if name == self.pixels else draw.standard_normal(shape)
            ).astype(np.float32)
            for name, shape in shapes.items()
        }

    def fed(self, inputs: Mapping[str, FloatArray]) -> dict[str, npt.NDArray[np.generic]]:
        """Converts values of the network's inputs to values of the model's inputs."""
        fed: dict[str, npt.NDArray[np.generic]] = dict(inputs)
        if self.pixels is not None:
            fed[self.pixels] = inputs[self.pixels].transpose(0, 2, 3, 1).astype(np.uint8)
        return fed

    def expected(self, outputs: Sequence[FloatArray]) -> list[FloatArray]:
        """Converts outputs of the network to the expected outputs of the model."""
        if not self.normalize:
            return list(outputs)
        (rows,) = outputs
        norms = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
        return [(rows / np.where(norms > 0, norms, 1)).astype(np.float32)]


def add_interface(parser: argparse.ArgumentParser) -> None:
    """Adds --machine, --input and --normalize."""
    parser.add_argument(
        "--machine",
        choices=_MACHINES,
        default="portable",
        help="optimise for any machine (portable) or for x86-64 (x86), or keep the published "
        "layers (plain); default: %(default)s",
    )
    parser.add_argument(
        "--input",
        choices=("float32", "uint8"),
        default="float32",
        help="float32 N,C,H,W, or uint8 N,H,W,C like images in memory; default: %(default)s",
    )
    parser.add_argument(
        "--normalize", action="store_true", help="L2-normalise the rows of the output"
    )


def adapted(recipe: Recipe, options: argparse.Namespace) -> Recipe:
    """The recipe, adapted to the options.

    Raises:
        ConversionError: If the model does not support an option.
    """
    recipe = recipe.targeting(options.machine)
    recipe = recipe.reading_uint8() if options.input == "uint8" else recipe
    return recipe.normalizing() if options.normalize else recipe


def parse_shape(text: str) -> tuple[str, tuple[int, ...]]:
    """Parses an --input-shape; returns the name (empty if not given) and the sizes.

    Raises:
        ConversionError: If the text is not a shape.
    """
    name, _, sizes = text.rpartition("=")
    try:
        return name, tuple(int(size) for size in sizes.split(","))
    except ValueError:
        raise ConversionError(f"--input-shape '{text}' is not like 1,3,112,112") from None


def image_input(graph: Graph, shapes: Mapping[str, Sequence[int | str]]) -> str:
    """Name of the only input that is an image (N, C, H, W) with 1 or 3 channels.

    Raises:
        ConversionError: If there is not exactly one such input.
    """
    found = [name for name, shape in shapes.items() if len(shape) == 4 and shape[1] in (1, 3)]
    if len(found) != 1:
        raise ConversionError(
            f"{len(found)} inputs are images with 1 or 3 channels, uint8 needs exactly one",
            where=graph.origin,
        )
    return found[0]

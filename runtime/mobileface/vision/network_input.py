"""The image input of a network, as part of a model's spec. Uses only the standard library."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from ..errors import SpecError
from ..fields import OMIT_AT_DEFAULT, Count, Text, numbers, one_of

__all__ = ["ImageInput"]

Color = Literal["gray", "rgb", "bgr"]
Fit = Literal["stretch", "center_crop"]
DType = Literal["float32", "uint8"]
Layout = Literal["nchw", "nhwc"]


@dataclass(frozen=True, slots=True)
class ImageInput:
    """The conversion of an image to a network's input tensor.

    Attributes:
        name: Name of the ONNX input.
        height: Height in pixels.
        width: Width in pixels.
        color: Channel order; "gray" is one channel.
        mean: Subtracted from the values 0..255; one number per channel, or one for all channels.
        std: Divisor of the result; one number per channel, or one for all channels.
        fit: "stretch" to the size, or "center_crop": scale the shorter side, crop the longer one.
        dtype: "float32", or "uint8" for a network that applies ``mean`` and ``std`` itself.
        layout: "nchw" for (N, C, height, width), "nhwc" for (N, height, width, C).
        batch: 1 for a network that takes one image at a time, which the session then feeds one by
            one; None for a network that takes any number.
    """

    name: Text
    height: Count
    width: Count
    color: Annotated[Color, one_of(("gray", "rgb", "bgr"))]
    mean: Annotated[tuple[float, ...], numbers((1, 3))] = (0.0,)
    std: Annotated[tuple[float, ...], numbers((1, 3), positive=True)] = (1.0,)
    fit: Annotated[Fit, one_of(("stretch", "center_crop"))] = "stretch"
    dtype: Annotated[DType, one_of(("float32", "uint8"))] = field(
        default="float32", metadata=OMIT_AT_DEFAULT
    )
    layout: Annotated[Layout, one_of(("nchw", "nhwc"))] = field(
        default="nchw", metadata=OMIT_AT_DEFAULT
    )
    batch: Count | None = field(default=None, metadata=OMIT_AT_DEFAULT)

    def check(self, where: str) -> None:
        """Checks the fields against each other.

        Raises:
            SpecError: If the number of values does not match the channels, ``fit`` does not
                return integers as ``dtype`` requires, or ``batch`` is another number than 1.
        """
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, self.channels):
                raise SpecError(
                    f"expected 1 or {self.channels} numbers, got {len(values)}",
                    where=f"{where}, {name}",
                )
        if self.dtype == "uint8" and self.fit == "center_crop":
            raise SpecError("center_crop does not support uint8", where=f"{where}, dtype")
        if self.batch not in (None, 1):
            raise SpecError(f"{self.batch} is neither 1 nor left out", where=f"{where}, batch")

    @property
    def channels(self) -> int:
        """Number of channels: 1 for "gray", otherwise 3."""
        return 1 if self.color == "gray" else 3

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the input tensor without the batch axis."""
        size = (self.height, self.width)
        return (self.channels, *size) if self.layout == "nchw" else (*size, self.channels)

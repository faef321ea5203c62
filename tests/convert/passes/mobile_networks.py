"""Invented networks of the MobileNet kind with everything that passes over channels meet.

Each seed gives another network: units of a 1×1 convolution, a depthwise one that may halve the
picture, parametric rectifiers of slopes below 0 to above 1, residual sums, relu and clip, biases or
none, dead kernels (zero or far below rounding), and a fully connected layer at the end.
"""

from __future__ import annotations

import numpy as np

from tests.convert.ops.op_check import FloatArray, Network, Symbol, data, random_arrays, sym

SHAPE = (3, 3, 24, 20)


class Inventor:
    """Draws one network.

    Args:
        seed: Of the generator; the network is the same for the same seed.
        dead: Part of the depthwise kernels that are dead.
        widths: Numbers of channels to draw from.
    """

    def __init__(self, seed: int, dead: float = 0.3, widths: tuple[int, ...] = (16, 32)) -> None:
        self.draw = np.random.RandomState(seed)
        self.dead = dead
        self.widths = widths
        self.count = 0
        self.arrays: dict[str, FloatArray] = {}

    def network(self) -> Network:
        """The network with its weights."""
        width = self.width()
        x = self.activation(self.convolution(data(), width, 3, stride=2), width)
        for _ in range(3):
            width = self.width()
            x = self.unit(x, width)
        head = sym().Flatten(x) if self.draw.rand() < 0.5 else x
        head = sym().FullyConnected(head, num_hidden=7, no_bias=bool(self.draw.rand() < 0.5))
        found = random_arrays(head, self.draw.randint(1000), data=SHAPE)
        return Network(head, SHAPE, {**self.scaled(found), **self.arrays})

    def width(self) -> int:
        return int(self.draw.choice(self.widths))

    def unit(self, x: Symbol, width: int) -> Symbol:
        """A convolution, a depthwise layer, and perhaps a residual of two more."""
        x = self.convolution(x, width, int(self.draw.choice([1, 1, 3])))
        if self.draw.rand() < 0.2:
            x = self.activation(x, width)
        dead = self.draw.rand(width) < self.dead
        # Elsewhere all layers of a channel are dead, here only the first or only the others.
        first, others = (dead & (self.draw.rand(width) < 0.9) for _ in range(2))
        x = y = self.activation(self.depthwise(x, width, first, self.draw.randint(1, 3)), width)
        if self.draw.rand() < 0.7:
            for _ in range(self.draw.randint(1, 3)):
                y = self.activation(self.depthwise(y, width, others, 1), width)
            x = sym().elemwise_add(x, y, name=self.name("sum"))
            x = self.activation(x, width) if self.draw.rand() < 0.3 else x
        return x

    def activation(self, x: Symbol, width: int) -> Symbol:
        name, kind = self.name("act"), self.draw.randint(6)
        if kind == 0:
            return sym().Activation(x, act_type="relu", name=name)
        if kind == 1:
            return sym().clip(x, a_min=0.0, a_max=6.0, name=name)
        self.arrays[f"{name}_gamma"] = self.draw.uniform(-1, 1.6, width).astype(np.float32)
        self.arrays[f"{name}_gamma"][: self.draw.randint(3)] = 1
        return sym().LeakyReLU(x, act_type="prelu", name=name)

    def convolution(self, x: Symbol, width: int, kernel: int, stride: int = 1) -> Symbol:
        return sym().Convolution(
            x,
            kernel=(kernel, kernel),
            stride=(stride, stride),
            pad=(kernel // 2, kernel // 2),
            num_filter=width,
            no_bias=bool(self.draw.rand() < 0.5),
            name=self.name("conv"),
        )

    def depthwise(
        self, x: Symbol, width: int, dead: np.ndarray[tuple[int], np.dtype[np.bool_]], stride: int
    ) -> Symbol:
        name, bare = self.name("depth"), self.draw.rand() < 0.6
        kernel = self.draw.standard_normal((width, 1, 3, 3)) / 3
        kernel[dead] *= self.draw.choice([0, 1e-20])
        self.arrays[f"{name}_weight"] = kernel.astype(np.float32)
        return sym().Convolution(
            x,
            kernel=(3, 3),
            stride=(stride, stride),
            pad=(1, 1),
            num_filter=width,
            num_group=width,
            no_bias=bool(bare),
            name=name,
        )

    def scaled(self, arrays: dict[str, FloatArray]) -> dict[str, FloatArray]:
        """Weights of noise, of a size that keeps values near 1."""
        for name, array in arrays.items():
            if name.endswith("_weight"):
                array /= np.float32(np.sqrt(array[0].size))
        return arrays

    def name(self, role: str) -> str:
        self.count += 1
        return f"{role}{self.count}"

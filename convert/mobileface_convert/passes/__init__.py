"""Passes that rewrite ONNX networks, one per module, and their order for each kind of machine."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType

from .dead_channels import dead_channels
from .drop_identity import drop_identity
from .fold_batchnorm import fold_batchnorm
from .fold_scale import fold_scale
from .fuse_clip import fuse_clip
from .interleave import interleave
from .onnx_graph import Network, Pass
from .pad_channels import pad_channels
from .read_uint8 import read_uint8
from .split_prelu import split_prelu
from .unit_length import unit_length
from .use_gemm import use_gemm
from .zero_weights import zero_weights

__all__ = [
    "BLOCKED",
    "COMMON",
    "NCNN",
    "PORTABLE",
    "TARGETS",
    "Network",
    "Pass",
    "dead_channels",
    "drop_identity",
    "fold_batchnorm",
    "fold_scale",
    "fuse_clip",
    "interleave",
    "pad_channels",
    "read_uint8",
    "split_prelu",
    "unit_length",
    "use_gemm",
    "zero_weights",
]

COMMON: tuple[tuple[str, Pass], ...] = (
    ("drop_identity", drop_identity),  # first: identities separate layers from their BatchNorm
    ("use_gemm", use_gemm),
    ("fold_scale", fold_scale),
    ("fold_batchnorm", fold_batchnorm),
    ("interleave", interleave),  # after folding the scalings between pixels and layers
    ("fuse_clip", fuse_clip),
)
"""The passes of every network, in order: (name, pass)."""

_LAST: tuple[tuple[str, Pass], ...] = (("zero_weights", zero_weights),)

PORTABLE: tuple[tuple[str, Pass], ...] = (
    *COMMON,
    # After folding, which reveals constant channels. Dropping only a few channels saves nothing and
    # is expensive where channels are computed in full blocks.
    ("dead_channels", partial(dead_channels, worth=0.05)),
    *_LAST,
)
"""Passes for any machine: minimise the number of multiplications."""

BLOCKED: tuple[tuple[str, Pass], ...] = (
    *COMMON,
    ("dead_channels", partial(dead_channels, multiple=16)),
    ("pad_channels", partial(pad_channels, multiple=16)),  # blocked depthwise layers: full blocks
    ("split_prelu", partial(split_prelu, multiple=16)),  # only pays for full blocks
    *_LAST,
)
"""Passes for x86-64, where ONNX Runtime stores channels in blocks of 16 (AVX-512) or 8 (AVX2)."""

NCNN: tuple[tuple[str, Pass], ...] = (
    *COMMON,
    ("dead_channels", partial(dead_channels, worth=0.05)),
    ("pad_channels", partial(pad_channels, multiple=4)),  # other multiples cost more than they save
    *_LAST,
)
"""Passes for ncnn, which stores channels in blocks of 4 or more, or else one by one."""

TARGETS: Mapping[str, tuple[tuple[str, Pass], ...]] = MappingProxyType(
    {"plain": (*COMMON, *_LAST), "portable": PORTABLE, "x86": BLOCKED, "ncnn": NCNN}
)
"""The passes per target; "plain" leaves channels and activations unchanged."""

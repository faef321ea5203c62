"""Rewrites of the source graph, one module each, in the order in which export runs them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType

from .base import Pass, PassResult, Refusal
from .dead_channels import dead_channels
from .drop_identity import drop_identity
from .fold_batchnorm import fold_batchnorm
from .fold_scale import fold_scale
from .fuse_clip import fuse_clip
from .fuse_repeat import fuse_repeat
from .interleave import interleave
from .pad_channels import pad_channels
from .prune import find_feature, prune
from .read_shapes import read_shapes
from .read_uint8 import read_uint8
from .split_prelu import split_prelu
from .unit_length import unit_length

__all__ = [
    "BLOCKED",
    "COMMON",
    "NCNN",
    "PORTABLE",
    "TARGETS",
    "Pass",
    "PassResult",
    "Refusal",
    "dead_channels",
    "drop_identity",
    "find_feature",
    "fold_batchnorm",
    "fold_scale",
    "fuse_clip",
    "fuse_repeat",
    "interleave",
    "pad_channels",
    "prune",
    "read_shapes",
    "read_uint8",
    "split_prelu",
    "unit_length",
]

COMMON: tuple[tuple[str, Pass], ...] = (
    ("drop_identity", drop_identity),  # first: it parts layers from their batch normalisation
    ("fold_scale", fold_scale),
    ("fold_batchnorm", fold_batchnorm),
    ("interleave", interleave),  # after the scalings that stand between pixels and layers
    ("fuse_clip", fuse_clip),
    ("fuse_repeat", fuse_repeat),
    ("read_shapes", read_shapes),
)
"""What every export runs after `prune` has cut the network, by name, in order."""

PORTABLE: tuple[tuple[str, Pass], ...] = (
    *COMMON,
    # After folding, which shows what is constant. A few channels fewer gain nothing anywhere, and
    # cost dearly where whole blocks of channels are computed together.
    ("dead_channels", partial(dead_channels, worth=0.05)),
)
"""For any machine: as few multiplications as possible."""

BLOCKED: tuple[tuple[str, Pass], ...] = (
    *COMMON,
    ("dead_channels", partial(dead_channels, multiple=16)),
    ("pad_channels", partial(pad_channels, multiple=16)),  # a blocked depthwise layer has no rest
    ("split_prelu", partial(split_prelu, multiple=16)),  # last: only whole blocks are worth it
)
"""For x86-64, where ONNX Runtime keeps channels in blocks of 16 (AVX-512) or 8 (AVX2)."""

NCNN: tuple[tuple[str, Pass], ...] = (
    *PORTABLE,
    ("pad_channels", partial(pad_channels, multiple=4)),  # fewer or more cost more than they save
)
"""For ncnn, which keeps channels in blocks of 4 at least, and computes others one by one."""

TARGETS: Mapping[str, tuple[tuple[str, Pass], ...]] = MappingProxyType(
    {"plain": COMMON, "portable": PORTABLE, "x86": BLOCKED, "ncnn": NCNN}
)
"""The passes for each kind of machine; "plain" leaves channels and activations as they are."""

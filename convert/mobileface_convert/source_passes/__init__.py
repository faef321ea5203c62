"""Passes that rewrite the source graph of an MXNet network, one per module.

What is rewritten for any network is in `passes`, on ONNX. Here is what depends on MXNet's
operators, and what is written in other formats than ONNX: MXNet again (`prune`, `fold_batchnorm`),
or Caffe.
"""

from __future__ import annotations

from .base import Pass, PassResult, Refusal
from .drop_identity import drop_identity
from .fold_batchnorm import fold_batchnorm
from .fold_scale import fold_scale
from .fuse_clip import fuse_clip
from .fuse_repeat import fuse_repeat
from .prune import find_feature, prune
from .read_shapes import read_shapes

__all__ = [
    "BEFORE_CAFFE",
    "BEFORE_ONNX",
    "Pass",
    "PassResult",
    "Refusal",
    "drop_identity",
    "find_feature",
    "fold_batchnorm",
    "fold_scale",
    "fuse_clip",
    "fuse_repeat",
    "prune",
    "read_shapes",
]

BEFORE_ONNX: tuple[tuple[str, Pass], ...] = (
    ("drop_identity", drop_identity),
    ("fuse_repeat", fuse_repeat),
    ("read_shapes", read_shapes),
)
"""The passes before a network is converted to ONNX, in order, after `prune`: (name, pass)."""

BEFORE_CAFFE: tuple[tuple[str, Pass], ...] = (
    ("drop_identity", drop_identity),  # first: identities separate layers from their BatchNorm
    ("fold_scale", fold_scale),
    ("fold_batchnorm", fold_batchnorm),
    ("fuse_clip", fuse_clip),
    ("fuse_repeat", fuse_repeat),
    ("read_shapes", read_shapes),
)
"""The passes before a network is written for Caffe, in order."""

"""Passes that rewrite the source graph of an MXNet network, one per module.

What is rewritten for any network is in `passes`, on ONNX. Here is what depends on MXNet's
operators, and what is written in other formats than ONNX: MXNet again (`prune`, `merge_batchnorm`),
or Caffe.
"""

from __future__ import annotations

from .base import Pass, PassResult, Refusal
from .drop_copies import drop_copies
from .fuse_repeat import fuse_repeat
from .merge_batchnorm import merge_batchnorm
from .merge_clip import merge_clip
from .merge_scale import merge_scale
from .prune import find_feature, prune
from .read_shapes import read_shapes

__all__ = [
    "BEFORE_CAFFE",
    "BEFORE_ONNX",
    "Pass",
    "PassResult",
    "Refusal",
    "drop_copies",
    "find_feature",
    "fuse_repeat",
    "merge_batchnorm",
    "merge_clip",
    "merge_scale",
    "prune",
    "read_shapes",
]

BEFORE_ONNX: tuple[tuple[str, Pass], ...] = (
    ("drop_copies", drop_copies),
    ("fuse_repeat", fuse_repeat),
    ("read_shapes", read_shapes),
)
"""The passes before a network is converted to ONNX, in order, after `prune`: (name, pass)."""

BEFORE_CAFFE: tuple[tuple[str, Pass], ...] = (
    ("drop_copies", drop_copies),  # first: identities separate layers from their BatchNorm
    ("merge_scale", merge_scale),
    ("merge_batchnorm", merge_batchnorm),
    ("merge_clip", merge_clip),
    ("fuse_repeat", fuse_repeat),
    ("read_shapes", read_shapes),
)
"""The passes before a network is written for Caffe, in order."""

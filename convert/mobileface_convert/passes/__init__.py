"""Rewrites of the source graph, one module each, in the order in which export runs them."""

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
    "PASSES",
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

PASSES: tuple[tuple[str, Pass], ...] = (
    ("drop_identity", drop_identity),  # first: it parts layers from their batch normalisation
    ("fold_scale", fold_scale),
    ("fold_batchnorm", fold_batchnorm),
    ("fuse_clip", fuse_clip),
    ("fuse_repeat", fuse_repeat),
    ("read_shapes", read_shapes),
)
"""What export runs after `prune` has cut the network, by name, in order."""

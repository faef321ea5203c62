"""Run times published by MobileFace, for comparison with measurements."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["PUBLISHED_MS"]

PUBLISHED_MS: Mapping[str, str] = MappingProxyType(
    {
        "detection": "20",
        "landmarks": "< 1",
        "pose": "< 0.1",
        "align": "< 0.1",
        "attributes": "14",
        "tracking": "< 2",
        "identification_v1": "8.5",
        "identification_v2": "9",
        "identification_v3": "3",
    }
)
"""Milliseconds by stage or model, from upstream's README, on upstream's hardware."""

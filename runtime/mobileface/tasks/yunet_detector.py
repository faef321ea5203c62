"""Detectors of kind "yunet"."""

from __future__ import annotations

from ..models.kinds import YunetSpec
from .single_shot_detector import OneRunDetector

__all__ = ["YunetDetector"]


class YunetDetector(OneRunDetector):
    """YuNet (Wu, Peng, Yu 2023, https://doi.org/10.1007/s11633-023-1423-y); see `OneRunDetector`.

    Raises:
        ModelError: If the model is of another kind.
        InputError: If an option is out of range.
    """

    section_class = YunetSpec

"""Kind "yunet": the detector of five points that is the default."""

from __future__ import annotations

from dataclasses import dataclass

from .single_shot import OneRun, OneRunSpec

__all__ = ["YUNET", "YunetSpec"]


@dataclass(frozen=True, slots=True)
class YunetSpec(OneRunSpec):
    """A YuNet detector; the fields are those of `OneRunSpec`."""


class Yunet(OneRun[YunetSpec]):
    """YuNet (Wu, Peng, Yu 2023, https://doi.org/10.1007/s11633-023-1423-y)."""

    name = "yunet"
    section = YunetSpec
    runner = "mobileface.tasks.yunet_detector:YunetDetector"


YUNET = Yunet()

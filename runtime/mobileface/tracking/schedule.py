"""When the detector runs on the frames of a video."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from ..vision.image import Image

__all__ = ["DetectionSchedule", "Interval"]

_MAX_PAUSE = 0.2
"""Maximum seconds of video without a detection when the interval is chosen automatically."""

_GAP_WEIGHT, _ROUNDING = 0.1, 0.05
"""Weight of the newest frame in the measured frame rate; what rounding of time stamps may do."""

_TIME_TOLERANCE = 0.0015
"""Many containers round time stamps to milliseconds."""

_PATIENCE = 3
"""Number of consecutive frames with a detection after a face was missed or is new."""

_SCENE_STEP, _SCENE_CHANGE = 24, 20.0
"""A new scene begins if every ``_SCENE_STEP``-th pixel differs by more than ``_SCENE_CHANGE`` on
average."""

Interval = int | Literal["auto"]


@dataclass(slots=True)
class DetectionSchedule:
    """Decides when the detector runs.

    Attributes:
        every: Frames from one detection to the next; "auto" chooses the interval automatically.
        fps: Frames per second of the video; follows the times of the frames.
        max_rate: Maximum number of detections per second of video; None for no limit.
        live: Frames that arrive while another one is processed are lost.
        interval: Current interval in frames, with "auto".
        since: Frames since the last detection.
        cost: Smoothed run time of a frame with a detection, in seconds.
        looks: Consecutive detections while the tracks were unsettled.
        scene: Subsampled previous frame.
        time: Time of the previous frame in seconds; None if unknown.
        detected_at: Time of the last detection in seconds.
    """

    every: Interval
    fps: float
    max_rate: float | None
    live: bool
    interval: int = 1
    since: float = math.inf
    cost: float = 0.0
    looks: int = 0
    scene: Image | None = None
    time: float | None = None
    detected_at: float = -math.inf

    def due(self, frame: Image, time: float | None) -> bool:
        """True if the detector must run on this frame, taken at a time in seconds if known."""
        now = self._due(frame) if time is None else self._due_at(frame, time)
        self.since = 1 if now else self.since + 1
        return now

    def _due_at(self, frame: Image, time: float) -> bool:
        """Like `_due`, with limits in seconds; measures the frame rate."""
        if self.time is not None and time > self.time:
            gap = (1 - _GAP_WEIGHT) / self.fps + _GAP_WEIGHT * (time - self.time)
            self.fps = 1 / gap
        self.time = time
        passed = time - self.detected_at + _TIME_TOLERANCE
        longest = max(_MAX_PAUSE, self.cost if self.live else 0.0)
        now = self._due(frame, limited=False) or (self.every == "auto" and passed >= longest)
        now = now and (self.max_rate is None or passed >= 1 / self.max_rate)
        if now:
            self.detected_at = time
        return now

    def _due(self, frame: Image, limited: bool = True) -> bool:
        """True if the interval in frames has passed; ``limited`` applies `max_rate` in frames."""
        has_limit = limited and self.max_rate is not None
        least = math.ceil(self.fps / self.max_rate) if has_limit and self.max_rate else 1
        if self.every == "auto":
            every = 1 if self._is_new_scene(frame) else self.interval
        else:
            every = self.every
        return self.since >= max(every, least)

    def learn(self, surprised: bool, unsettled: bool, seconds: float) -> None:
        """Adapts the interval after a detection: shorter after a surprise, otherwise longer.

        Args:
            surprised: The detection was needed, see `_surprised`.
            unsettled: See `Tracker.unsettled`.
            seconds: Run time of the frame.
        """
        self.cost = seconds if not self.cost else 0.8 * self.cost + 0.2 * seconds
        self.looks = self.looks + 1 if unsettled else 0
        if unsettled and self.looks <= _PATIENCE:
            interval = 1
        else:
            interval = max(self.interval // 2, 1) if surprised else self.interval + 1
        keeps_up = math.ceil(self.cost * self.fps) if self.live else 1
        self.interval = max(min(interval, int(self.fps * _MAX_PAUSE + _ROUNDING)), keeps_up, 1)

    def _is_new_scene(self, frame: Image) -> bool:
        """True after a cut: the predicted boxes are no longer valid."""
        before, self.scene = self.scene, np.array(frame[::_SCENE_STEP, ::_SCENE_STEP])
        if before is None or before.shape != self.scene.shape:
            return True
        return float(cv2.absdiff(before, self.scene).mean()) > _SCENE_CHANGE

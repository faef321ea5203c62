"""Detectors of one graph: large images scaled down and looked at twice, or searched in tiles."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..models.kinds import SingleShotSpec
from ..models.kinds.single_shot import OneRunSpec, enlarged, scaled_down
from ..models.session import Session
from ..types import Detections, FloatArray
from ..vision.image import ChannelOrder, Image, to_color
from .detection import Detector

__all__ = ["OneRunDetector", "SingleShotDetector"]

_LEAST_FACE = 24
"""Pixels of a face that is found surely: a larger copy need not be searched for larger ones."""

_ENLARGED = 20
"""Whoever asks for faces of fewer pixels than this gets tiles of twice the size searched too."""

_MARGIN = 4
"""A box that ends so near to the inner edge of a tile may be a part of a face."""

_COVERED = 0.7
"""A box of which a better one covers more than this is a part of that face."""

_SMALLEST_TILE = 64

_DIRECTIONS = (1, 2, 4)

_TOGETHER = 160
"""Pixels of the longer side: larger images are not faster in batches."""


@dataclass(frozen=True)
class _Found:
    """Faces as the network gives them, in pixels of the whole image."""

    scores: FloatArray
    boxes: FloatArray
    kps: FloatArray

    def take(self, rows: npt.NDArray[Any]) -> _Found:
        """Some of them."""
        return _Found(self.scores[rows], self.boxes[rows], self.kps[rows])

    def moved(self, factors: tuple[float, float], x: float = 0, y: float = 0) -> _Found:
        """In pixels of an image that is larger and in which this one begins at (x, y)."""
        factor, start = np.array(factors, np.float32), np.array([x, y], np.float32)
        boxes = (self.boxes.reshape(-1, 2, 2) + start) * factor
        return _Found(self.scores, boxes.reshape(-1, 4), (self.kps + start) * factor)

    def turned_back(self, quarters: int, shape: tuple[int, ...]) -> _Found:
        """In pixels of the image of this shape that `numpy.rot90` turned by so many quarters."""
        height, width = shape[:2]
        ends = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)[quarters]
        x = np.array([(1, 0), (0, -1), (-1, 0), (0, 1)], np.float32)[quarters]
        y = np.array([(0, 1), (1, 0), (0, -1), (-1, 0)], np.float32)[quarters]
        back = np.stack([x, y], axis=1)
        corners = self.boxes.reshape(-1, 2, 2) @ back + ends
        boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
        return _Found(self.scores, boxes, self.kps @ back + ends)


class OneRunDetector(Detector):
    """Finds faces and the points of each, in one run of a graph that decodes and suppresses.

    Small images of one size are given to the network together. Larger ones are given one by one:
    batches of them take longer per image.

    Args:
        session: The model.
        score_threshold: Faces must score more than this, 0 to 1; None: the model's own.
        iou_threshold: Of two boxes with a larger IoU than this, 0 to 1, NMS keeps the better one;
            None: the model's own.
        topk: Number of boxes that NMS compares, from 1 on; None: the model's own.
        max_side: Larger images are scaled down to this many pixels on the longer side; more finds
            smaller faces and takes longer. A copy of the model's ``second_side`` is searched too,
            for faces that fill the image. 0: images are searched once, as they are. None: the
            model's own.
        min_face_size: Faces whose longer side has fewer pixels are left out. In tiles it saves time
            where it is large; below 20, tiles are enlarged twofold as well, which takes five times
            as long and finds faces of 10 to 20 pixels.
        tile: Search larger images in tiles of this side in pixels, 64 or more, at full size and at
            halves of it, with the memory of one tile; ``max_side`` is then of no importance. True:
            tiles of the model's own size.
        turns: In how many directions a head may point: 1, 2 (upright and upside down) or 4 (every
            90°). For each, a turned copy of the image is searched, which takes as long again. None:
            1, which finds most heads that are turned by up to 45°, and some of the others.

    Raises:
        ModelError: If the model is of another kind.
        InputError: If an option is out of range.
    """

    section_class: ClassVar[type[OneRunSpec]]
    """Section of the kind that a subclass runs."""

    def __init__(
        self,
        session: Session,
        *,
        score_threshold: float | None = None,
        iou_threshold: float | None = None,
        topk: int | None = None,
        max_side: int | None = None,
        min_face_size: float | None = None,
        tile: bool | int | None = None,
        turns: int | None = None,
    ) -> None:
        super().__init__(session)
        section = session.spec.require(self.section_class, str(session.path))
        self.section = section
        self.point_names = section.points
        self.score_threshold = _share("score_threshold", score_threshold, section.score_threshold)
        self.iou_threshold = _share("iou_threshold", iou_threshold, section.iou_threshold)
        self.topk = _whole("topk", topk, section.topk, 1)
        self.max_side = _whole("max_side", max_side, section.max_side, 0)
        self.min_face_size = _size("min_face_size", min_face_size)
        self.tile = 0
        if tile is not None and tile is not False:
            chosen = section.tile_side if tile is True else tile
            self.tile = _whole("tile", chosen, section.tile_side, _SMALLEST_TILE)
        self.turns = _whole("turns", turns, 1, 1)
        if self.turns not in _DIRECTIONS:
            raise InputError(f"turns {turns!r} is not 1, 2 or 4")

    def _detect(self, images: Sequence[Image], color: ChannelOrder) -> list[Detections]:
        shapes = {image.shape for image in images}
        if self.turns > 1:
            found = [self._search_turned(image, color) for image in images]
        elif (
            len(images) > 1
            and self._batches
            and len(shapes) == 1
            and max(images[0].shape[:2]) <= self._small
        ):
            found = self._run_batch([to_color(image, "bgr", color) for image in images])
        else:
            found = [self._search(np.ascontiguousarray(image), color) for image in images]
        return [self._detections(each) for each in found]

    def _search_turned(self, image: Image, color: ChannelOrder) -> _Found:
        """The faces of an image and of its turned copies, in pixels of the image."""
        parts = []
        for quarters in range(0, 4, 4 // self.turns):
            copy = np.ascontiguousarray(np.rot90(image, quarters))
            parts.append(self._search(copy, color).turned_back(quarters, image.shape))
        return _merged(parts, self.iou_threshold)

    @property
    def _batches(self) -> bool:
        """Whether the network takes several images per run."""
        return True

    @property
    def _small(self) -> int:
        """Pixels of the longer side of images that are searched once, as they are, and together."""
        sides = (_TOGETHER, self.section.second_above, self.max_side, self.tile)
        return min(side for side in sides if side)

    def _search(self, image: Image, color: ChannelOrder) -> _Found:
        """The faces of one contiguous image."""
        if self.tile and max(image.shape[:2]) > self.tile:
            return self._search_tiles(image, color)
        if self.tile or self.max_side:
            return self._look_twice(image, color, self.tile or self.max_side)
        return self._run(image, color)

    def _detections(self, found: _Found) -> Detections:
        """Those that are not too small."""
        sizes = (found.boxes[:, 2:] - found.boxes[:, :2]).max(axis=1)
        found = found.take(np.flatnonzero(sizes >= self.min_face_size))
        points = found.kps if self.point_names else None
        return Detections(found.boxes, found.scores, points, self.point_names)

    def _look_twice(self, image: Image, color: ChannelOrder, side: int) -> _Found:
        """What the network finds in copies of at most ``side`` pixels and of the second look."""
        first = scaled_down(image, side)
        found = self._run(first, color).moved(_factors(first, image))
        if max(first.shape[:2]) <= self.section.second_above:
            return found
        second = scaled_down(first, self.section.second_side)
        again = self._run(second, color).moved(_factors(second, image))
        return _merged([found, again], self.iou_threshold)

    def _run(self, image: Image, color: ChannelOrder) -> _Found:
        """What the network finds in an image as it is."""
        return self._run_batch([to_color(image, "bgr", color)])[0]

    def _run_batch(self, images: Sequence[Image]) -> list[_Found]:
        """What the network finds in BGR images of one size."""
        section = self.section
        found = self.session.run(
            {
                section.image: np.stack(images),
                section.score_input: np.array(self.score_threshold, np.float32),
                section.iou_input: np.array(self.iou_threshold, np.float32),
                section.topk_input: np.array(self.topk, np.int64),
            }
        )
        scores, boxes = found[section.scores], found[section.boxes]
        none = np.zeros((len(scores), 0, 2), np.float32)
        everything = _Found(scores, boxes, found[section.kps] if section.points else none)
        if len(images) == 1:
            return [everything]
        which = found[section.index]
        return [everything.take(np.flatnonzero(which == row)) for row in range(len(images))]

    def _search_tiles(self, image: Image, color: ChannelOrder) -> _Found:
        """Tiles of the image and of copies of half the size, and the whole of the last copy.

        A face that no tile of one copy holds is half as large in the next.
        """
        parts: list[_Found] = []
        level, size = image, self.min_face_size
        if 0 < size < _ENLARGED:
            parts += self._search_level(level, image, color, 2)
        while max(level.shape[:2]) > self.tile:
            if size < 2 * _LEAST_FACE:
                parts += self._search_level(level, image, color, 1)
            level, size = scaled_down(level, (max(level.shape[:2]) + 1) // 2), size / 2
        parts.append(self._look_twice(level, color, self.tile).moved(_factors(level, image)))
        return _merged(parts, self.iou_threshold)

    def _search_level(
        self, level: Image, image: Image, color: ChannelOrder, enlarge: int
    ) -> Iterator[_Found]:
        """The faces of each tile of a copy, in pixels of the image."""
        rows, columns = level.shape[:2]
        for top, bottom in self._spans(rows, enlarge):
            for left, right in self._spans(columns, enlarge):
                tile = level[top:bottom, left:right]
                found = self._search_tile(tile, color, level.shape, left, top, enlarge)
                yield found.moved((1, 1), left, top).moved(_factors(level, image))

    def _search_tile(
        self,
        tile: Image,
        color: ChannelOrder,
        shape: tuple[int, ...],
        left: int,
        top: int,
        enlarge: int,
    ) -> _Found:
        """The faces of a tile, in its own pixels, without those that its inner edges may cut."""
        rows, columns = tile.shape[:2]
        found = self._run(enlarged(tile, enlarge), color).moved((1 / enlarge, 1 / enlarge))
        inner = np.array(
            [left > 0, top > 0, left + columns < shape[1], top + rows < shape[0]], np.bool_
        )
        distances = np.concatenate(
            [found.boxes[:, :2], np.array([columns, rows]) - found.boxes[:, 2:]], axis=1
        )
        cut = ((distances < _MARGIN) & inner).any(axis=1)
        return found.take(np.flatnonzero(~cut))

    def _spans(self, length: int, enlarge: int) -> Iterator[tuple[int, int]]:
        """Begin and end of the tiles along a side; the last one ends with it."""
        tile = self.tile // enlarge
        step = tile - min(self.section.tile_overlap, self.tile // 2) // enlarge
        for start in range(0, max(1, length - tile + step), step):
            first = max(0, min(start, length - tile))
            yield first, min(first + tile, length)


class SingleShotDetector(OneRunDetector):
    """Detectors of the layouts that `mobileface-convert adopt --task detection` reads.

    Images go through the network as `OneRunDetector` says; one by one if the network takes no
    batches. A network of fixed size scales each image, or tile, to that size itself.

    Raises:
        ModelError: If the model is of another kind.
        InputError: If an option is out of range.
    """

    section_class = SingleShotSpec

    @property
    def _batches(self) -> bool:
        section = self.spec.require(SingleShotSpec)
        return section.batch != 1


def _factors(copy: Image, image: Image) -> tuple[float, float]:
    """By how much an image is wider and higher than its copy."""
    return image.shape[1] / copy.shape[1], image.shape[0] / copy.shape[0]


def _merged(parts: Sequence[_Found], iou_threshold: float) -> _Found:
    """The best of faces that were found several times, highest score first."""
    fields = ("scores", "boxes", "kps")
    together = _Found(*(np.concatenate([getattr(p, field) for p in parts]) for field in fields))
    together = together.take(np.argsort(-together.scores, kind="stable"))
    areas = np.maximum(together.boxes[:, 2:] - together.boxes[:, :2], 0).prod(axis=1)
    open_ = np.ones(len(areas), np.bool_)
    kept = []
    for row, box in enumerate(together.boxes):
        if not open_[row]:
            continue
        kept.append(row)
        low = np.maximum(together.boxes[:, :2], box[:2])
        high = np.minimum(together.boxes[:, 2:], box[2:])
        shared = np.maximum(high - low, 0).prod(axis=1)
        union = np.maximum(areas + areas[row] - shared, 1e-9)
        open_ &= (shared <= iou_threshold * union) & (shared <= _COVERED * areas)
    return together.take(np.array(kept, np.int64))


def _share(name: str, value: float | None, default: float) -> float:
    """A number from 0 to 1.

    Raises:
        InputError: If it is none.
    """
    chosen = default if value is None else value
    if not _is_number(chosen) or not 0 <= chosen <= 1:
        raise InputError(f"{name} {chosen!r} is not between 0 and 1")
    return float(chosen)


def _size(name: str, value: float | None) -> float:
    """A size in pixels; 0 if none is given.

    Raises:
        InputError: If it is no finite number or below 0.
    """
    chosen = 0 if value is None else value
    if not _is_number(chosen) or not 0 <= chosen < np.inf:
        raise InputError(f"{name} {chosen!r} is not a number of pixels")
    return float(chosen)


def _whole(name: str, value: int | None, default: int, least: int) -> int:
    """A whole number that is not below the least.

    Raises:
        InputError: If it is none.
    """
    chosen = default if value is None else value
    try:
        number = -1 if isinstance(chosen, bool | np.bool_) else operator.index(chosen)
    except TypeError:
        number = -1
    if number < least or number >= 1 << 31:
        raise InputError(f"{name} {chosen!r} is not a whole number of at least {least}")
    return number


def _is_number(value: object) -> bool:
    known = isinstance(value, int | float | np.integer | np.floating)
    return known and not isinstance(value, bool)

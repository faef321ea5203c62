"""Changes the background of one picture, in which there must be a person."""

from __future__ import annotations

from ..errors import ImageError
from ..tasks.detection import Detector
from ..tasks.person_segmenter import PersonSegmenter
from ..vision.image import Image
from .backdrops import Backdrop
from .background import change_background, shows_person, with_heads
from .background_video import small_mask

__all__ = ["NobodyError", "change_behind"]


class NobodyError(ImageError):
    """A picture shows no person."""


def change_behind(
    image: Image,
    backdrop: Backdrop,
    segmenter: PersonSegmenter,
    detector: Detector,
    *,
    where: str = "image",
) -> Image:
    """Changes what lies behind the people of a picture.

    Args:
        image: uint8 (H, W, 3) BGR.
        backdrop: What takes its place.
        segmenter: Finds people.
        detector: Finds faces, so that heads are whole.
        where: Location for error messages.

    Returns:
        uint8 (H, W, 3).

    Raises:
        NobodyError: If it shows no person, and the background is to change.
    """
    mask = with_heads(small_mask(segmenter, image), detector.detect(image).boxes, image.shape)
    if not (backdrop.unchanged or shows_person(mask)):
        raise NobodyError("no person found; nothing is written", where=where)
    return change_background(image, mask, backdrop)

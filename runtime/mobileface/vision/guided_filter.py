"""The guided filter: gives one image the edges of another."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from ..arrays import ByteArray, FloatArray
from .image import resize

__all__ = ["guided_coefficients", "guided_filter", "guided_strips"]

_STRIP_PIXELS = 1 << 20


def guided_coefficients(
    guide: FloatArray, source: FloatArray, radius: int, epsilon: float
) -> tuple[FloatArray, FloatArray]:
    """The slope and offset by which a filtered pixel depends on the guide's.

    He, Sun and Tang, "Guided image filtering", 2013, eq. 5 and 6: in each window the source is a
    linear function of the guide. Both are means over the windows that contain a pixel.

    Args:
        guide: float32 (H, W), 0 to 1.
        source: float32 (H, W): what is filtered.
        radius: Windows are squares of 2·radius + 1 pixels; beyond borders the images are mirrored.
        epsilon: Variance of the guide far below which a window is averaged.

    Returns:
        Slope and offset, float32 (H, W) each.
    """
    size = (2 * radius + 1, 2 * radius + 1)

    def mean(values: FloatArray) -> FloatArray:
        return np.asarray(
            cv2.boxFilter(values, cv2.CV_32F, size, borderType=cv2.BORDER_REFLECT), np.float32
        )

    of_guide, of_source = mean(guide), mean(source)
    covariance = mean(guide * source) - of_guide * of_source
    variance = mean(guide * guide) - of_guide * of_guide
    slope = covariance / (variance + np.float32(epsilon))
    return mean(slope), mean(of_source - slope * of_guide)


def guided_filter(guide: FloatArray, source: FloatArray, radius: int, epsilon: float) -> FloatArray:
    """Filters an image so that it has the edges of another; see `guided_coefficients`.

    Returns:
        float32 (H, W): slope · guide + offset, eq. 8.
    """
    slope, offset = guided_coefficients(guide, source, radius, epsilon)
    return slope * guide + offset


def guided_strips(
    guide: ByteArray, source: FloatArray, factor: int, radius: int, epsilon: float
) -> Iterator[tuple[slice, FloatArray]]:
    """Filters a small image so that it has the edges of a large one, in strips of rows.

    He and Sun, "Fast guided filter", 2015: the coefficients are computed at a smaller size and
    enlarged bilinearly; the guide is taken as it is.

    Args:
        guide: uint8 (H, W).
        source: float32 (h, w), of any size, of the same view.
        factor: Pixels of the guide for each pixel of the coefficients, across and down.
        radius: Of the windows, in pixels of the coefficients.
        epsilon: See `guided_coefficients`.

    Yields:
        Rows, and the filtered image there, float32 (rows, W).
    """
    height, width = guide.shape
    rows, columns = -(-height // factor), -(-width // factor)
    over = (rows * factor - height, columns * factor - width)
    whole = cv2.copyMakeBorder(guide, 0, over[0], 0, over[1], cv2.BORDER_REPLICATE)
    small = resize(np.asarray(whole, np.uint8), rows, columns).astype(np.float32) / 255
    fitting = np.asarray(cv2.resize(source, (columns, rows)), np.float32)
    coefficients = guided_coefficients(small, fitting, radius, epsilon)
    step = max(_STRIP_PIXELS // (width * factor), 1)
    for start in range(0, rows, step):
        stop = min(start + step, rows)
        first, last = max(start - 1, 0), min(stop + 1, rows)  # bilinear: one row more
        size = (columns * factor, (last - first) * factor)
        slope, offset = (
            cv2.resize(part[first:last], size, interpolation=cv2.INTER_LINEAR)
            for part in coefficients
        )
        place = slice(start * factor, min(stop * factor, height))
        inside = slice(
            (start - first) * factor, (start - first) * factor + place.stop - place.start
        )
        gray = guide[place].astype(np.float32)
        gray *= np.float32(1 / 255)
        gray *= slope[inside, :width]
        gray += offset[inside, :width]
        yield place, gray

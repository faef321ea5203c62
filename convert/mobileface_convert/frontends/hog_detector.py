"""Reader of dlib's sliding-window object detectors (gradient histograms and a linear SVM).

The format is that of ``dlib.fhog_object_detector.save``: the scanner's geometry, the two thresholds
of the overlap test and, for each filter, 31 planes of cell weights followed by the threshold of its
score. The detector is described in King, "Max-Margin Object Detection", arXiv:1502.00046; dlib's
frontal face detector consists of five such filters of 10 x 10 cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mobileface.errors import OutputError, SourceError
from mobileface.host.files import scratch_folder

from .dlib_stream import DlibStream

__all__ = ["PLANES", "HogDetector", "installed_detector_bytes", "read_hog_detector"]

PLANES = 31
"""Feature planes of a cell: 18 signed orientations, 9 unsigned orientations, 4 textures."""

_DETECTOR_VERSION = 2
_SCANNER_VERSION = 1
_LARGEST_SIDE = 4096
_CELL_SIZES = (4, 8, 16)
_LARGEST_FILTER_COUNT = 64
_PYRAMID_STEP = 6


@dataclass(frozen=True, eq=False)
class HogDetector:
    """The content of a detector file.

    Attributes:
        window_width: Width of the sliding window in pixels.
        window_height: Height of the sliding window in pixels.
        cell_size: Side of a histogram cell in pixels.
        padding: Cells added on each side of the window before filtering.
        max_pyramid_levels: Maximum number of pyramid levels to search.
        min_layer_width: Minimum width in pixels of a pyramid level to search.
        min_layer_height: Minimum height in pixels of a pyramid level to search.
        nuclear_norm_strength: Regularization used in training; no effect on detection.
        overlap_threshold: Two boxes overlap if their intersection is more than this fraction of
            the rectangle around both.
        covered_threshold: Two boxes also overlap if their intersection is more than this fraction
            of either box.
        filters: float64 (K, 31, rows, columns), one weight per plane and cell.
        thresholds: float64 (K,), subtracted from the filter responses.
    """

    window_width: int
    window_height: int
    cell_size: int
    padding: int
    max_pyramid_levels: int
    min_layer_width: int
    min_layer_height: int
    nuclear_norm_strength: float
    overlap_threshold: float
    covered_threshold: float
    filters: npt.NDArray[np.float64]
    thresholds: npt.NDArray[np.float64]

    def to_spec(self) -> dict[str, int | float]:
        """The detector's parameters for the runtime: the fields of `HogSpec`."""
        return {
            "filters": int(self.filters.shape[0]),
            "filter_rows": int(self.filters.shape[2]),
            "filter_columns": int(self.filters.shape[3]),
            "cell_size": self.cell_size,
            "pyramid_step": _PYRAMID_STEP,
            "max_pyramid_levels": self.max_pyramid_levels,
            "min_layer_width": self.min_layer_width,
            "min_layer_height": self.min_layer_height,
            "overlap_threshold": self.overlap_threshold,
            "covered_threshold": self.covered_threshold,
        }


def read_hog_detector(data: bytes, where: str) -> HogDetector:
    """Reads a detector.

    Args:
        data: Content of the file.
        where: Name of the file in error messages.

    Raises:
        SourceFormatError: If the data is not such a detector, or its geometry is not supported
            (cells of other than 4, 8 or 16 pixels, a window of fractional cells, or padding).
    """
    stream = DlibStream.from_bytes(data, where)
    _expect(stream, "detector version", _DETECTOR_VERSION)
    _expect(stream, "scanner version", _SCANNER_VERSION)
    _expect(stream, "feature extractor state", 0)
    _expect(stream, "feature extractor size", 0)
    cell_size = _size(stream, "cell size")
    padding = _bounded(stream, "padding", _LARGEST_SIDE)
    window_width, window_height = _size(stream, "window width"), _size(stream, "window height")
    max_levels = _size(stream, "pyramid levels")
    layer_width, layer_height = _size(stream, "layer width"), _size(stream, "layer height")
    nuclear_norm = _finite(stream, "nuclear norm strength")
    rows, columns = _filter_size(stream, window_width, window_height, cell_size, padding)
    overlap_threshold = _fraction(stream, "overlap threshold")
    covered_threshold = _fraction(stream, "covered threshold")
    filters, thresholds = _read_filters(stream, rows, columns)
    stream.end()
    return HogDetector(
        window_width=window_width,
        window_height=window_height,
        cell_size=cell_size,
        padding=padding,
        max_pyramid_levels=max_levels,
        min_layer_width=layer_width,
        min_layer_height=layer_height,
        nuclear_norm_strength=nuclear_norm,
        overlap_threshold=overlap_threshold,
        covered_threshold=covered_threshold,
        filters=filters,
        thresholds=thresholds,
    )


def installed_detector_bytes() -> bytes:
    """The frontal face detector of the installed dlib, in the format of `read_hog_detector`.

    Raises:
        SourceError: If dlib is not installed.
        OutputError: If the folder for temporary files is full.
    """
    try:
        import dlib
    except ImportError as error:
        raise SourceError(
            "dlib is not installed; its face detector is only available inside the package",
            hint="pip install dlib-bin",
        ) from error
    with scratch_folder() as folder:
        path = Path(folder) / "frontal_face_detector.svm"
        try:
            dlib.get_frontal_face_detector().save(str(path))
            return path.read_bytes()
        except RuntimeError as error:  # dlib's only type; it does not say why
            text = f"cannot be written ({error})"
            raise OutputError(text, where=str(path.parent.parent)) from error


def _filter_size(
    stream: DlibStream, width: int, height: int, cell_size: int, padding: int
) -> tuple[int, int]:
    """Rows and columns of the filters, checked against the number of weights in the file."""
    if padding or cell_size not in _CELL_SIZES or width % cell_size or height % cell_size:
        raise stream.error(
            f"a window of {width} x {height} pixels with cells of {cell_size} and a padding of "
            f"{padding} is not supported"
        )
    rows, columns = height // cell_size, width // cell_size
    weights = stream.integer("number of weights")
    if weights != PLANES * rows * columns:
        raise stream.error(
            f"expected weights for {PLANES} planes of {rows} x {columns} cells, got {weights}"
        )
    return rows, columns


def _read_filters(
    stream: DlibStream, rows: int, columns: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """All filters and their thresholds; there must be at least one."""
    count = _bounded(stream, "number of filters", _LARGEST_FILTER_COUNT)
    if count == 0:
        raise stream.error("the detector has no filters")
    vectors = []
    for index in range(count):
        vector = stream.matrix(f"filter {index}", np.float64)
        if vector.shape != (PLANES * rows * columns + 1, 1) or not np.isfinite(vector).all():
            raise stream.error(f"filter {index} is not a finite vector of the expected length")
        vectors.append(vector[:, 0])
    stacked = np.stack(vectors)
    return stacked[:, :-1].reshape(count, PLANES, rows, columns), stacked[:, -1]


def _expect(stream: DlibStream, what: str, expected: int) -> None:
    """Reads an integer that must have a fixed value."""
    value = stream.integer(what)
    if value != expected:
        raise stream.error(f"{what} must be {expected}, not {value}")


def _bounded(stream: DlibStream, what: str, maximum: int) -> int:
    """Reads an integer from 0 to a maximum."""
    value = stream.integer(what)
    if not 0 <= value <= maximum:
        raise stream.error(f"{what} must be from 0 to {maximum}, not {value}")
    return value


def _size(stream: DlibStream, what: str) -> int:
    """Reads a positive number of pixels or levels."""
    value = _bounded(stream, what, _LARGEST_SIDE)
    if value == 0:
        raise stream.error(f"{what} must be at least 1, not 0")
    return value


def _finite(stream: DlibStream, what: str) -> float:
    """Reads a finite float."""
    value = float(stream.float64s(1, what)[0])
    if not np.isfinite(value):
        raise stream.error(f"{what} must be finite, not {value}")
    return value


def _fraction(stream: DlibStream, what: str) -> float:
    """Reads a float from 0 to 1."""
    value = float(stream.float64s(1, what)[0])
    if not 0.0 <= value <= 1.0:
        raise stream.error(f"{what} must be from 0 to 1, not {value}")
    return value

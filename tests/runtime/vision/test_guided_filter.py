"""The guided filter against OpenCV's contributed one, and its strips against the whole image."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mobileface.arrays import FloatArray
from mobileface.vision import guided_filter as module
from mobileface.vision.guided_filter import guided_filter, guided_strips

XIMGPROC = [
    [0.000000, 0.138805, 0.488261, 0.012885, 0.371927, 0.622208],
    [0.110041, 0.063028, 0.260669, 0.112406, 0.133069, 0.274373],
    [0.317456, 0.189466, 0.719384, 0.599234, 0.807285, 0.736040],
    [0.483273, 0.804162, 0.901113, 0.894631, 0.946694, 0.489865],
    [0.276197, 0.481501, 0.416266, 0.748885, 0.771434, 0.862453],
]
"""Every eighth row and column of what cv2.ximgproc.guidedFilter of OpenCV 4.11 gives for `inputs`,
radius 4 and ε 0.001."""


def inputs() -> tuple[FloatArray, FloatArray]:
    random = np.random.RandomState(7)
    guide = cv2.GaussianBlur(random.rand(40, 48).astype(np.float32), (0, 0), 1.5)
    guide = (guide - guide.min()) / (guide.max() - guide.min())
    source = cv2.GaussianBlur(random.rand(40, 48).astype(np.float32), (0, 0), 3) > 0.5
    return np.asarray(guide, np.float32), source.astype(np.float32)


def test_it_is_opencv_s() -> None:
    found = guided_filter(*inputs(), 4, 1e-3)[::8, ::8]
    error = float(np.abs(found - XIMGPROC).max())
    print(f"{error:.1g}")
    assert error < 2e-5


@pytest.mark.parametrize("factor", [1, 2, 3, 7])
def test_strips_are_the_whole(factor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for strips of any height; at factor 1 that of the whole image."""
    guide, source = inputs()
    gray = np.round(guide * 255).astype(np.uint8)
    found = []
    for pixels in (1 << 20, 500, 1):
        monkeypatch.setattr(module, "_STRIP_PIXELS", pixels)
        parts = list(guided_strips(gray, source, factor, 4, 1e-3))
        assert [part.shape[0] for _, part in parts] == [r.stop - r.start for r, _ in parts]
        found.append(np.vstack([part for _, part in parts]))
        print(f"{len(parts)} strips")
        assert found[-1].shape == gray.shape
    between = max(float(np.abs(one - found[0]).max()) for one in found[1:])
    print(f"factor {factor}: {between:.1g} between strips")
    assert between < 1e-6
    if factor == 1:
        whole = guided_filter((gray / np.float32(255)).astype(np.float32), source, 4, 1e-3)
        error = float(np.abs(found[0] - whole).max())
        print(f"{error:.1g} from the whole")
        assert error < 1e-5

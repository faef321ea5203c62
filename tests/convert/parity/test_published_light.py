"""Enhancement against the nine results that upstream published."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from mobileface import enhance, read_image

pytestmark = pytest.mark.needs_source

NAMES = [
    f"{light}_light_{number}" for light in ("dark", "normal", "bright") for number in (1, 2, 3)
]


@pytest.mark.parametrize("name", NAMES)
def test_byte_for_byte(name: str, source: Path) -> None:
    """The published files judge the light by the first row alone; so does the option."""
    image = read_image(source / "example" / "light" / f"{name}.png")
    published = (source / "example" / "light_result" / f"rst_{name}.png").read_bytes()
    found = enhance(image, histogram="first_row")
    done, encoded = cv2.imencode(".png", found)
    assert done
    assert encoded.tobytes() == published
    by_all = enhance(image).astype(int)
    print(f"by all pixels: at most {np.abs(by_all - found).max()} grey values off")

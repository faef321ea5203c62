"""Drawings as SVG, which an extra package traces."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import cv2
import pytest

from mobileface.commands.main import main


@pytest.mark.slow
@pytest.mark.needs_vtracer
def test_svg_is_the_drawing(portrait: Path, tmp_path: Path) -> None:
    """Its size is the drawing's, and it has paths."""
    target = tmp_path / "out.svg"
    for path in (target, target.with_suffix(".png")):
        assert main(["portrait", str(portrait), "--output", str(path)]) == 0
    root = ElementTree.fromstring(target.read_text(encoding="utf-8"))
    drawing = cv2.imread(str(target.with_suffix(".png")), cv2.IMREAD_GRAYSCALE)
    assert drawing is not None
    height, width = drawing.shape
    paths = root.findall("{http://www.w3.org/2000/svg}path")
    print(f"{len(paths)} paths, {target.stat().st_size} bytes")
    assert (root.get("width"), root.get("height")) == (str(width), str(height))
    assert len(paths) > 20

"""The inputs for both machines: lossless images and the faces in them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from mobileface import FaceAnalyzer, read_image
from mobileface.commands.faces import write_picture
from mobileface.models.index import PRECISIONS
from tests.conftest import SOURCE
from tests.run_runtime_environments import find_portrait

__all__ = ["convert_models", "write_cases"]

CROPS = "data/LFW-Aligned-100Pair"
GROUP = "example/friends.jpg"
SHARE = slice(0, 700), slice(200, 900)
"""Part of the group photo that is used, because emulation is slow."""


def convert_models(folder: Path) -> list[Path]:
    """Converts MobileFace's models with all variants.

    Returns:
        The folders with converted models; empty if MobileFace's files are not available.
    """
    if not (SOURCE / "MobileFace_Identification").is_dir():
        return []
    command = [sys.executable, "-m", "mobileface_convert.commands.main", "all", "--no-verify"]
    command += ["--source", str(SOURCE), "--output", str(folder)]
    command += ["--precision", *PRECISIONS, "--calibrate", str(SOURCE / CROPS)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return [folder]


def write_cases(folder: Path, models: Path | None) -> None:
    """Writes images as PNG and their faces as JSON.

    Args:
        folder: The output folder.
        models: Folder of models whose landmarks are used as well; None: only the starter set.
    """
    images = {"portrait": read_image(find_portrait())}
    if (SOURCE / GROUP).is_file():
        images["group"] = read_image(SOURCE / GROUP)[SHARE]
    crops = ("dlib",) if models is None else ("dlib", "mobileface")
    analyzer = FaceAnalyzer(models, ("detection", "landmarks"), crops=crops)
    document = {}
    for name, image in images.items():
        write_picture(folder / f"{name}.png", image)
        document[name] = [
            {"bbox": face.bbox.tolist(), "names": marks.names, "points": marks.points.tolist()}
            for face in analyzer(image)
            if (marks := face.landmarks) is not None
        ]
    (folder / "faces.json").write_text(json.dumps(document))

"""Measures the default calibrations again; writes to runtime/mobileface/matching/calibrations.

    python benchmarks/make_calibrations.py MODELS [--source DIR]

MODELS is a folder that ``mobileface-convert all`` wrote. The data set is LFW-Aligned-100Pair from
MobileFace's files: grey crops of 100×100 pixels, aligned for V1. The other models need another
crop, so each image is enlarged; our own detector and landmarks then find and align the face again.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

from mobileface.commands.faces import write_picture
from mobileface.matching.calibration import SUFFIX
from mobileface.vision.image import Image
from mobileface.vision.picture_files import read_image
from mobileface_eval.commands.main import main as evaluate

ROOT = Path(__file__).resolve().parents[1]
SOURCE = Path(os.environ.get("MOBILEFACE_SOURCE") or ROOT.parent / "shared" / "mobileface")
DATA = "LFW-Aligned-100Pair"
TARGET = ROOT / "runtime" / "mobileface" / "matching" / "calibrations"
FACTOR = 2.5

CROPS = "gray crops of 100x100 pixels as published, a small set: calibrate on your own pictures"
PHOTOS = (
    "gray crops of 100x100 pixels, enlarged 2.5 times, faces found again by detection_yunet; "
    "a small set of poor pictures: calibrate on your own"
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", type=Path)
    parser.add_argument("--source", type=Path, default=SOURCE)
    options = parser.parse_args()
    crops = options.source / "data" / DATA
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder) / DATA
        enlarge(crops, photos)
        own = ["--crops", "--note", CROPS]
        found = ["--detector", "detection_yunet", "--allow-missing", "--note", PHOTOS]
        return (
            measure("identification_v1", crops, own, options.models)
            | measure("identification_v2", photos, found, options.models)
            | measure("identification_v3", photos, found, options.models)
            | measure("embedding_dlib", photos, found, options.models)
        )


def measure(name: str, folder: Path, options: list[str], models: Path) -> int:
    with tempfile.TemporaryDirectory() as report:
        arguments = ["--folder", folder, "--name", DATA, "--embedder", name, "--models", models]
        places = ["--output", report, "--write", TARGET / f"{name}{SUFFIX}"]
        return evaluate(["calibrate", *map(str, [*arguments, *places]), *options])


def enlarge(crops: Path, target: Path) -> None:
    """Writes each crop enlarged, as `enlarged` makes it."""
    for path in sorted(crops.glob("*/*.jpg")):
        whole = enlarged(read_image(path))
        write_picture(target / path.parent.name / f"{path.stem}.png", whole)


def enlarged(crop: Image) -> Image:
    """A crop made larger."""
    large = cv2.resize(crop, None, fx=FACTOR, fy=FACTOR, interpolation=cv2.INTER_CUBIC)
    return np.asarray(large, np.uint8)


if __name__ == "__main__":
    sys.exit(main())

"""Records how MXNet resizes images for the detector: tests/golden/preprocessing.npz.

    python tests/record_preprocessing.py SOURCE

For the example photo and three synthetic images of odd sizes, it records the mean of each row and
each column of the image that MXNet's imresize outputs at the size that GluonCV's rule prescribes,
with upstream's interpolation. (The images themselves are not stored, because one shows people.)
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

TESTS = Path(__file__).resolve().parent
sys.path.insert(0, str(TESTS.parent))

from mobileface.models.probes import make_probes  # noqa: E402
from mobileface_convert.oracles.mxnet_oracle import import_mxnet  # noqa: E402

GOLDEN = TESTS / "golden" / "preprocessing.npz"
PHOTO = Path("example/friends.jpg")
SIZES = ((333, 517), (1001, 431), (97, 1025))
SHORT, MOST = 256, 1024
INTERPOLATION = 2
"""Cubic interpolation, which GluonCV passes to MXNet and MXNet to OpenCV."""

Image = npt.NDArray[np.uint8]


def images(source: Path) -> dict[str, Image]:
    """RGB images by name."""
    photo = cv2.cvtColor(cv2.imread(str(source / PHOTO)), cv2.COLOR_BGR2RGB)
    made = {f"{h}x{w}": make_probes(1, h, w, 3, seed=h)[0] for h, w in SIZES}
    return {"friends": np.asarray(photo, np.uint8), **made}


def mxnet_resize(image: Image) -> Image:
    """Resizes an image as upstream's scripts do, before normalisation."""
    mxnet: Any = import_mxnet()
    height, width = image.shape[:2]
    scale = SHORT / min(height, width)
    if np.round(scale * max(height, width)) > MOST:
        scale = float(MOST) / max(height, width)
    rows, columns = (int(np.round(side * scale)) for side in (height, width))
    scaled = mxnet.image.imresize(
        mxnet.nd.array(image, dtype=np.uint8), columns, rows, INTERPOLATION
    )
    return np.asarray(scaled.asnumpy(), np.uint8)


def means(image: Image) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Mean of each row and of each column, per colour channel."""
    return tuple(image.mean(axis=axis, dtype=np.float64).astype(np.float32) for axis in (1, 0))  # type: ignore[return-value]


def main() -> None:
    recorded = {}
    for name, image in images(Path(sys.argv[1])).items():
        scaled = mxnet_resize(image)
        rows, columns = means(scaled)
        recorded |= {f"{name}_rows": rows, f"{name}_columns": columns}
        print(name, image.shape, "->", scaled.shape)
    np.savez_compressed(GOLDEN, **recorded)


if __name__ == "__main__":
    main()

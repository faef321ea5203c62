"""Records how MXNet prepares pictures for the detector: tests/golden/preprocessing.npz.

    python tests/record_preprocessing.py SOURCE

For the example photo and three synthetic pictures of odd sizes: the size that GluonCV's rule gives,
and of the picture that MXNet's imresize makes, with the interpolation that upstream asks for, the
mean of each row and each column. (The pictures themselves would be somebody's photo.)
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
"""What GluonCV passes to MXNet, and MXNet to OpenCV: cubic."""

Picture = npt.NDArray[np.uint8]


def pictures(source: Path) -> dict[str, Picture]:
    """RGB pictures by name."""
    photo = cv2.cvtColor(cv2.imread(str(source / PHOTO)), cv2.COLOR_BGR2RGB)
    made = {f"{h}x{w}": make_probes(1, h, w, 3, seed=h)[0] for h, w in SIZES}
    return {"friends": np.asarray(photo, np.uint8), **made}


def mxnet_resize(picture: Picture) -> Picture:
    """The picture as upstream's scripts hand it to the network, before normalisation."""
    mxnet: Any = import_mxnet()
    height, width = picture.shape[:2]
    scale = SHORT / min(height, width)
    if np.round(scale * max(height, width)) > MOST:
        scale = float(MOST) / max(height, width)
    rows, columns = (int(np.round(side * scale)) for side in (height, width))
    scaled = mxnet.image.imresize(
        mxnet.nd.array(picture, dtype=np.uint8), columns, rows, INTERPOLATION
    )
    return np.asarray(scaled.asnumpy(), np.uint8)


def means(picture: Picture) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Mean of each row and of each column, by colour."""
    return tuple(picture.mean(axis=axis, dtype=np.float64).astype(np.float32) for axis in (1, 0))  # type: ignore[return-value]


def main() -> None:
    recorded = {}
    for name, picture in pictures(Path(sys.argv[1])).items():
        scaled = mxnet_resize(picture)
        rows, columns = means(scaled)
        recorded |= {f"{name}_rows": rows, f"{name}_columns": columns}
        print(name, picture.shape, "->", scaled.shape)
    np.savez_compressed(GOLDEN, **recorded)


if __name__ == "__main__":
    main()

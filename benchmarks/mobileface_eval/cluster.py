"""The embedding stage on a cluster, with Ray Data and one copy of the network per worker."""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mobileface.errors import InputError

from .datasets.face_sets import FaceImage
from .embedding import FaceSource
from .vector_cache import Vectors

__all__ = ["RayEngine"]


class RayEngine:
    """Embeds batches of images with Ray Data; the results are the same as on one machine.

    Each worker reads the image files and loads the models, so both must be in a file system that
    all machines share. Images without a file of their own are sent with their content.

    Args:
        address: Address of the cluster; None: a temporary one on this machine.
        workers: Number of workers, each with a copy of the network.

    Raises:
        InputError: If Ray is not installed or the cluster cannot be reached.
    """

    def __init__(self, address: str | None = None, workers: int = 2) -> None:
        if importlib.util.find_spec("ray") is None:
            raise InputError(
                "Ray is not installed", hint="install it with: pip install 'mobileface[cluster]'"
            )
        self._address, self._workers = address, workers

    def __call__(
        self, source: FaceSource, batches: Sequence[Sequence[FaceImage]]
    ) -> Iterator[list[Vectors]]:
        """Embeds batches and yields the results in the same order."""
        import ray
        import ray.data

        rows = [_row(number, item) for number, item in enumerate(itertools.chain(*batches))]
        if not rows:
            return
        started = not ray.is_initialized()
        if started:
            try:
                ray.init(address=self._address, log_to_driver=False, include_dashboard=False)
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise InputError(
                    f"cannot connect to a Ray cluster ({error})", where=str(self._address)
                ) from error
        try:
            results = self._run(ray, source, rows)
        finally:
            if started:
                ray.shutdown()
        ordered = (results[number] for number in range(len(rows)))
        for batch in batches:
            yield list(itertools.islice(ordered, len(batch)))

    def _run(self, ray: Any, source: FaceSource, rows: list[dict[str, Any]]) -> dict[int, Vectors]:
        """The results by row number."""
        data = ray.data.from_items(rows, override_num_blocks=max(self._workers * 4, 1))
        done = data.map_batches(
            _Worker,
            fn_constructor_args=(source,),
            batch_size=32,
            compute=ray.data.ActorPoolStrategy(size=self._workers),
            num_cpus=1,
        )
        found: dict[int, Vectors] = {}
        for row in done.iter_rows():
            refusal = str(row["refusal"])
            found[int(row["number"])] = refusal or np.array(row["vectors"], np.float32)
        return found


def _row(number: int, face_image: FaceImage) -> dict[str, Any]:
    """The fields of an image that are sent to a worker."""
    return {
        "number": number,
        "name": face_image.name,
        "path": "" if face_image.path is None else str(face_image.path.resolve()),
        "content": face_image.data or b"",
        "crop": face_image.crop,
    }


class _Worker:
    """Holds the network in a worker."""

    def __init__(self, source: FaceSource) -> None:
        self._source = source

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        columns = zip(batch["name"], batch["path"], batch["content"], batch["crop"], strict=True)
        images = [
            FaceImage(str(name), Path(path) if path else None, bytes(data) or None, bool(crop))
            for name, path, data, crop in columns
        ]
        results = self._source.embed(images)
        none = np.zeros((2, self._source.model.size), np.float32)
        return {
            "number": batch["number"],
            "vectors": np.stack([none if isinstance(r, str) else r for r in results]),
            "refusal": [r if isinstance(r, str) else "" for r in results],
        }

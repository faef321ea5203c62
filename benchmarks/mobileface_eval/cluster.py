"""The embedding stage on a cluster: Ray Data, with one copy of the network for each worker."""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mobileface.errors import InputError

from .datasets.face_sets import Picture
from .embedding import FaceSource
from .vector_cache import Vectors

__all__ = ["RayEngine"]


class RayEngine:
    """Embeds batches of pictures with Ray Data; the results are those of one machine.

    Each worker reads the pictures' files and loads the models, so these lie in a file system that
    all machines share; pictures that are no files of their own travel with their content.

    Args:
        address: Of the cluster; None: one on this machine, for the time of the run.
        workers: Copies of the network.

    Raises:
        InputError: Ray is not installed, or the cluster cannot be reached.
    """

    def __init__(self, address: str | None = None, workers: int = 2) -> None:
        if importlib.util.find_spec("ray") is None:
            raise InputError(
                "Ray is not installed", hint="install it with: pip install 'mobileface[cluster]'"
            )
        self._address, self._workers = address, workers

    def __call__(
        self, source: FaceSource, batches: Sequence[Sequence[Picture]]
    ) -> Iterator[list[Vectors]]:
        """Embeds batches, in their order."""
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
                raise InputError(f"no Ray cluster ({error})", where=str(self._address)) from error
        try:
            results = self._run(ray, source, rows)
        finally:
            if started:
                ray.shutdown()
        ordered = (results[number] for number in range(len(rows)))
        for batch in batches:
            yield list(itertools.islice(ordered, len(batch)))

    def _run(self, ray: Any, source: FaceSource, rows: list[dict[str, Any]]) -> dict[int, Vectors]:
        """The results by the number of their row."""
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


def _row(number: int, picture: Picture) -> dict[str, Any]:
    """What of a picture travels to a worker."""
    return {
        "number": number,
        "name": picture.name,
        "path": "" if picture.path is None else str(picture.path.resolve()),
        "content": picture.data or b"",
        "crop": picture.crop,
    }


class _Worker:
    """Holds the network in a worker."""

    def __init__(self, source: FaceSource) -> None:
        self._source = source

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        columns = zip(batch["name"], batch["path"], batch["content"], batch["crop"], strict=True)
        pictures = [
            Picture(str(name), Path(path) if path else None, bytes(data) or None, bool(crop))
            for name, path, data, crop in columns
        ]
        results = self._source.embed(pictures)
        none = np.zeros((2, self._source.model.size), np.float32)
        return {
            "number": batch["number"],
            "vectors": np.stack([none if isinstance(r, str) else r for r in results]),
            "refusal": [r if isinstance(r, str) else "" for r in results],
        }

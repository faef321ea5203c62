"""Candidates from Milvus: embedded (milvus-lite, a file) or a server shared by several machines.

The gallery remains the source of truth. Milvus holds a copy of its embeddings in a collection named
after the gallery's unique ID and epoch. Missing faces are sent before each search; after a removal
or a migration the collection is rebuilt.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import GalleryError, InputError
from ..types import FloatArray
from .matrix import FaceMatrix

__all__ = ["MilvusEngine"]

_BLOCK = 1000
"""Rows sent per request."""

_MAX_RESULTS = 16_384
"""Milvus's limit of rows per search."""


class MilvusEngine:
    """A search engine that uses Milvus (extra ``[milvus]``).

    Args:
        address: A file whose name ends in .db, for the embedded engine, or the address of a server,
            e.g. "http://localhost:19530".
        token: Credentials for servers that require them: "user:password".
        index: Milvus index type; "FLAT" is exact. See Milvus's documentation for "HNSW" and others.

    Raises:
        InputError: If ``address`` is neither, or if the package pymilvus is not installed.
        GalleryError: If the server cannot be reached.
    """

    name = "milvus"

    def __init__(self, address: str | Path, *, token: str = "", index: str = "FLAT") -> None:
        self.address = str(address)
        local = "://" not in self.address
        if local and not self.address.endswith(".db"):
            raise InputError(
                f"'{self.address}' is neither a file name that ends in .db nor an address like "
                "http://localhost:19530"
            )
        client, self._types = _milvus()
        self._index = index
        with self._translated():
            if local:
                Path(self.address).absolute().parent.mkdir(parents=True, exist_ok=True)
            self._client = client(self.address, token=token)
        if local:
            with contextlib.suppress(OSError):
                Path(self.address).chmod(0o700 if Path(self.address).is_dir() else 0o600)
        self._checked = ("", 0)

    def close(self) -> None:
        """Closes the connection; the embedded engine stops."""
        with self._translated():
            self._client.close()

    def candidates(
        self, matrix: FaceMatrix, probes: FloatArray, count: int
    ) -> list[npt.NDArray[np.int64]]:
        """See `mobileface.gallery.engine.SearchEngine.candidates`."""
        self.bring_up_to_date(matrix)
        if not matrix.rows:
            return [np.empty(0, np.int64)] * len(probes)
        with self._translated():
            found = self._client.search(
                _collection(matrix),
                data=probes.tolist(),
                limit=min(count, _MAX_RESULTS),
                search_params={"metric_type": "IP"},
                consistency_level="Strong",
            )
        return [matrix.find(np.array([hit["id"] for hit in hits], np.int64))[0] for hits in found]

    def bring_up_to_date(self, matrix: FaceMatrix) -> None:
        """Sends missing faces to Milvus, and deletes faces that were removed from the gallery.

        Raises:
            InputError: If the gallery is encrypted.
            GalleryError: If Milvus reports an error.
        """
        if matrix.private:
            raise InputError(
                "an encrypted gallery cannot be searched with Milvus, which would store it in the "
                "clear"
            )
        name = _collection(matrix)
        if self._checked == (matrix.epoch, matrix.last):
            return
        with self._translated():
            prefix = f"mobileface_{matrix.gallery}_"
            for other in self._client.list_collections():
                if other.startswith(prefix) and other != name:
                    self._client.drop_collection(other)
            if not self._client.has_collection(name):
                self._create(name, matrix.size)
            self._send(name, matrix)
        self._checked = (matrix.epoch, matrix.last)

    def _send(self, name: str, matrix: FaceMatrix) -> None:
        """Sends the rows after the stored ones: within an epoch, rows are only appended."""
        rows = self._client.query(name, filter="id >= 0", output_fields=["count(*)"])
        stored = int(rows[0]["count(*)"])
        if stored > matrix.rows or (stored and not self._same_history(name, matrix, stored)):
            self._client.drop_collection(name)  # it was filled from another copy of the gallery
            self._create(name, matrix.size)
            stored = 0
        for start in range(stored, matrix.rows, _BLOCK):
            places = np.arange(start, min(start + _BLOCK, matrix.rows))
            vectors, faces, _ = matrix.take(places)
            data = [
                {"id": int(face), "uid": matrix.mark(int(face)), "vector": vector}
                for face, vector in zip(
                    faces, np.asarray(vectors, np.float32).tolist(), strict=True
                )
            ]
            self._client.upsert(name, data)

    def _same_history(self, name: str, matrix: FaceMatrix, stored: int) -> bool:
        """True if the last stored face is also the face in that row of the gallery."""
        face = int(matrix.take(np.array([stored - 1]))[1][0])
        rows = self._client.get(name, ids=[face], output_fields=["uid"])
        return bool(rows) and rows[0]["uid"] == matrix.mark(face)

    def _create(self, name: str, size: int) -> None:
        schema = self._client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", self._types.INT64, is_primary=True)
        schema.add_field("uid", self._types.VARCHAR, max_length=64)
        schema.add_field("vector", self._types.FLOAT_VECTOR, dim=size)
        params = self._client.prepare_index_params()
        params.add_index(field_name="vector", index_type=self._index, metric_type="IP")
        self._client.create_collection(
            name, schema=schema, index_params=params, consistency_level="Strong"
        )

    @contextlib.contextmanager
    def _translated(self) -> Any:
        try:
            yield
        except (InputError, GalleryError):
            raise
        except Exception as error:  # pymilvus raises its own, gRPC's and built-in exceptions
            text = " ".join(str(error).split())[:200]
            raise GalleryError(f"Milvus failed ({text})", where=self.address) from error


def _collection(matrix: FaceMatrix) -> str:
    return f"mobileface_{matrix.gallery}_{matrix.epoch}"


def _milvus() -> tuple[Any, Any]:
    try:
        from pymilvus import DataType, MilvusClient
    except ImportError as error:
        raise InputError(
            "the package pymilvus is not installed", hint="pip install 'mobileface[milvus]'"
        ) from error
    return MilvusClient, DataType

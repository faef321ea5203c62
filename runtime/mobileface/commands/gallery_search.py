"""``mobileface gallery search``, and identification of the faces in ``mobileface track``."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..analyzer import FaceAnalyzer
from ..errors import InputError
from ..gallery import Gallery, Identification
from ..tasks.embedding import Embedder
from ..tracking.follower import FollowedFace
from ..types import Face
from .faces import face_values
from .gallery_access import engine_of, make_analyzer, open_gallery, require_model
from .inputs import ImageFiles, find_pictures
from .output import print_json, print_text

__all__ = ["TrackNames", "run_search", "track_names"]

_TRACK_FMR = 1e-3
_MAX_TRACKS = 4096


def run_search(options: argparse.Namespace) -> int:
    """Identifies the people in each image."""
    paths = find_pictures(options.images)
    engine = engine_of(options)
    with open_gallery(options) as gallery:
        source = make_analyzer(options, gallery)
        require_model(gallery, source)
        files = ImageFiles(paths)
        for path, image in files:
            faces = _faces(source, image)
            known = [face for face in faces if face.embedding is not None]
            found = iter(
                gallery.search(
                    np.stack([face.embedding for face in known if face.embedding is not None]),
                    top=options.top,
                    threshold=options.threshold,
                    fmr=options.fmr,
                    fpir=options.fpir,
                    templates=options.templates,
                    engine=engine,
                )
                if known
                else ()
            )
            results = [next(found) if face.embedding is not None else None for face in faces]
            if options.json:
                print_json({"file": str(path), "faces": _records(faces, results)})
            else:
                print_text(_text(str(path), results))
    return 2 if files.failed else 0


class TrackNames:
    """Identifies the faces of a video; searches the gallery only when an embedding has changed.

    Args:
        gallery: The gallery.
        threshold: Similarity threshold (cosine).
        fmr: False match rate that determines the threshold instead. Default, if all three are
            None: 0.001, or the lowest rate that the calibration supports.
        fpir: False positive identification rate that determines the threshold instead.

    Raises:
        InputError: If all three are None and the gallery has no calibration.
    """

    def __init__(
        self,
        gallery: Gallery,
        *,
        threshold: float | None = None,
        fmr: float | None = None,
        fpir: float | None = None,
    ) -> None:
        calibration = gallery.stamp.calibration
        if threshold is None and fmr is None and fpir is None:
            if calibration is None:
                raise InputError(
                    f"no similarity threshold: there is no calibration of {gallery.stamp.model}",
                    where=str(gallery.path),
                    hint="pass --name-threshold COSINE",
                )
            curve = calibration.false_match_curve
            fmr = max(_TRACK_FMR, calibration.lowest_false_match_rate, curve.value[-1])
        self.gallery = gallery
        self._threshold, self._fmr, self._fpir = threshold, fmr, fpir
        self._known: dict[int, tuple[bytes, Identification]] = {}

    def require(self, analyzer: FaceAnalyzer) -> None:
        """Checks that an analyzer uses the gallery's model; see `require_model`."""
        require_model(self.gallery, analyzer)

    def __call__(self, faces: Sequence[FollowedFace]) -> dict[int, Identification]:
        """The identifications of a frame's faces, by `track_id`; omits faces without embedding."""
        keys = {
            followed.track_id: followed.face.embedding.tobytes()
            for followed in faces
            if followed.face.embedding is not None and followed.face.embedding.any()
        }
        fresh = [
            track_id
            for track_id, key in keys.items()
            if track_id not in self._known or self._known[track_id][0] != key
        ]
        if fresh:
            vectors = np.stack([np.frombuffer(keys[track_id], np.float32) for track_id in fresh])
            found = self.gallery.search(
                vectors, top=1, threshold=self._threshold, fmr=self._fmr, fpir=self._fpir
            )
            for track_id, result in zip(fresh, found, strict=True):
                self._known[track_id] = (keys[track_id], result)
        while len(self._known) > _MAX_TRACKS:
            self._known.pop(next(iter(self._known)))
        return {track_id: self._known[track_id][1] for track_id in keys if track_id in self._known}


@contextlib.contextmanager
def track_names(options: argparse.Namespace) -> Iterator[TrackNames]:
    """The `TrackNames` of the gallery that the options of ``mobileface track`` select."""
    with open_gallery(options) as gallery:
        yield TrackNames(
            gallery, threshold=options.name_threshold, fmr=options.fmr, fpir=options.fpir
        )


def _faces(source: FaceAnalyzer | Embedder, image: Any) -> list[Face]:
    """The faces of an image; for an embedder, the image as one face."""
    if isinstance(source, FaceAnalyzer):
        return source(image)
    height, width = image.shape[:2]
    box = np.array([0, 0, width, height], np.float32)
    vector = source.embed(image)[0]
    return [Face(box, 1.0, embedding=vector, embedding_model=source.identity)]


def _records(
    faces: Sequence[Face], results: Sequence[Identification | None]
) -> list[dict[str, Any]]:
    return [
        {
            **face_values(face, False),
            "identity": None if found is None else found.to_dict(),
        }
        for face, found in zip(faces, results, strict=True)
    ]


def _text(file: str, results: Sequence[Identification | None]) -> str:
    """The human-readable lines for one image."""
    lines = [f"{file}: {len(results)} face{'' if len(results) == 1 else 's'}"]
    for found in results:
        if found is None or found.best is None:
            lines.append("  no embedding" if found is None else "  the gallery is empty")
            continue
        best = found.best
        head = found.name or f"unknown (nearest: {best.name})"
        parts = [f"{head}  similarity {best.similarity:.3f}"]
        if best.false_match_rate is not None:
            parts.append(f"false match rate {best.false_match_rate}")
            parts.append(f"for this gallery {best.false_identification_rate}")
        if found.runner_up is not None:
            parts.append(f"then {found.runner_up.name} {found.runner_up.similarity:.3f}")
        lines.append("  " + ", ".join(parts))
        lines += [f"    {match.similarity:.3f}  {match.name}" for match in found.matches[1:]]
    return "\n".join(lines)

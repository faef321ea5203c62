"""``mobileface gallery search``, and identification of the faces in ``mobileface track``."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..analyzer import FaceAnalyzer
from ..gallery import Gallery, Identification, Match
from ..gallery.track_names import TrackNames
from ..matching.decisions import DecisionRule, no_rule
from ..tasks.embedding import Embedder
from ..tasks.records import face_values
from ..types import Face
from .gallery_access import engine_of, make_analyzer, open_gallery
from .inputs import ImageFiles, find_pictures
from .options import thresholds_given
from .output import print_json, print_text

__all__ = ["run_search", "track_names"]


def run_search(options: argparse.Namespace) -> int:
    """Identifies the people in each image."""
    paths = find_pictures(options.images)
    engine = engine_of(options)
    with open_gallery(options) as gallery:
        source = make_analyzer(options, gallery)
        embedder = source.embedder if isinstance(source, FaceAnalyzer) else source
        gallery.stamp.require_model(embedder, str(gallery.path))
        wanted = {**thresholds_given(options), "templates": options.templates}
        _say_rule(gallery, gallery.decision_rule(**wanted), options.json)
        files = ImageFiles(paths)
        for path, image in files:
            faces = _faces(source, image)
            known = [face for face in faces if face.embedding is not None]
            found = iter(
                gallery.search(
                    np.stack([face.embedding for face in known if face.embedding is not None]),
                    top=options.top,
                    engine=engine,
                    **wanted,
                )
                if known
                else ()
            )
            results = [next(found) if face.embedding is not None else None for face in faces]
            if options.json:
                print_json({"file": str(path), "faces": _records(faces, results)})
            else:
                print_text(*_text(str(path), results))
    return 2 if files.failed else 0


@contextlib.contextmanager
def track_names(options: argparse.Namespace) -> Iterator[TrackNames]:
    """The `TrackNames` of the gallery that the options of ``mobileface track`` select."""
    with open_gallery(options) as gallery:
        names = TrackNames(gallery, **thresholds_given(options))
        print(f"mobileface: {_rule_text(gallery, names.rule)}", file=sys.stderr)
        yield names


def _say_rule(gallery: Gallery, rule: DecisionRule | None, as_json: bool) -> None:
    """Says once from which similarity on people are known; JSON has it in every result."""
    if rule is None:
        print(f"mobileface: {_rule_text(gallery, rule)}", file=sys.stderr)
    elif not as_json:
        print_text(_rule_text(gallery, rule))


def _rule_text(gallery: Gallery, rule: DecisionRule | None) -> str:
    if rule is not None:
        return str(rule)
    return f"{no_rule(gallery.stamp.model)}, then 'mobileface gallery calibrate'"


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


def _answer(found: Identification, best: Match) -> str:
    """The name, or "unknown" with the nearest person and why it is not that one."""
    similar = f"similarity {best.similarity:.3f}"
    if found.name is not None:
        return f"{found.name}  {similar}"
    if found.threshold is None:
        return f"unknown (nearest: {best.name}, {similar}, no threshold)"
    least = f"{found.threshold:.3f}"
    if similar.endswith(least):  # below it by less than the digits show
        similar, least = f"similarity {best.similarity:.7f}", f"{found.threshold:.7f}"
    return f"unknown (nearest: {best.name}, {similar}, below {least})"


def _text(file: str, results: Sequence[Identification | None]) -> list[str]:
    """The human-readable lines for one image."""
    lines = [f"{file}: {len(results)} face{'' if len(results) == 1 else 's'}"]
    for found in results:
        if found is None or found.best is None:
            lines.append("  no embedding" if found is None else "  the gallery is empty")
            continue
        best = found.best
        parts = [_answer(found, best)]
        if best.false_match_rate is not None:
            parts.append(f"false match rate {best.false_match_rate}")
            parts.append(f"for this gallery {best.false_identification_rate}")
        if found.runner_up is not None:
            parts.append(f"then {found.runner_up.name} {found.runner_up.similarity:.3f}")
        lines.append("  " + ", ".join(parts))
        lines += [f"    {match.similarity:.3f}  {match.name}" for match in found.matches[1:]]
    return lines

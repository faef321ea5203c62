"""Strangers get no name from clients of other services, whatever threshold these use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from mobileface.commands.main import main
from tests.gallery.test_strangers import (
    ENROLLED,
    LEAST_RIGHT,
    OTHERS,
    STRANGERS,
    Place,
    centre,
    frames,
    labelled,
    spread,
    strangers,
    write,
)
from tests.runtime.models.test_starter import no_users_models  # noqa: F401  (autouse)

from ..running import Running, serving

pytestmark = pytest.mark.needs_source

CUSTOMARY = (0.5, 0.6, 0.67, 0.7, 0.8, 0.9, 0.97, 0.99)
"""Thresholds of CompreFace's guide, of double-take, DeepStack and of users."""


@pytest.fixture
def enrolled(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Running, list[tuple[int, Place]]]]:
    """A server that knows 13 faces of 6 people, and the other labelled faces of these."""
    gallery = tmp_path / "people.gallery"
    monkeypatch.setenv("MOBILEFACE_GALLERY", str(gallery))
    assert main(["gallery", "create", "--embedder", "embedding_dlib"]) == 0
    rest: list[tuple[int, Place]] = []
    for person, count in ENROLLED.items():
        places = labelled()[person]
        chosen = spread(count, len(places))
        rest += [(person, place) for n, place in enumerate(places) if n not in chosen]
        for video, frame, box in (places[number] for number in chosen):
            photo = write(tmp_path / f"{video}_{frame}.png", frames(source)[video, frame])
            point = "{:g},{:g}".format(*centre(box))
            words = ["gallery", "add", f"person {person}", str(photo), "--face", point]
            assert main([*words, "--min-sharpness", "0"]) == 0
    with serving(gallery=gallery) as server:
        yield server, rest


def nearest(found: list[dict[str, Any]], box: Any) -> dict[str, Any] | None:
    """The face whose box has the centre of another in it; the only one if there is no other."""
    if box is None:
        return found[0] if len(found) == 1 else None
    x, y = centre(box)
    for face in found:
        at = face.get("box", face)
        if at["x_min"] <= x <= at["x_max"] and at["y_min"] <= y <= at["y_max"]:
            return face
    return None


def asked(client: httpx.Client, photo: Path, box: Any) -> tuple[Any, Any]:
    """What CompreFace's route says of a face, and DeepStack's without a threshold."""
    data = photo.read_bytes()
    answer = client.post("/api/v1/recognition/recognize", files={"file": data})
    face = nearest(answer.json().get("result", []), box)
    form = {"min_confidence": "0"}
    said = client.post("/v1/vision/face/recognize", files={"image": data}, data=form)
    other = nearest(said.json()["predictions"], box)
    assert (face is None) == (other is None)
    return face, other


@pytest.mark.slow
def test_strangers(
    enrolled: tuple[Running, list[tuple[int, Place]]], source: Path, tmp_path: Path
) -> None:
    server, rest = enrolled
    similar, names, right = [], set(), []
    with server.client() as client:
        for photo, box in strangers(source, tmp_path):
            face, other = asked(client, photo, box)
            if face is None:
                continue
            similar.append(face["subjects"][0]["similarity"])
            names.add((other["userid"], other["confidence"]))
            if len(similar) == STRANGERS:
                break
        for person, (video, frame, box) in (rest[n] for n in spread(OTHERS, len(rest))):
            photo = write(tmp_path / f"{video}_{frame}.png", frames(source)[video, frame])
            face, other = asked(client, photo, box)
            if face is None:
                continue
            best = face["subjects"][0]
            right.append(best["similarity"] if best["subject"] == f"person {person}" else 0.0)
            named = other["userid"] == f"person {person}"
            assert named == (right[-1] >= 0.5)
            assert named or other["userid"] == "unknown"
    print(f"{len(similar)} strangers, nearest {max(similar):.4f}")
    for threshold in CUSTOMARY:
        wrong = sum(value >= threshold for value in similar)
        found = sum(value >= threshold for value in right)
        print(f"{threshold}: {wrong} strangers named, {found} of {OTHERS} others right")
        assert wrong == 0
    assert len(similar) == STRANGERS
    assert names == {("unknown", 0)}
    assert sum(value >= 0.5 for value in right) >= LEAST_RIGHT

"""Strangers stay unknown by default: people of the example videos, and others of LFW."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mobileface import read_image
from mobileface.commands.main import main
from mobileface.vision.image import Image
from mobileface_convert.build.pipeline import convert
from mobileface_convert.recipes.recipe import load_recipe
from mobileface_convert.sources.files import DirectorySource
from tests.runtime.models.test_starter import no_users_models  # noqa: F401  (autouse)

pytestmark = pytest.mark.needs_source

LABELS = Path(__file__).parents[1] / "data" / "video_faces.json"
ENROLLED = {1: 3, 2: 2, 3: 2, 4: 2, 5: 2, 7: 2}
"""Number of faces enrolled of each person of the videos; person 6, seen once, is a stranger."""

OTHERS = 23
STRANGERS = 27
LEAST_RIGHT = 21

Box = tuple[int, int, int, int]
Place = tuple[int, int, Box]
"""Video, frame and box of a face."""

Output = pytest.CaptureFixture[str]


def labelled() -> dict[int, list[Place]]:
    """The labelled faces of each person, in order of time."""
    found: dict[int, list[Place]] = {}
    for video, frame, *box, person in json.loads(LABELS.read_text())["faces"]:
        found.setdefault(person, []).append((video, frame, tuple(box)))
    return {person: sorted(places) for person, places in sorted(found.items())}


def spread(count: int, total: int) -> list[int]:
    """``count`` places of ``total``, evenly spaced, the first and the last among them."""
    return [round(float(place)) for place in np.linspace(0, total - 1, count)]


@lru_cache(maxsize=1)
def frames(source: Path) -> dict[tuple[int, int], Image]:
    """The labelled frames of both videos."""
    wanted = {place[:2] for places in labelled().values() for place in places}
    found = {}
    for video in (1, 2):
        capture = cv2.VideoCapture(str(source / "example" / f"friends{video}.mp4"))
        number = 0
        while True:
            done, frame = capture.read()
            if not done:
                break
            if (video, number) in wanted:
                found[video, number] = np.asarray(frame, np.uint8)
            number += 1
    return found


def write(path: Path, image: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", image)[1].tobytes())
    return path


def enlarged(crop: Image) -> Any:
    """A crop as a photo: 2.5 times as large, with a mirrored border, so that a face is found."""
    large = cv2.resize(crop, None, fx=2.5, fy=2.5, interpolation=cv2.INTER_CUBIC)
    return cv2.copyMakeBorder(large, 60, 60, 60, 60, cv2.BORDER_REFLECT_101)


def run(output: Output, *arguments: object) -> list[dict[str, Any]]:
    """Runs a command that prints JSON lines; gives them."""
    code = main([str(argument) for argument in (*arguments, "--json")])
    out, err = output.readouterr()
    assert code == 0, err
    return [json.loads(line) for line in out.splitlines()]


def centre(box: Any) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def at(record: dict[str, Any], box: Box) -> dict[str, Any] | None:
    """The identity of the face whose box has the centre of another in it."""
    x, y = centre(box)
    for face in record["faces"]:
        x1, y1, x2, y2 = face["bbox"]
        if x1 <= x <= x2 and y1 <= y <= y2:
            identity: dict[str, Any] | None = face["identity"]
            return identity
    return None


def strangers(source: Path, folder: Path) -> Iterator[tuple[Path, Box | None]]:
    """Photos of people who are not enrolled, with a box where there are others as well.

    Not those of data/test: they are the faces of example/friends.jpg, people of the videos.
    """
    ((video, frame, box),) = labelled()[6]
    yield write(folder / "person6.png", frames(source)[video, frame]), box
    yield source / "example" / "makeup_result" / "girl_makeup.png", None
    for person in sorted((source / "data" / "LFW-Aligned-100Pair").iterdir()):
        crop = read_image(min(person.glob("*.jpg")))
        yield write(folder / "lfw" / f"{person.name}.png", enlarged(crop)), None


@pytest.mark.slow
def test_the_strangers_trial(
    source: Path, tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Enrol 13 faces of 6 people, then search 27 strangers and 23 other faces, by default."""
    monkeypatch.setenv("MOBILEFACE_GALLERY", str(tmp_path / "people.gallery"))
    run(capsys, "gallery", "create", "--embedder", "embedding_dlib")
    blurred = ("--min-sharpness", 0)  # some of the faces of a video are
    faces = others = 0
    rest: list[tuple[int, Place]] = []
    for person, count in ENROLLED.items():
        places = labelled()[person]
        chosen = spread(count, len(places))
        rest += [(person, place) for n, place in enumerate(places) if n not in chosen]
        for number in chosen:
            video, frame, box = places[number]
            photo = write(tmp_path / f"{video}_{frame}.png", frames(source)[video, frame])
            point = "{:g},{:g}".format(*centre(box))
            (done,) = run(
                capsys, "gallery", "add", f"person {person}", photo, "--face", point, *blurred
            )
            faces += len(done["faces"])
    assert faces == 13
    for person, (video, frame, box) in (rest[n] for n in spread(OTHERS, len(rest))):
        photo = write(tmp_path / f"{video}_{frame}.png", frames(source)[video, frame])
        (found,) = run(capsys, "gallery", "search", photo)
        identity = at(found, box)
        others += identity is not None and identity["name"] == f"person {person}"
        assert identity is None or identity["name"] in (None, f"person {person}")
    searched = []
    for photo, near in strangers(source, tmp_path):
        (found,) = run(capsys, "gallery", "search", photo)
        if near is None and len(found["faces"]) == 1:
            searched.append(found["faces"][0]["identity"])
        elif near is not None:
            searched.append(at(found, near))
        if len(searched) == STRANGERS:
            break
    named = [identity["name"] for identity in searched if identity["name"] is not None]
    rule = searched[0]["rule"]
    nearest = max(identity["matches"][0]["similarity"] for identity in searched)
    print(
        f"{len(named)} of {len(searched)} strangers named, {others} of {OTHERS} others right; "
        f"threshold {rule['threshold']:.4f}, nearest stranger {nearest:.4f}, "
        f"expected {rule['false_identification_rate']['value']:.2g} per search"
    )
    assert (rule["origin"], rule["comparisons"]) == ("default", 13)
    assert len(searched) == STRANGERS
    assert named == []
    assert others >= LEAST_RIGHT


def test_a_stranger_in_a_gallery_of_nine(
    source: Path, portrait: Path, tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By V2; the nearest is named as what it is, with the rule and what it promises."""
    models = tmp_path / "models"
    for name in ("identification_v2", "landmark_eme", "landmark_ene"):
        convert(load_recipe(name), DirectorySource(source), models, verify=False)
    monkeypatch.setenv("MOBILEFACE_GALLERY", str(tmp_path / "people.gallery"))
    own = ("--models", models, "--embedder", "identification_v2")
    run(capsys, "gallery", "create", *own)
    people = sorted((source / "data" / "LFW-Aligned-100Pair").iterdir())[:9]
    for person in people:
        (done,) = run(capsys, "gallery", "add", person.name, person, "--crops", *own)
        assert len(done["faces"]) == 2
    (found,) = run(capsys, "gallery", "search", portrait, *own)
    (face,) = found["faces"]
    identity = face["identity"]
    best = identity["matches"][0]
    print(f"{best['name']} {best['similarity']:.3f}, threshold {identity['threshold']:.3f}")
    assert identity["name"] is None
    assert best["name"] in {person.name for person in people}
    assert identity["rule"]["origin"] == "default"
    assert identity["rule"]["requested"] == 0.001
    assert abs(identity["rule"]["false_match_rate"]["value"] - 0.001) < 1e-6
    capsys.readouterr()
    assert main(["gallery", "search", str(portrait), *map(str, own)]) == 0
    rule, _, line = capsys.readouterr().out.splitlines()[:3]
    print(rule, line, sep="\n")
    assert rule.startswith("threshold 0.5036 (default): expected false match rate 0.001 (")
    assert "with 18 comparisons per search (LFW-Aligned-100Pair, 100 people)" in rule
    expected = (
        f"  unknown (nearest: {best['name']}, similarity {best['similarity']:.3f}, below 0.504)"
    )
    assert line.startswith(expected)

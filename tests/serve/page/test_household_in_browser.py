"""The whole way of a household in one visit: enrol, recognise, watch a camera, delete for good."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import pytest

from mobileface.live.live_options import CameraOptions, EventOptions
from mobileface.serve.settings import ServeSettings
from mobileface.vision.image import Image
from tests.live.friends import frames, labels

from ..running import serving
from .conftest import Visit
from .test_people_in_browser import contents, enrol, search

pytestmark = [pytest.mark.needs_chromium, pytest.mark.needs_source]

Open = Callable[..., Visit]

NAMES = {"1": "Rachel Green", "4": "Ross Geller"}
"""Names for two of the people who are labelled in the video."""


def portrait_of(image: Image, label: dict[str, list[float]]) -> bytes:
    """A photo of one labelled person: the box, grown by half of its longer side."""
    x1, y1, x2, y2 = label["bbox"]
    x, y, side = (x1 + x2) / 2, (y1 + y2) / 2, max(x2 - x1, y2 - y1)
    part = image[max(0, int(y - side)) : int(y + side), max(0, int(x - side)) : int(x + side)]
    return cv2.imencode(".jpg", part)[1].tobytes()


def test_enrol_recognise_watch_and_delete(visit: Open, tmp_path: Path, source: Path) -> None:
    film = source / "example" / "friends1.mp4"
    people, pictures = labels(film.name), frames(film)
    known = {face["person"]: face for face in people[30] if face["person"] in NAMES}
    gallery, events = tmp_path / "gallery" / "people.gallery", tmp_path / "events"
    gallery.parent.mkdir()
    settings = ServeSettings(
        gallery=gallery,
        cameras=(CameraOptions("sofa", str(film)),),
        events=EventOptions(folder=events),
    )
    with serving(settings) as server:
        tab = visit(server)
        for number, name in NAMES.items():
            enrol(tab, name, (f"{name}.jpg", portrait_of(pictures[30], known[number])))

        whole = cv2.imencode(".jpg", pictures[10])[1].tobytes()
        found = search(tab, whole)
        print(f"of {len(people[10])} labelled faces, search names {found}")
        assert sorted(name for name in found if name in NAMES.values()) == sorted(NAMES.values())
        assert set(found) - set(NAMES.values()) == {"Unknown person"}

        tab.go("live")
        camera = tab.page.get_by_role("region", name="sofa")
        camera.locator("img.ready").wait_for()
        for name in NAMES.values():
            tab.page.locator(".events strong", has_text=name).first.wait_for()
            camera.locator(".camera-people", has_text=name).wait_for()
        assert all(name.encode() in written(gallery, events) for name in NAMES.values())

        for name in NAMES.values():
            tab.go("people")
            tab.page.locator(".person-card", has_text=name).click()
            tab.page.get_by_role("button", name="Delete", exact=True).click()
            tab.page.get_by_role("button", name="Delete for good").click()
            tab.page.get_by_text(f"{name} is deleted for good.").wait_for()
        tab.page.get_by_text("Nobody is enrolled yet").wait_for()
        tab.go("live")
        tab.page.locator(".events > li").first.wait_for()
        for name in NAMES.values():
            assert tab.page.locator(".events strong", has_text=name).count() == 0
            assert name.encode() not in written(gallery, events), name
        assert set(search(tab, whole)) == {"Unknown person"}


def written(gallery: Path, events: Path) -> bytes:
    """All bytes of the gallery, of the log of events, and of their pictures."""
    files = (path for path in sorted(events.rglob("*")) if path.is_file())
    return contents(gallery) + b"".join(path.read_bytes() for path in files)

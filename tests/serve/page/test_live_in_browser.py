"""The live view in a browser, on the documents of the API's description."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from mobileface.live.live_options import CameraOptions
from mobileface.serve.settings import ServeSettings
from mobileface.vision.video import VideoWriter

from ..running import Running, serving
from .conftest import Visit
from .pretended_cameras import EVENTS, SEEN, pretend

pytestmark = [pytest.mark.needs_chromium, pytest.mark.slow]

Open = Callable[..., Visit]
NEW = {**EVENTS[0], **SEEN, "id": "20261127T081600.1-front-11", "name": "Ann"}


def test_cameras_and_events(visit: Open, own: Running, portrait: bytes) -> None:
    tab = visit(own)
    pretend(tab.page, portrait, [])
    tab.go("live")
    front = tab.page.get_by_role("region", name="front")
    front.locator("img.ready").wait_for()
    assert "stream?annotated=true&fps=10" in front.locator("img").get_attribute("src")
    words = front.inner_text().split("\n")
    assert [word for word in words if word] == [
        "front",
        "Live",
        "Eileen Collins",
        "1280 × 720, 9.8 frames per second",
    ]
    assert "cannot be opened" in tab.page.get_by_role("region", name="yard").inner_text()
    rows = tab.page.locator(".events > li")
    rows.nth(2).wait_for()
    assert [rows.nth(i).locator("strong").inner_text() for i in range(3)] == [
        "Eileen Collins",
        "Unknown person",
        "Unknown person",
    ]
    assert "left after 35 s" in rows.nth(1).inner_text()
    tab.page.get_by_label("Kind").select_option("Known people")
    tab.has(".events > li", 1)


def test_an_unknown_face_gets_a_name(visit: Open, empty: Running, portrait: bytes) -> None:
    with empty.client() as client:
        client.post("/api/v1/people", data={"name": "Ann"}, files={"files": ("a.jpg", portrait)})
    tab = visit(empty)
    written = pretend(tab.page, portrait, [])
    tab.go("live")
    tab.page.get_by_role("button", name="Who is this?").click()
    dialog = tab.page.get_by_role("dialog")
    dialog.get_by_role("button", name="Ann").click()
    dialog.get_by_role("button", name="Enrol").click()
    tab.page.locator(".events > li strong", has_text="Ann").wait_for()
    assert written == [("POST", f"events/{EVENTS[2]['id']}/enrol", {"name": "Ann"})]
    assert tab.page.get_by_role("button", name="Who is this?").count() == 0


def test_a_new_event_appears_and_is_said(visit: Open, own: Running, portrait: bytes) -> None:
    tab = visit(own)
    pretend(tab.page, portrait, [NEW])
    tab.go("live")
    first = tab.page.locator(".events > li strong").first
    tab.has(".events > li", 4)
    assert first.inner_text() == "Ann"
    assert tab.page.locator(".event-panel > [role=status]").inner_text() == "Ann seen at front"


def test_an_event_is_deleted(visit: Open, own: Running, portrait: bytes) -> None:
    tab = visit(own)
    written = pretend(tab.page, portrait, [])
    tab.go("live")
    tab.page.get_by_role("button", name="Delete this event").first.click()
    tab.has(".events > li", 2)
    assert written == [("DELETE", f"events/{EVENTS[0]['id']}", None)]


def test_streams_end_with_the_view(visit: Open, own: Running, portrait: bytes) -> None:
    tab = visit(own)
    pretend(tab.page, portrait, [])
    tab.go("live")
    image = tab.page.get_by_role("region", name="front").locator("img").element_handle()
    tab.go("people")
    assert image.get_attribute("src") is None


def test_a_real_camera(visit: Open, tmp_path: Path, portrait: bytes) -> None:
    """A film of the portrait: the stream is shown, the unknown person gets a name."""
    film, gallery = tmp_path / "film.avi", tmp_path / "people.gallery"
    image = cv2.imdecode(np.frombuffer(portrait, np.uint8), cv2.IMREAD_COLOR)
    with VideoWriter(film, 25, 360, 360) as video:
        for shift in range(60):
            video.write(np.roll(image, shift // 4, axis=1))
    settings = ServeSettings(gallery=gallery, cameras=(CameraOptions("front", str(film)),))
    with serving(settings) as server:
        tab = visit(server)
        tab.go("live")
        tab.page.locator("img.ready").first.wait_for()
        tab.page.get_by_role("button", name="Who is this?").first.click()
        tab.page.get_by_role("textbox", name="Name").fill("Eileen Collins")
        tab.page.keyboard.press("Enter")
        tab.page.locator(".events strong", has_text="Eileen Collins").first.wait_for()
        with server.client() as client:
            (person,) = client.get("/api/v1/people").json()["people"]
        assert (person["name"], person["faces"]) == ("Eileen Collins", 1)
        tab.go("people")
        tab.page.locator(".person-card").wait_for()

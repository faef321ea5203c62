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
from .conftest import PHONE, Visit
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


def film_of(portrait: bytes, path: Path) -> CameraOptions:
    """A camera before which the portrait moves."""
    image = cv2.imdecode(np.frombuffer(portrait, np.uint8), cv2.IMREAD_COLOR)
    with VideoWriter(path, 25, 360, 360) as video:
        for shift in range(60):
            video.write(np.roll(image, shift // 4, axis=1))
    return CameraOptions("front", str(path))


def test_a_real_camera(visit: Open, tmp_path: Path, portrait: bytes) -> None:
    """A film of the portrait: the stream is shown, the unknown person gets a name."""
    gallery, camera = tmp_path / "people.gallery", film_of(portrait, tmp_path / "film.avi")
    settings = ServeSettings(gallery=gallery, cameras=(camera,))
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


def test_picture_and_events_come_back_after_the_service_was_away(
    visit: Open, tmp_path: Path, portrait: bytes
) -> None:
    camera = film_of(portrait, tmp_path / "film.avi")
    settings = ServeSettings(gallery=tmp_path / "people.gallery", cameras=(camera,))
    with serving(settings) as server:
        tab = visit(server)
        tab.go("live")
        tab.page.locator("img.ready").wait_for()
        tab.page.get_by_text("1 unknown person").wait_for()
        tab.has(".events > li", 1)
        assert tab.page.locator(".camera-people").inner_text() == "1 unknown person"
        port = server.port
        tab.away = True
    tab.page.locator(".camera .badge", has_text="No connection").wait_for()
    tab.page.get_by_text("The connection is interrupted").wait_for()
    assert tab.page.locator("img.ready").count() == 0
    with serving(settings, at=port):
        tab.page.locator(".camera .badge.running").wait_for()
        tab.page.locator("img.ready").wait_for()
        tab.page.get_by_text("The connection is interrupted").wait_for(state="detached")
        tab.has(".events > li", 2)
        tab.go("people")


def test_people_at_a_camera_are_counted(visit: Open, own: Running, portrait: bytes) -> None:
    tab = visit(own)
    pretend(tab.page, portrait, [], names=[None, "Ann", None, "Ann", None])
    tab.go("live")
    people = tab.page.get_by_role("region", name="front").locator(".camera-people")
    tab.page.get_by_text("3 unknown people").wait_for()
    assert people.inner_text() == "Ann, 3 unknown people"


def test_a_refused_event_says_what_to_do_and_its_dialog_goes_with_the_view(
    visit: Open, empty: Running, portrait: bytes
) -> None:
    tab = visit(empty, viewport=PHONE)
    tab.refusals = {400}
    pretend(tab.page, portrait, [])
    error = {"code": "bad_input", "what": "the face is blurred", "where": "e-3.jpg", "hint": "h"}
    tab.page.route("**/enrol", lambda route: route.fulfill(status=400, json={"error": error}))
    tab.go("people")
    tab.go("live")
    tab.page.get_by_role("button", name="Who is this?").click()
    dialog = tab.page.get_by_role("dialog")
    dialog.get_by_role("textbox", name="Name").fill("Ann")
    tab.page.keyboard.press("Enter")
    dialog.get_by_text("Try another event of this person").wait_for()
    assert "the face is blurred" in dialog.inner_text()
    assert "e-3.jpg" not in dialog.inner_text()
    tab.page.go_back()
    tab.page.get_by_role("heading", name="People").wait_for()
    tab.has("dialog", 0)

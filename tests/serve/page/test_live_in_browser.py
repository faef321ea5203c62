"""The live view in a browser, on the documents of the API's description."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ..running import Running
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

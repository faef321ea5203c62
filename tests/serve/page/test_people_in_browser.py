"""People in a browser: enrolled by upload, recognised, renamed, merged, deleted for good."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest

from ...conftest import SOURCE
from ..running import Running, serving
from .conftest import Visit

pytestmark = pytest.mark.needs_chromium

Open = Callable[..., Visit]


def enrol(tab: Visit, name: str, *pictures: tuple[str, bytes]) -> None:
    tab.go("people")
    tab.page.get_by_role("button", name="Add a person").click()
    tab.page.get_by_role("textbox", name="Name").fill(name)
    tab.upload(".add-panel", *pictures)
    tab.page.get_by_role("button", name="Enrol", exact=True).click()
    tab.page.get_by_role("link", name=f"Show {name}").wait_for()


def search(tab: Visit, picture: bytes) -> list[str]:
    """The names that Search shows for the faces of a photo."""
    tab.go("search")
    tab.upload("main", ("probe.jpg", picture))
    tab.page.locator(".face-card").first.wait_for()
    names: list[str] = tab.page.locator(".face-card h2").all_inner_texts()
    return names


@pytest.mark.slow
def test_enrol_recognise_rename_and_delete_for_good(
    visit: Open, tmp_path: Path, portrait: bytes, variants: list[bytes]
) -> None:
    path = tmp_path / "people.gallery"
    with serving(gallery=path) as server, server.client() as client:
        tab = visit(server)
        enrol(tab, "Eileen Collins", ("portrait.jpg", portrait), ("first.jpg", variants[0]))
        assert search(tab, variants[1]) == ["Eileen Collins"]

        tab.go("people")
        tab.page.get_by_role("link", name=re.compile("Eileen Collins")).click()
        tab.page.locator(".face-tile").nth(1).wait_for()
        assert tab.page.title() == "Eileen Collins – mobileface"
        tab.page.get_by_role("button", name="Rename").click()
        tab.page.get_by_role("textbox", name="Name").fill("Commander Collins")
        tab.page.get_by_role("button", name="Save").click()
        tab.page.get_by_role("heading", name="Commander Collins").wait_for()
        (person,) = client.get("/api/v1/people").json()["people"]
        assert (person["name"], person["faces"]) == ("Commander Collins", 2)
        assert b"Commander Collins" in contents(path)

        tab.page.get_by_role("button", name=re.compile("Remove face")).first.click()
        tab.page.get_by_role("dialog").get_by_role("button", name="Remove").click()
        tab.page.get_by_text("1 face,").wait_for()
        tab.page.get_by_role("button", name="Delete", exact=True).click()
        dialog = tab.page.get_by_role("dialog")
        assert "the name Commander Collins" in dialog.inner_text()
        dialog.get_by_role("button", name="Delete for good").click()
        tab.page.get_by_text("Nobody is enrolled yet").wait_for()
        assert client.get("/api/v1/people").json() == {"people": []}
    for name in (b"Collins", b"portrait.jpg", b"first.jpg"):
        assert name not in contents(path), name


def contents(path: Path) -> bytes:
    """All bytes of a gallery and the files beside it."""
    return b"".join(part.read_bytes() for part in sorted(path.parent.glob(f"{path.name}*")))


def test_a_refused_photo_says_why_and_a_face_of_several_can_be_chosen(
    visit: Open, empty: Running, portrait: bytes, variants: list[bytes]
) -> None:
    tab = visit(empty)
    tab.refusals = {400}
    both = cv2.imencode(".jpg", cv2.hconcat([decoded(variants[0]), decoded(variants[5])]))[1]
    enrol(tab, "Ann", ("ann.jpg", portrait), ("no.jpg", b"no picture"), ("two.jpg", both.tobytes()))
    rows = tab.page.locator(".enrol-row")
    assert "Enrolled" in rows.nth(0).inner_text()
    assert "not an image" in rows.nth(1).inner_text()
    assert "2 faces found" in rows.nth(2).inner_text()
    rows.nth(2).get_by_role("button", name="Face 1").click()
    rows.nth(2).get_by_text("Enrolled", exact=True).wait_for()
    with empty.client() as client:
        (person,) = client.get("/api/v1/people").json()["people"]
    assert person["faces"] == 2


def test_merge_and_a_warning_of_lookalikes(
    visit: Open, empty: Running, portrait: bytes, variants: list[bytes]
) -> None:
    tab = visit(empty)
    enrol(tab, "Ann", ("ann.jpg", portrait))
    enrol(tab, "Bea", ("bea.jpg", variants[0]))
    assert "Looks like Ann" in tab.page.locator(".enrol-row").inner_text()
    tab.page.get_by_role("link", name="Show Bea").click()
    tab.page.get_by_role("button", name="Merge").click()
    dialog = tab.page.get_by_role("dialog")
    dialog.get_by_label("Merge into").select_option("Ann")
    dialog.get_by_role("button", name="Merge").click()
    tab.page.get_by_role("heading", name="Ann").wait_for()
    tab.page.get_by_text("2 faces,").wait_for()
    with empty.client() as client:
        people = client.get("/api/v1/people").json()["people"]
    assert [(one["name"], one["faces"]) for one in people] == [("Ann", 2)]


def test_an_unknown_face_of_a_search_is_enrolled_by_a_name(
    visit: Open, empty: Running, portrait: bytes, variants: list[bytes]
) -> None:
    tab = visit(empty)
    assert search(tab, portrait) == ["Unknown person"]
    tab.page.get_by_role("button", name="Enrol this face").click()
    tab.page.get_by_role("textbox", name="Name").fill("Ann")
    tab.page.keyboard.press("Enter")
    tab.page.locator(".face-card h2", has_text="Ann").wait_for()
    assert search(tab, variants[0]) == ["Ann"]


def test_a_name_that_is_taken_is_an_error_in_the_dialog(
    visit: Open, empty: Running, portrait: bytes, variants: list[bytes]
) -> None:
    tab = visit(empty)
    tab.refusals = {409}
    enrol(tab, "Ann", ("ann.jpg", portrait))
    enrol(tab, "Bea", ("bea.jpg", variants[0]))
    tab.page.get_by_role("link", name="Show Bea").click()
    tab.page.get_by_role("button", name="Rename").click()
    tab.page.get_by_role("textbox", name="Name").fill("Ann")
    tab.page.get_by_role("button", name="Save").click()
    alert = tab.page.get_by_role("dialog").get_by_role("alert")
    alert.wait_for()
    assert "Ann" in alert.inner_text()


@pytest.mark.needs_source
def test_two_people_are_told_apart(visit: Open, empty: Running) -> None:
    """Pairs of LFW; the third and fourth photo are of the people of the first two."""
    tab = visit(empty)
    names = ("Ai_Sugiyama", "Calista_Flockhart")
    photos = {name: pair(name) for name in names}
    for name in names:
        enrol(tab, name, (f"{name}.png", photos[name][0]))
    assert [search(tab, photos[name][1]) for name in names] == [[name] for name in names]


def pair(name: str) -> list[bytes]:
    """Both photos of a person, enlarged so that faces are found in them."""
    folder = SOURCE / "data" / "LFW-Aligned-100Pair" / name
    images = [cv2.imread(str(path)) for path in sorted(folder.iterdir())[:2]]
    large = [cv2.resize(image, None, fx=2.5, fy=2.5) for image in images]
    return [cv2.imencode(".png", image)[1].tobytes() for image in large]


def decoded(data: bytes) -> cv2.typing.MatLike:
    import numpy as np

    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image


def test_names_are_sorted_as_people_do(visit: Open, empty: Running, portrait: bytes) -> None:
    with empty.client() as client:
        for name in ("Person 10", "bob", "Person 2", "Ann", "Äbbi"):
            files = {"files": (f"{name}.jpg", portrait)}
            client.post("/api/v1/people", data={"name": name}, files=files).raise_for_status()
    tab = visit(empty)
    tab.go("people")
    tab.has(".person-card", 5)
    names = tab.page.locator(".person-card strong").all_inner_texts()
    assert names == ["Äbbi", "Ann", "bob", "Person 2", "Person 10"]

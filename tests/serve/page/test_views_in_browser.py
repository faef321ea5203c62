"""The other views in a browser agree with the API; errors, sign-in, large photos."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from ..running import Running, serving
from .conftest import Visit

pytestmark = [pytest.mark.needs_chromium, pytest.mark.slow]

Open = Callable[..., Visit]
KEY = "0123456789abcdef"


def test_compare_says_what_the_service_says(
    visit: Open, own: Running, portrait: bytes, variants: list[bytes]
) -> None:
    tab = visit(own)
    tab.go("compare")
    tab.upload(".pair > section:nth-child(1)", ("a.jpg", portrait))
    with tab.page.expect_response("**/api/v1/compare") as waited:
        tab.upload(".pair > section:nth-child(2)", ("b.jpg", variants[0]))
    answer = waited.value.json()
    tab.page.get_by_role("heading", name="Same person").wait_for()
    assert answer["decision"]["answer"] == "same"
    assert tab.page.locator(".score-value").inner_text() == f"{answer['similarity']:.3f}"
    words = tab.page.locator("[aria-live] .card").last.inner_text()
    assert f"Same person from {answer['decision']['threshold']:.3f}" in words
    assert "Of pairs of different people, at most 3.5 of 10,000 look at least this similar" in words
    assert answer["decision"]["as_similar"]["high"] == pytest.approx(0.000348, abs=5e-7)


def test_a_face_of_several_is_chosen_by_keyboard(
    visit: Open, own: Running, portrait: bytes, variants: list[bytes]
) -> None:
    tab = visit(own)
    tab.go("compare")
    tab.upload(".pair > section:nth-child(1)", ("a.jpg", portrait))
    tab.upload(".pair > section:nth-child(2)", ("b.jpg", side_by_side(variants)))
    second = tab.page.locator(".pair > section:nth-child(2)")
    second.get_by_text("2 faces. Click the one to compare.").wait_for()
    tab.page.locator(".verdict").wait_for()
    other = second.locator('.face-box[aria-pressed="false"]')
    wanted = other.get_attribute("aria-label")
    other.focus()
    with tab.page.expect_response("**/api/v1/compare") as waited:
        tab.page.keyboard.press("Enter")
    chosen = second.locator('.face-box[aria-pressed="true"]')
    assert chosen.get_attribute("aria-label") == wanted
    box, stage = chosen.bounding_box(), second.locator(".stage").bounding_box()
    x1, _, x2, _ = waited.value.json()["faces"][1]["bbox"]
    assert box["width"] / stage["width"] == pytest.approx((x2 - x1) / 300, abs=0.005)
    assert (box["x"] - stage["x"]) / stage["width"] == pytest.approx(x1 / 300, abs=0.005)


def test_photos_shows_what_the_service_found(visit: Open, own: Running, portrait: bytes) -> None:
    tab = visit(own)
    tab.go("photos")
    with tab.page.expect_response(lambda answer: "/analyze" in answer.url) as waited:
        tab.upload("main", ("portrait.jpg", portrait))
    (face,) = waited.value.json()["faces"]
    words = tab.page.locator(".face-card").inner_text()
    assert f"about {face['attributes']['age']:.0f} years" in words
    assert face["attributes"]["gender"] == "female"
    assert "female (100" in words or "female (99" in words
    yaw, pitch, roll = (face["pose"][name] + 0.0 for name in ("yaw", "pitch", "roll"))
    shown = [int(value) for value in re.findall(r"(-?\d+)°", words)]
    assert shown == pytest.approx([yaw, pitch, roll], abs=0.51)
    box = tab.page.locator(".face-box").bounding_box()
    canvas = tab.page.locator(".stage canvas").bounding_box()
    scale = canvas["width"] / waited.value.json()["width"]
    assert box["x"] - canvas["x"] == pytest.approx(face["bbox"][0] * scale, abs=1)
    assert box["height"] == pytest.approx((face["bbox"][3] - face["bbox"][1]) * scale, abs=1)


def test_the_axes_of_a_head_are_those_of_the_runtime(visit: Open, own: Running) -> None:
    from mobileface.types import Pose
    from mobileface.vision.head_rotation import rotation_of

    tab = visit(own)
    tab.go("photos")
    angles = {"pitch": 21.0, "roll": -34.0, "yaw": 47.0}
    code = "async (pose) => (await import('/page/face_canvas.js')).headAxes(pose)"
    axes = np.array(tab.page.evaluate(code, angles))
    right, down, into = rotation_of(Pose(**angles, degrees=True)).T
    error = np.abs(axes - np.stack([right, down, -into])[:, :2]).max()
    assert error < 1e-12, error


def test_an_effect_gives_the_services_picture(visit: Open, own: Running, portrait: bytes) -> None:
    tab = visit(own)
    tab.go("effects")
    tab.page.get_by_role("radio", name="Anonymize").check()
    tab.page.get_by_label("Method").select_option("pixelate")  # stays while the photo comes
    tab.upload(".effect-form", ("portrait.jpg", portrait))
    tab.page.locator(".slot img").wait_for()
    tab.page.get_by_role("button", name="Apply").click()
    with tab.page.expect_download() as loaded:
        tab.page.get_by_role("link", name="Download").click()
    assert loaded.value.suggested_filename == "portrait-anonymize.jpg"
    with own.client() as client:
        answer = client.post(
            "/api/v1/effects/anonymize",
            files={"file": ("portrait.jpg", portrait)},
            data={"method": "pixelate"},
        )
    assert Path(loaded.value.path()).read_bytes() == answer.content
    slider = tab.page.get_by_role("slider", name="Border between before and after")
    slider.focus()
    before = tab.page.locator(".divider").bounding_box()["x"]
    for _ in range(10):
        tab.page.keyboard.press("ArrowRight")
    assert tab.page.locator(".divider").bounding_box()["x"] > before + 10


def test_a_photo_above_the_limit_is_scaled_and_the_page_says_so(
    visit: Open, tmp_path: Path, portrait: bytes
) -> None:
    noise = np.random.default_rng(7).integers(0, 256, (900, 1200, 3), np.uint8)
    image = cv2.imdecode(np.frombuffer(portrait, np.uint8), cv2.IMREAD_COLOR)
    noise[:900, :900] = cv2.resize(image, (900, 900))
    large = cv2.imencode(".png", noise)[1].tobytes()
    with serving(limits={"body_bytes": 600_000}) as server:
        assert len(large) > 600_000
        tab = visit(server)
        tab.go("photos")
        tab.upload("main", ("large.png", large))
        tab.page.locator(".face-card").first.wait_for()
        words = tab.page.locator(".note.info").inner_text()
        assert "1.1 megapixels" in words
        assert "was scaled to" in words


def test_busy_is_said_and_tried_once_more(visit: Open, own: Running, portrait: bytes) -> None:
    tab = visit(own)
    tab.refusals = {503}
    tab.go("photos")
    answers = []

    def busy(route: Any) -> None:
        answers.append(route.request.url)
        body = {"error": {"code": "busy", "what": "too busy", "where": "", "hint": ""}}
        headers = {"Retry-After": "1"}
        if len(answers) != 2:
            route.fulfill(status=503, headers=headers, body=json.dumps(body))
        else:
            route.continue_()

    tab.page.route("**/api/v1/analyze**", busy)
    tab.upload("main", ("portrait.jpg", portrait))
    tab.page.get_by_text("The service is busy. Trying again in 1 second.").wait_for()
    tab.page.locator(".face-card").wait_for()
    assert len(answers) == 2
    tab.upload("main", ("portrait.jpg", portrait))  # now busy for good
    tab.page.locator(".note.bad", has_text="too busy").wait_for()
    assert len(answers) == 4


def test_a_key_is_asked_for(visit: Open, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"{KEY}\n", encoding="utf-8")
    with serving(api_key_file=keys) as server:
        tab = visit(server)
        tab.refusals = {401}
        tab.page.goto(server.address)
        field = tab.page.get_by_label("API key")
        field.fill("a wrong key")
        tab.page.keyboard.press("Enter")
        tab.page.get_by_role("alert").get_by_text("does not know this key").wait_for()
        field.fill(KEY)
        tab.page.keyboard.press("Enter")
        tab.page.get_by_role("heading", name="Live", exact=True).wait_for()
        assert KEY not in tab.page.evaluate("JSON.stringify([localStorage, document.cookie])")
        tab.go("system")
        tab.page.get_by_role("button", name="Sign out").click()
        tab.page.get_by_role("dialog", name="Sign in").wait_for()


def test_without_gallery_and_cameras_the_page_says_what_to_do(visit: Open) -> None:
    with serving() as server:
        tab = visit(server)
        for view, words in {
            "live": "[[cameras]]",
            "people": "mobileface serve --gallery people.gallery",
            "search": "mobileface serve --gallery people.gallery",
        }.items():
            tab.go(view)
            assert words in tab.page.locator("main .empty").inner_text()


def test_an_error_says_what_and_where(visit: Open, own: Running) -> None:
    tab = visit(own)
    tab.refusals = {400}
    tab.go("photos")
    tab.upload("main", ("broken.jpg", b"no picture"))
    assert "broken.jpg: not an image" in tab.page.get_by_role("alert").inner_text()


def side_by_side(pictures: list[bytes]) -> bytes:
    """The first and the last picture in one."""
    images = [
        cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        for data in (pictures[0], pictures[-1])
    ]
    return cv2.imencode(".jpg", cv2.hconcat([image for image in images if image is not None]))[
        1
    ].tobytes()


def test_checks_go_on_when_the_system_view_is_left(visit: Open, own: Running) -> None:
    """The service makes one at a time: coming back waits for that, instead of being refused."""
    tab, asked, held = visit(own), [], []

    def hold(route: Any) -> None:
        asked.append(route.request.url)
        held.append(route)

    tab.page.route("**/api/v1/system/doctor", hold)
    tab.go("system")
    tab.page.get_by_text("Checking…").first.wait_for()
    tab.go("people")
    tab.go("system")
    tab.page.locator("table").wait_for()
    assert len(asked) == 1
    held[0].fulfill(json={"healthy": True, "findings": []})
    tab.page.get_by_text("Everything works.").wait_for()

"""Keyboard, names of controls, small screens, navigation; and no text outside of texts/en.json."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mobileface.serve.http.page_routes import FOLDER

from ..running import Running
from .conftest import DESKTOP, PHONE, Visit

pytestmark = [pytest.mark.needs_chromium, pytest.mark.slow]

Open = Callable[..., Visit]
VIEWS = ("live", "people", "compare", "search", "photos", "effects", "system")

FAULTS = (Path(__file__).parent / "faults.js").read_text("utf-8")

WORDS = """() => {
  const words = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) words.push(walker.currentNode.data);
  for (const node of document.querySelectorAll("*")) {
    for (const name of ["alt", "title", "aria-label", "placeholder"]) {
      if (node.getAttribute(name)) words.push(node.getAttribute(name));
    }
  }
  return [...words, document.title];
}"""


def fill_view(tab: Visit, view: str, portrait: bytes) -> None:
    """Shows a view with something in it."""
    tab.go(view)
    if view == "people":
        tab.page.locator(".heading button").first.click()
    elif view == "compare":
        for side in (1, 2):
            tab.upload(f".pair > section:nth-child({side})", ("p.jpg", portrait))
        tab.page.locator(".verdict").wait_for()
    elif view in ("search", "photos"):
        tab.upload("main", ("p.jpg", portrait))
        tab.page.locator(".face-card").wait_for()
    elif view == "effects":
        tab.upload(".effect-form", ("p.jpg", portrait))
        tab.page.locator(".effect-form .button.primary").click()
        tab.page.locator(".before-after").wait_for()
    elif view == "system":
        tab.page.locator("table").wait_for()


@pytest.mark.parametrize("view", VIEWS)
def test_controls_have_names_and_nothing_is_wider_than_the_screen(
    visit: Open, own: Running, portrait: bytes, view: str
) -> None:
    tab = visit(own)
    fill_view(tab, view, portrait)
    for size in (DESKTOP, PHONE, {"width": 360, "height": 640}):
        tab.page.set_viewport_size(size)
        assert tab.page.evaluate(FAULTS) == [], size


@pytest.mark.parametrize("view", VIEWS)
def test_all_words_come_from_the_file_of_texts(
    visit: Open, own: Running, portrait: bytes, view: str
) -> None:
    """With each text replaced by its key in brackets, no word stands outside of brackets."""
    texts = json.loads((FOLDER / "texts" / "en.json").read_text("utf-8"))
    marked = {
        section: {
            name: f"⟦{section}.{name}" + "".join(f" {{{v}}}" for v in values_of(text)) + "⟧"
            for name, text in names.items()
        }
        for section, names in texts.items()
    }
    tab = visit(own)
    tab.page.route("**/texts/en.json", lambda route: route.fulfill(json=marked))
    heard: list[str] = []
    tab.page.on("response", lambda answer: heard.append(said(answer)))
    fill_view(tab, view, portrait)
    words = list(map(str.strip, tab.page.evaluate(WORDS)))
    tab.page.wait_for_timeout(500)  # answers are heard some time after the page has them
    known = "\n".join(heard) + "mobileface p.jpg mobileface serve --gallery people.gallery"
    foreign = [
        word
        for word in words
        if any(map(str.isalpha, word))
        and "⟦" not in word
        and not all(part in known for part in re.split(r"[\s,]+", word.replace('"', '\\"')))
        and "[[cameras]]" not in word
    ]
    assert foreign == []


def values_of(text: Any) -> list[str]:
    return sorted(set(re.findall(r"\{(\w+)\}", json.dumps(text))))


def said(answer: Any) -> str:
    """What the service answered; its words may be shown as they are."""
    kind = answer.headers.get("content-type", "")
    if "/api/v1/" not in answer.url or "json" not in kind:
        return ""
    text: str = answer.text()
    return text


def test_all_views_by_keyboard(visit: Open, own: Running) -> None:
    tab = visit(own)
    tab.refusals = {503}  # checks for a tab that another test closed may still run
    tab.page.goto(own.address)
    tab.page.get_by_role("heading", name="Live", exact=True).wait_for()
    seen = []
    for view in VIEWS:
        tab.page.evaluate("document.activeElement.blur()")
        for _ in range(40):
            tab.page.keyboard.press("Tab")
            focus = tab.page.evaluate(
                "[document.activeElement].map((node) => "
                "[node.dataset.view, getComputedStyle(node).outlineWidth])[0]"
            )
            if focus[0] == view:
                break
        assert focus == [view, "3px"]
        tab.page.keyboard.press("Enter")
        tab.page.wait_for_url(f"**/#{view}")
        tab.page.locator("h1:focus").wait_for()
        seen.append(tab.page.title())
    assert seen == [f"{view.capitalize()} – mobileface" for view in VIEWS]
    tab.page.go_back()
    tab.page.get_by_role("heading", name="Effects", exact=True).wait_for()
    tab.page.go_back()
    tab.page.get_by_role("heading", name="Photos", exact=True).wait_for()
    assert tab.page.title() == "Photos – mobileface"


def test_skip_link_and_dialogs_by_keyboard(visit: Open, empty: Running, portrait: bytes) -> None:
    with empty.client() as client:
        files = {"files": ("a.jpg", portrait)}
        added = client.post("/api/v1/people", data={"name": "Ann"}, files=files).json()
    tab = visit(empty)
    tab.go(f"people/{added['person_id']}")
    tab.page.evaluate("document.activeElement.blur()")
    tab.page.keyboard.press("Tab")
    assert tab.page.evaluate("document.activeElement.textContent") == "Skip to content"
    tab.page.keyboard.press("Enter")
    assert tab.page.evaluate("document.activeElement.id") == "main"
    rename = tab.page.get_by_role("button", name="Rename")
    rename.focus()
    tab.page.keyboard.press("Enter")
    tab.page.get_by_role("dialog").wait_for()
    assert tab.page.evaluate("document.activeElement.name") == "name"
    for _ in range(8):  # the focus stays inside, or goes to the browser
        tab.page.keyboard.press("Tab")
        inside = (
            "document.activeElement === document.body || !!document.activeElement.closest('dialog')"
        )
        assert tab.page.evaluate(inside)
    tab.page.keyboard.press("Escape")
    tab.page.get_by_role("dialog").wait_for(state="detached")
    assert rename.evaluate("node => node === document.activeElement")


def test_nothing_moves_for_those_who_want_that(visit: Open, own: Running) -> None:
    tab = visit(own, reduced_motion="reduce")
    tab.go("live")
    code = """() => {
      const node = document.body.appendChild(document.createElement("span"));
      node.className = "spinner";
      return getComputedStyle(node).animationName;
    }"""
    assert tab.page.evaluate(code) == "none"

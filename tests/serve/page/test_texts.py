"""All texts of the page are in one file; each is used, and each that is used exists."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from mobileface.serve.effects_on_request import EFFECTS
from mobileface.serve.http.page_routes import FOLDER

TEXTS: dict[str, dict[str, Any]] = json.loads((FOLDER / "texts" / "en.json").read_text("utf-8"))
KEYS = {f"{section}.{name}" for section, names in TEXTS.items() for name in names}
SCRIPTS = sorted(FOLDER.glob("*.js"))
LITERAL = re.compile(r"//.*?$|/\*.*?\*/|(\"(?:\\.|[^\"\\\n])*\"|`(?:\\.|[^`\\])*`)", re.S | re.M)
FORMAT = re.compile(r"\{(\w+)\}")

SAID_BY_PROGRAMS = {
    "mobileface serve --gallery people.gallery",
    '[[cameras]]\\nname = \\"front\\"\\nsource = \\"rtsp://camera/stream\\"',
}
"""What the user types, which is the same in all languages."""


def literals(code: str) -> list[str]:
    """The strings of JavaScript code, without those in comments; templates without their values."""
    found = [match[1][1:-1] for match in LITERAL.finditer(code) if match[1]]
    return [re.sub(r"\$\{.*?\}", "", text) for text in found]


def used_keys() -> dict[str, str]:
    """The keys that scripts and the HTML file name, and where."""
    found = {}
    for path in SCRIPTS:
        for text in literals(path.read_text("utf-8")):
            section, _, name = text.partition(".")
            if section in TEXTS and re.fullmatch(r"[a-z_]+", name):
                found[text] = path.name
    html = (FOLDER / "index.html").read_text("utf-8")
    return found | dict.fromkeys(re.findall(r'data-(?:text|label)="([^"]*)"', html), "index.html")


def test_each_key_that_is_used_exists() -> None:
    missing = {key: where for key, where in used_keys().items() if key not in KEYS}
    assert missing == {}


def test_each_key_is_used() -> None:
    assert sorted(KEYS - set(used_keys())) == []


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_contain_no_other_texts(path: Any) -> None:
    words = [
        text
        for text in literals(path.read_text("utf-8"))
        if text not in SAID_BY_PROGRAMS
        and (re.search(r"(?<![\w#-])[A-Z][a-z]+ [a-z]", text) or re.search(r"[a-z][.!?…:] ", text))
    ]
    assert words == []


def test_the_html_file_contains_only_the_name() -> None:
    class Words(HTMLParser):
        found: list[str] = []  # noqa: RUF012

        def handle_data(self, data: str) -> None:
            if data.strip():
                self.found.append(data.strip())

        def handle_starttag(self, _: str, attrs: list[tuple[str, str | None]]) -> None:
            for name, value in attrs:
                if name in ("alt", "title", "aria-label", "placeholder") and value:
                    self.found.append(value)

    words = Words()
    words.feed((FOLDER / "index.html").read_text("utf-8"))
    assert words.found == ["mobileface", "mobileface"]


def test_the_values_of_a_text_are_given() -> None:
    """Each {value} of a text stands in the call that uses it, where that can be read."""
    wrong = []
    for path in SCRIPTS:
        code = path.read_text("utf-8")
        for key, given in re.findall(r"\btext\(\"([\w.]+)\", \{([^{}]*)\}\)", code):
            section, _, name = key.partition(".")
            text = TEXTS[section][name]
            forms = text.values() if isinstance(text, dict) else [text]
            names = set(re.findall(r"(?:^|,)\s*(\w+)", given))
            missing = {value for form in forms for value in FORMAT.findall(form)} - names
            if missing:
                wrong.append(f"{path.name}: {key} lacks {sorted(missing)}")
    assert wrong == []


def test_plurals_have_the_forms_of_english() -> None:
    forms = [set(text) for names in TEXTS.values() for text in names.values() if type(text) is dict]
    assert len(forms) > 5
    assert all(form == {"one", "other"} for form in forms)


def test_each_number_and_colour_of_an_effect_is_explained_to_people() -> None:
    """What the service says about an option is for programs."""
    script = (FOLDER / "effect_options.js").read_text("utf-8")
    explained = set(re.findall(r'"(\w+\.\w+)": "help\.', script))
    options = {
        f"{name}.{option.name}"
        for name, effect in EFFECTS.items()
        for option in effect.options
        if option.kind == "number" or option.name == "color"
    }
    assert explained == options

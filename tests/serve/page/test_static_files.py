"""The page's files over HTTP: types, caching, the policy, and nothing from elsewhere."""

from __future__ import annotations

import re

import pytest

from mobileface.serve.http.page_routes import FILES, FOLDER

from ..running import Running

POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
TYPES |= {".svg": "image/svg+xml", ".json": "application/json"}
NAMESPACES = ("http://www.w3.org/2000/svg",)


def place(name: str) -> str:
    return "/" if name == "index.html" else f"/page/{name}"


def test_the_table_has_all_files() -> None:
    there = {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*") if not path.is_dir()}
    assert set(FILES) == there


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_sent(running: Running, name: str) -> None:
    with running.client() as client:
        answer = client.get(place(name))
        again = client.get(place(name), headers={"If-None-Match": answer.headers["etag"]})
        changed = client.get(place(name), headers={"If-None-Match": '"0"'})
        head = client.head(place(name))
    assert (answer.status_code, again.status_code, changed.status_code) == (200, 304, 200)
    assert answer.content == (FOLDER / name).read_bytes()
    assert again.content == head.content == b""
    kind = answer.headers["content-type"].partition(";")[0]
    assert kind == TYPES["." + name.rpartition(".")[2]]
    for one in (answer, again, head):
        assert one.headers["cache-control"] == "no-cache"
        assert one.headers["content-security-policy"] == POLICY
        assert one.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    [
        "/page/",
        "/page/../http/app.py",
        "/page/%2e%2e/service.py",
        "/page//etc/passwd",
        "/page/x.js",
    ],
)
def test_nothing_else_is_sent(running: Running, path: str) -> None:
    with running.client() as client:
        answer = client.get(path)
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_found"


@pytest.mark.parametrize("name", FILES)
def test_a_file_needs_nothing_from_elsewhere(name: str) -> None:
    text = (FOLDER / name).read_text("utf-8")
    for namespace in NAMESPACES:
        text = text.replace(namespace, "")
    text = text.replace("rtsp://camera/stream", "")  # what the user may type
    assert re.findall(r"\w*://[^\s\"'`]*|url\([^)]*\)|@import.*|[\"'`]//\w.*", text) == []


def test_nothing_is_inline() -> None:
    html = (FOLDER / "index.html").read_text("utf-8")
    assert re.findall(r"<style|\sstyle=|\son\w+=|<script(?![^>]*src=)|javascript:", html) == []
    for path in FOLDER.glob("*.js"):
        code = path.read_text("utf-8")
        assert re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|\beval\(|Function\(", code) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrasts(scheme: str) -> None:
    """WCAG 2.2, 1.4.3 (text 4.5 : 1) and 1.4.11 (borders of controls, marks 3 : 1)."""
    colors = palette(scheme)
    pairs = [
        *(
            (text, ground, 4.5)
            for text in ("text", "muted")
            for ground in ("ground", "card", "well")
        ),
        *(("accent", ground, 4.5) for ground in ("ground", "card", "accent-soft")),
        *((kind, f"{kind}-soft", 4.5) for kind in ("ok", "warning", "bad")),
        *(("text", f"{kind}-soft", 4.5) for kind in ("ok", "warning", "bad", "accent")),
        *((kind, "card", 4.5) for kind in ("ok", "warning", "bad")),
        ("accent", "ok-soft", 4.5),
        ("on-accent", "accent", 4.5),
        ("on-bad", "bad", 4.5),
        ("ground", "text", 4.5),
        ("edge", "card", 3),
        ("accent", "well", 3),
    ]
    low = {
        f"{one} on {other}": round(contrast(colors[one], colors[other]), 2)
        for one, other, least in pairs
        if contrast(colors[one], colors[other]) < least
    }
    assert low == {}


def test_contrast_of_known_colors() -> None:
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)  # WebAIM's example


def palette(scheme: str) -> dict[str, str]:
    css = (FOLDER / "style.css").read_text("utf-8")
    light, dark = re.findall(r":root \{(.*?)\}", css, re.S)[:2]
    found = dict(re.findall(r"--([\w-]+): (#\w{6});", light))
    return found if scheme == "light" else found | dict(re.findall(r"--([\w-]+): (#\w{6});", dark))


def contrast(one: str, other: str) -> float:
    """https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio."""
    dark, light = sorted(map(luminance, (one, other)))
    return (light + 0.05) / (dark + 0.05)


def luminance(color: str) -> float:
    values = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

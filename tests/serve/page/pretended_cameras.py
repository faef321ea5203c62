"""The API of cameras and events as a browser sees it, without cameras."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

__all__ = ["EVENTS", "pretend"]

_COMMON = {
    "schema": 1,
    "camera": "front",
    "track_id": 7,
    "threshold": 0.94,
    "false_match_rate": None,
    "bbox": [118, 64, 210, 173],
    "det_score": 0.93,
    "faces_used": 5,
    "delay_ms": 180,
    "since": "2026-11-27T08:14:58Z",
    "seconds": None,
    "snapshot": True,
    "person_id": None,
    "similarity": None,
    "name": None,
}
SEEN = {"type": "person_seen", "name": "Eileen Collins", "person_id": 1, "similarity": 0.972}
EVENTS: list[dict[str, Any]] = [
    {**_COMMON, **SEEN, "id": "20261127T081502.1-front-9", "time": "2026-11-27T08:15:02Z"},
    {
        **_COMMON,
        "type": "left",
        "id": "20261127T081441.1-yard-3",
        "time": "2026-11-27T08:14:41Z",
        "camera": "yard",
        "seconds": 35.4,
        "snapshot": False,
    },
    {
        **_COMMON,
        "type": "unknown_seen",
        "id": "20261127T081406.1-yard-3",
        "time": "2026-11-27T08:14:06Z",
        "camera": "yard",
    },
]
"""Newest first."""

CAMERA = {
    "why": "",
    "width": 1280,
    "height": 720,
    "frames": 100,
    "dropped": 0,
    "still": 3,
    "reconnects": 0,
}
_SEEN_NOW = [{"track_id": 9, "name": "Eileen Collins", "since": "2026-11-27T08:15:02Z"}]
CAMERAS = [
    {**CAMERA, "name": "front", "state": "running", "fps": 9.8, "people": _SEEN_NOW},
    {
        **CAMERA,
        "name": "yard",
        "state": "waiting",
        "why": "cannot be opened",
        "fps": 0.0,
        "people": [],
    },
]


def pretend(
    page: Any, picture: bytes, new: list[dict[str, Any]], names: Sequence[str | None] | None = None
) -> list[tuple[str, str, Any]]:
    """Answers a page's requests for cameras and events.

    Args:
        page: Playwright's page.
        picture: The picture of all cameras and events, JPEG.
        new: Events of the stream.
        names: Who is at the camera "front"; Eileen Collins if it is left out.

    Returns:
        Method, path and JSON of each writing request, as they come.
    """
    written: list[tuple[str, str, Any]] = []
    cameras = CAMERAS
    if names is not None:
        people = [{**_SEEN_NOW[0], "track_id": i, "name": name} for i, name in enumerate(names)]
        cameras = [{**CAMERAS[0], "people": people}, *CAMERAS[1:]]

    def answer(route: Any) -> None:
        request = route.request
        path = request.url.partition("/api/v1/")[2].partition("?")[0]
        if request.method != "GET":
            sent = json.loads(request.post_data) if request.post_data else None
            written.append((request.method, path, sent))
            done = {"deleted": 1} if sent is None else {"person_id": 2, "lookalikes": [], **sent}
            route.fulfill(json=done)
        elif path == "cameras":
            route.fulfill(json={"cameras": cameras})
        elif path == "events":
            kind = request.url.partition("type=")[2].partition("&")[0]
            route.fulfill(json={"events": [e for e in EVENTS if kind in ("", e["type"])]})
        elif path == "events/stream":
            lines = [f"event: {e['type']}\nid: {e['id']}\ndata: {json.dumps(e)}\n\n" for e in new]
            body = "".join(["retry: 60000\n\n", *lines])
            route.fulfill(content_type="text/event-stream", body=body)
        else:
            route.fulfill(content_type="image/jpeg", body=picture)

    def version(route: Any) -> None:
        route.fulfill(json={**route.fetch().json(), "cameras": len(CAMERAS)})

    for pattern in ("cameras", "cameras/**", "events**", "events/**"):
        page.route(f"**/api/v1/{pattern}", answer)
    page.route("**/api/v1/version", version)
    return written

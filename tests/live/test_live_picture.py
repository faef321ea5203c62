"""The newest picture: encoded once for all, and only when somebody looks."""

from __future__ import annotations

import threading

import cv2
import numpy as np
import pytest

from mobileface.live import live_picture
from mobileface.live.live_picture import LivePicture
from mobileface.vision.written_pictures import encode_jpeg

BLACK = np.zeros((120, 160, 3), np.uint8)


def test_encoded_once_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    picture, encoded = LivePicture(), []
    monkeypatch.setattr(
        live_picture, "encode_jpeg", lambda *a: encoded.append(1) or encode_jpeg(*a)
    )
    assert picture.latest() is None
    for number in range(1, 6):
        picture.put(number, BLACK, ())
    assert not encoded
    threads = [threading.Thread(target=picture.latest, args=(True,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(encoded) == 1
    found = picture.latest(True)
    assert found is not None
    assert found[1] == 5
    picture.latest(False)
    assert len(encoded) == 2


def test_annotation_is_on_a_copy() -> None:
    picture = LivePicture()
    picture.put(1, BLACK, [(np.array([20, 40, 60, 80], np.float32), "Zoë")])
    plain, drawn = picture.latest(False), picture.latest(True)
    assert plain is not None
    assert drawn is not None
    decoded = [cv2.imdecode(np.frombuffer(d[0], np.uint8), 1) for d in (plain, drawn)]
    assert decoded[0].max() < 10
    assert decoded[1].max() > 100
    assert BLACK.max() == 0


@pytest.mark.parametrize("label", ["Ann", "王小明"])
def test_labels_can_be_read_on_a_phone(label: str) -> None:
    """At least 5 of its 346 CSS pixels high; a name that cannot be drawn leaves another word."""
    picture = LivePicture()
    image = np.zeros((720, 1280, 3), np.uint8)
    picture.put(1, image, [(np.array([400, 300, 500, 420], np.float32), label)])
    drawn = picture.latest(True)
    assert drawn is not None
    white = cv2.imdecode(np.frombuffer(drawn[0], np.uint8), 1).min(axis=2) > 200
    rows = np.flatnonzero(white.any(axis=1))
    height = (rows[-1] - rows[0] + 1) * 346 / 1280
    print(f"{label}: {height:.1f} CSS pixels")
    assert 5 <= height <= 12


def test_waiting_and_watching() -> None:
    picture, told = LivePicture(), []
    assert not picture.wait_for(0, 0.01)
    watcher = lambda: told.append(picture.number)  # noqa: E731
    picture.watch(watcher)
    threading.Timer(0.05, picture.put, (7, BLACK, ())).start()
    assert picture.wait_for(6, 5)
    picture.unwatch(watcher)
    picture.put(8, BLACK, ())
    assert told == [7]


def test_a_label_vanishes_without_a_further_picture() -> None:
    """A silent camera keeps its last picture, but not the name of who was deleted."""
    picture, unknown = LivePicture(), LivePicture()
    box = np.array([20, 40, 60, 80], np.float32)
    picture.put(1, BLACK, [(box, "Zoë")])
    unknown.put(1, BLACK, [(box, "unknown")])
    before = picture.latest(True)
    assert before != unknown.latest(True)
    picture.relabel("Zoë", "unknown")
    assert picture.latest(True) == unknown.latest(True)
    picture.relabel("Zoë", "Ann")
    assert picture.latest(True) == unknown.latest(True)

"""People over HTTP: the documents of the commands, and errors that lose nothing."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest

from mobileface import FaceAnalyzer, read_image
from mobileface.commands.main import main
from mobileface.gallery import Gallery, Stamp

from .conftest import PORTRAIT
from .running import Running, serving

PEOPLE = "/api/v1/people"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The portrait, and two smaller cuts of it, which are other files."""
    folder = tmp_path_factory.mktemp("photos")
    image = read_image(PORTRAIT)
    made = [PORTRAIT]
    for number, side in enumerate((60, 50)):
        made.append(folder / f"cut{number}.png")
        cv2.imwrite(str(made[-1]), image[: image.shape[0] - side, side:])
    return made


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    """A server with an empty gallery of its own."""
    with serving(gallery=tmp_path / "served.gallery") as found:
        yield found


@pytest.fixture
def client(server: Running) -> Iterator[httpx.Client]:
    with server.client() as found:
        yield found


def sent(*paths: Path) -> list[tuple[str, tuple[str, bytes]]]:
    return [("files", (path.name, path.read_bytes())) for path in paths]


def enrolled(client: httpx.Client, name: str, *paths: Path, **form: str) -> dict[str, Any]:
    answer = client.post(PEOPLE, data={"name": name, **form}, files=sent(*paths))
    assert answer.status_code == 201, answer.text
    document: dict[str, Any] = answer.json()
    return document


def command(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    assert main(["gallery", *map(str, arguments), "--json"]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def everyone(path: Path) -> list[tuple[str, int, int]]:
    """Names with their numbers of faces and crops, as SQLite counts them."""
    connection = sqlite3.connect(path)
    found = connection.execute(
        "SELECT name, count(face.id), count(crop.face) FROM person LEFT JOIN face ON person = "
        "person.id LEFT JOIN crop ON crop.face = face.id GROUP BY person.id ORDER BY name"
    ).fetchall()
    connection.close()
    return found


def test_enrolment_is_that_of_the_command(
    server: Running,
    client: httpx.Client,
    photos: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    gallery = ("--gallery", tmp_path / "other.gallery")
    command(capsys, "create", *gallery)
    expected = [command(capsys, "add", "Eileen", *photos[:2], *gallery)]
    expected.append(command(capsys, "add", "Eileen", *photos, *gallery))
    expected.append(command(capsys, "add", "Anna", photos[0], *gallery))
    answers = [
        enrolled(client, "Eileen", *photos[:2]),
        enrolled(client, "Eileen", *photos),
        enrolled(client, "Anna", photos[0]),
    ]
    folders = {str(path): path.name for path in photos}
    for answer, document in zip(answers, expected, strict=True):
        text = json.dumps(document)
        for path, name in folders.items():
            text = text.replace(path, name)
        assert answer.pop("person_id") == (1 if answer["name"] == "Eileen" else 2)
        assert answer == json.loads(text)
    assert answers[1]["known"] == [path.name for path in photos[:2]]
    assert [other["name"] for other in answers[2]["lookalikes"]] == ["Eileen"]

    listed = client.get(PEOPLE).json()["people"]
    assert [{**each, "created": ""} for each in listed] == [
        {**each, "created": ""} for each in command(capsys, "list", *gallery)["people"]
    ]
    detail = client.get(f"{PEOPLE}/1").json()
    rows = command(capsys, "list", "Eileen", *gallery)["faces"]
    assert detail["name"] == "Eileen"
    for face, row in zip(detail["faces"], rows, strict=True):
        changed = {"uid": face["uid"], "created": face["created"]}
        assert face == {**row, **changed, "source": Path(row["source"]).name}
        assert set(face["quality"]) == {"face_size", "sharpness", "frontality", "roll"}
    with server.service.gallery() as served:
        hashes = [record.face.source_sha256 for record in served.faces("Eileen")]
    assert hashes == [hashlib.sha256(path.read_bytes()).hexdigest() for path in photos]


def test_a_hint_names_the_form_field(client: httpx.Client, tmp_path: Path) -> None:
    """The command's names the option; other services' routes, which have no field, name none."""
    pair = tmp_path / "pair.jpg"
    cv2.imwrite(str(pair), np.hstack([read_image(PORTRAIT)] * 2))
    files = [("files", ("pair.jpg", pair.read_bytes()))]
    error = client.post(PEOPLE, data={"name": "Ann"}, files=files).json()["error"]
    assert error["what"].startswith("2 faces found")
    assert "or choose one with face: largest" in error["hint"]
    assert "--" not in error["hint"]
    chosen = client.post(PEOPLE, data={"name": "Ann", "face": "0"}, files=files)
    assert chosen.status_code == 201, chosen.text
    route = "/v1/vision/face/register"
    answer = client.post(route, data={"userid": "Ben"}, files=[("image", files[0][1])]).json()
    assert answer["error"].endswith("use an image with exactly one face")


def test_rename_merge_and_remove(client: httpx.Client, photos: list[Path], server: Running) -> None:
    first = enrolled(client, "Ann", photos[0])["person_id"]
    second = enrolled(client, "Anne", *photos)["person_id"]
    taken = client.patch(f"{PEOPLE}/{first}", json={"name": " Anne "})
    assert (taken.status_code, taken.json()["error"]["code"]) == (409, "conflict")
    renamed = client.patch(f"{PEOPLE}/{first}", json={"name": "Annika"}).json()
    assert (renamed["person_id"], renamed["name"], len(renamed["faces"])) == (first, "Annika", 1)
    assert client.patch(f"{PEOPLE}/{first}", json={"name": "Annika"}).status_code == 200

    itself = client.post(f"{PEOPLE}/{first}/merge", json={"into": first})
    assert (itself.status_code, itself.json()["error"]["where"]) == (400, "gallery")
    merged = client.post(f"{PEOPLE}/{second}/merge", json={"into": first}).json()
    assert (merged["person_id"], merged["name"]) == (first, "Annika")
    assert [face["source"] for face in merged["faces"]] == [path.name for path in photos]
    assert client.get(f"{PEOPLE}/{second}").status_code == 404

    face = merged["faces"][1]["face_id"]
    removed = client.delete(f"{PEOPLE}/{first}/faces/{face}")
    assert removed.json() == {"name": "Annika", "faces": 1, "erased": True}
    again = client.delete(f"{PEOPLE}/{first}/faces/{face}")
    assert (again.status_code, again.json()["error"]["what"]) == (
        404,
        f"'Annika' has no face {face}",
    )
    more = client.post(f"{PEOPLE}/{first}/faces", files=sent(photos[1]))
    assert (more.status_code, len(more.json()["faces"])) == (201, 1)
    assert client.delete(f"{PEOPLE}/{first}").json() == {
        "name": "Annika",
        "faces": 3,
        "erased": True,
    }
    assert client.get(PEOPLE).json() == {"people": []}
    with server.service.gallery() as gallery:
        gallery.check()


def test_thumbnails_are_the_stored_crops(
    client: httpx.Client, photos: list[Path], server: Running
) -> None:
    person = enrolled(client, "Ann", *photos[:2])
    with server.service.gallery() as gallery:
        crops = [record.face.crop for record in gallery.faces("Ann")]
    urls = [f"{PEOPLE}/1/thumbnail"]
    urls += [f"{PEOPLE}/1/faces/{face}/thumbnail" for face in person["faces"]]
    for url, crop in zip(urls, [crops[0], *crops], strict=True):
        answer = client.get(url)
        assert answer.headers["content-type"] == "image/jpeg"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.content == crop
        image = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)
        assert image is not None
        assert image.shape[0] == image.shape[1] >= 112


def test_a_gallery_without_crops_has_no_thumbnails(tmp_path: Path, photos: list[Path]) -> None:
    embedder = FaceAnalyzer(tasks=("detection", "landmarks", "embedding")).embedder
    assert embedder is not None
    path = tmp_path / "bare.gallery"
    Gallery.create(path, Stamp.of(embedder, keeps_crops=False)).close()
    with serving(gallery=path) as server, server.client() as client:
        enrolled(client, "Ann", photos[0])
        assert client.get(f"{PEOPLE}/1").json()["faces"][0]["crop"] is False
        for url in (f"{PEOPLE}/1/thumbnail", f"{PEOPLE}/1/faces/1/thumbnail"):
            answer = client.get(url)
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("GET", "/7", {}, 404),
        ("GET", "/0", {}, 422),
        ("GET", f"/{2**63}", {}, 422),
        ("GET", f"/{2**63 - 1}", {}, 404),
        ("GET", "/x", {}, 422),
        ("PATCH", "/7", {"json": {"name": "Bob"}}, 404),
        ("PATCH", "/1", {"json": {"name": "a/b"}}, 400),
        ("PATCH", "/1", {"json": {"name": ""}}, 400),
        ("PATCH", "/1", {"json": {}}, 422),
        ("DELETE", "/7", {}, 404),
        ("DELETE", "/1/faces/7", {}, 404),
        ("POST", "/7/merge", {"json": {"into": 1}}, 404),
        ("POST", "/1/merge", {"json": {"into": 7}}, 404),
        ("POST", "/1/merge", {"json": {"into": "x"}}, 422),
        ("POST", "/7/faces", {"files": [("files", ("a.jpg", b"x"))]}, 404),
        ("GET", "/7/thumbnail", {}, 404),
        ("GET", "/1/faces/7/thumbnail", {}, 404),
        ("POST", "", {"data": {"name": "Bob"}, "files": [("files", ("a.jpg", b"x"))]}, 400),
        ("POST", "", {"data": {"name": "../b"}, "files": [("files", ("a.jpg", b"x"))]}, 400),
        ("POST", "", {"data": {"name": "B"}, "files": [("files", ("a.jpg", b"x"))] * 21}, 422),
        ("POST", "", {"data": {"name": "Bob"}}, 422),
    ],
)
def test_bad_requests_change_nothing(
    one: tuple[Running, Path], method: str, path: str, content: dict[str, Any], status: int
) -> None:
    server, file = one
    with server.client() as client:
        answer = client.request(method, PEOPLE + path, **content)
        assert answer.status_code == status, answer.text
        error = answer.json()["error"]
        assert error["what"]
        assert str(file.parent) not in answer.text
        assert everyone(file) == [("Ann", 1, 1)]


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory, photos: list[Path]) -> Iterator[Any]:
    """A server whose gallery has one person, and the gallery's file."""
    path = tmp_path_factory.mktemp("one") / "people.gallery"
    with serving(gallery=path) as server:
        with server.client() as client:
            enrolled(client, "Ann", photos[0])
        yield server, path


def test_some_pictures_refused(client: httpx.Client, photos: list[Path]) -> None:
    blank = cv2.imencode(".png", np.full((200, 200, 3), 127, np.uint8))[1].tobytes()
    files = [("files", ("blank.png", blank)), *sent(photos[0])]
    answer = client.post(PEOPLE, data={"name": "Ann"}, files=files)
    assert answer.status_code == 201
    assert len(answer.json()["faces"]) == 1
    assert answer.json()["refused"] == ["blank.png: no face found; use an image with one face"]
    answer = client.post(PEOPLE, data={"name": "Bob"}, files=files[:1])
    assert answer.status_code == 400
    assert answer.json()["error"] == {
        "code": "bad_input",
        "what": "no face found",
        "where": "blank.png",
        "hint": "use an image with one face",
    }
    assert [person["name"] for person in client.get(PEOPLE).json()["people"]] == ["Ann"]


def test_pictures_with_too_many_pixels(tmp_path: Path, photos: list[Path]) -> None:
    with (
        serving(gallery=tmp_path / "x.gallery", limits={"pixels": 1000}) as server,
        server.client() as client,
    ):
        answer = client.post(PEOPLE, data={"name": "Ann"}, files=sent(photos[0]))
    assert answer.status_code == 400
    assert "more than 1,000 pixels" in answer.json()["error"]["what"]


@pytest.mark.slow
def test_another_process_that_writes(
    client: httpx.Client, photos: list[Path], server: Running
) -> None:
    """A second connection holds the write lock: 503, everything as before, and reads go on."""
    person = enrolled(client, "Ann", photos[0])["person_id"]
    path = server.service.settings.gallery
    assert path is not None
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        for answer in (
            client.post(PEOPLE, data={"name": "Bob"}, files=sent(photos[1])),
            client.patch(f"{PEOPLE}/{person}", json={"name": "Bob"}),
            client.delete(f"{PEOPLE}/{person}"),
        ):
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) >= 1
            assert answer.json()["error"]["what"] == "another process is writing"
        assert client.get(PEOPLE).status_code == 200
        assert client.get(f"{PEOPLE}/{person}/thumbnail").status_code == 200
    finally:
        other.execute("ROLLBACK")
        other.close()
    assert everyone(path) == [("Ann", 1, 1)]
    assert enrolled(client, "Bob", photos[1])["faces"]


def test_the_same_picture_at_the_same_time(photos: list[Path], server: Running) -> None:
    """Two requests examine it; it is stored once, and known to the other."""
    answers: list[dict[str, Any]] = []

    def ask() -> None:
        with server.client() as client:
            answers.append(enrolled(client, "Ann", *photos))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(number for answer in answers for number in answer["faces"]) == [1, 2, 3]
    assert sum(len(answer["known"]) for answer in answers) == 6
    assert {answer["person_id"] for answer in answers} == {1}
    assert everyone(server.service.settings.gallery or Path()) == [("Ann", 3, 3)]


def test_a_full_disk(client: httpx.Client, photos: list[Path], server: Running) -> None:
    """SQLite's own limit of pages gives the error of a full disk."""
    enrolled(client, "Ann", photos[0])
    path = server.service.settings.gallery
    assert path is not None
    with server.service.gallery() as gallery:
        pages = gallery.database.value("PRAGMA page_count")
        gallery.database.run(f"PRAGMA max_page_count = {pages}")
    answer = client.post(PEOPLE, data={"name": "Bob"}, files=sent(*photos[1:]))
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert answer.json()["error"]["code"] == "storage"
    assert str(path.parent) not in answer.text
    assert everyone(path) == [("Ann", 1, 1)]
    with server.service.gallery() as gallery:
        gallery.check()
        gallery.database.run("PRAGMA max_page_count = 1000000")
    assert len(enrolled(client, "Bob", *photos[1:])["faces"]) == 2


def test_without_a_gallery() -> None:
    with serving() as server, server.client() as client:
        answer = client.get(PEOPLE)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "no_gallery")


def test_every_answer_is_documented(client: httpx.Client) -> None:
    paths = client.get("/api/v1/openapi.json").json()["paths"]
    found = {path: item for path, item in paths.items() if path.startswith(PEOPLE)}
    assert len(found) == 7
    for path, item in found.items():
        for method, operation in item.items():
            good = next(code for code in operation["responses"] if code.startswith("2"))
            (content,) = operation["responses"][good]["content"].items()
            assert content == ("image/jpeg", {}) or "$ref" in content[1]["schema"], (path, method)
            assert {"401", "404", "503"} <= set(operation["responses"])

"""Exports galleries as JSON or ``.npz``, and imports them.

The JSON form contains everything::

    {"schema": 1, "stamp": {"model": …, "size": …, …},
     "people": [{"name": …, "created": …,
                 "faces": [{"uid": …, "embedding": […], "source": …, "bbox": […], "kps": {…},
                            "quality": {…}, "crop": "base64 of a JPEG", …}]}]}

The ``.npz`` form is that of `mobileface.EmbeddingSet` with the additional arrays ``names`` (N,) and
``uids`` (N,), for programs that need the matrix. It does not contain crops, landmarks and quality
values.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import shortest
from ..errors import GalleryError, InputError
from ..host.array_files import load_arrays
from ..host.files import reason, replacing
from ..host.outputs import check_outputs, written_through
from ..matching.embeddings import EmbeddingSet
from .enclosing import decode
from .entries import NewFace, check_embedding, check_name
from .erasing import own_files
from .gallery import Gallery
from .stamp import Stamp

__all__ = ["Imported", "export_gallery", "import_faces", "read_stamp"]

_SCHEMA = 1
_TEXTS = ("uid", "source", "source_sha256", "created")
_JSON_FIELDS = (*_TEXTS, "bbox", "det_score", "kps", "quality", "crop_bbox", "crop_kps")


@dataclass(frozen=True, slots=True)
class Imported:
    """The result of an import.

    Attributes:
        people: Number of people to whom faces were added.
        faces: Number of added faces.
        known: Number of faces that were already enrolled.
    """

    people: int
    faces: int
    known: int


def export_gallery(gallery: Gallery, path: str | Path, *, crops: bool = True) -> int:
    """Writes all people and faces to a file.

    Args:
        gallery: The gallery.
        path: The file; its suffix, .json or .npz, selects the form.
        crops: Include the face crops (JSON form only).

    Returns:
        Number of faces written.

    Raises:
        InputError: If the suffix is neither .json nor .npz (a pipe or device without one is sent
            JSON), or if ``path`` is the gallery itself.
        OutputError: If the file cannot be written.
        GalleryError: If a face is damaged.
    """
    path = Path(path)
    forms = {".json": _export_json, ".npz": _export_npz}
    suffix = ".json" if not path.suffix and written_through(path) else path.suffix
    if suffix not in forms:
        raise InputError(f"'{path}' must end in .json or .npz")
    check_outputs([path], own_files(gallery.path))
    with gallery.database.read():
        return forms[suffix](gallery, path, crops)


def import_faces(gallery: Gallery, path: str | Path, *, merge: bool = False) -> Imported:
    """Imports people and faces from an exported file: all of them, or none on an error.

    Faces whose uid is already enrolled are skipped, so importing a file twice changes nothing.

    Args:
        gallery: The gallery.
        path: A .json or .npz file written by `export_gallery`.
        merge: Add new faces to the enrolled person of the same name. By default this is an error,
            because two people may have the same name.

    Raises:
        InputError: If the file cannot be read or is not an exported gallery, if it belongs to
            another model, or if a name or an embedding is invalid. Also, without ``merge``, if a
            name is already enrolled with other faces.
        OutputError: If the gallery cannot be written.
    """
    path = Path(path)
    where = str(path)
    if path.suffix == ".npz":
        model, people = _read_npz(path)
    else:
        document = _read_json(path)
        model = read_stamp(document, where).model
        people = {}
        for number, person in enumerate(_list(document, "people", where)):
            place = f"{where}, people[{number}]"
            name = check_name(_field(person, "name", str, place))
            if name in people:
                raise InputError(f"'{name}' is listed twice", where=place)
            faces = _list(person, "faces", place)
            people[name] = [_face(face, f"{place}, faces[{i}]") for i, face in enumerate(faces)]
    gallery.stamp.require(model, where)
    return _store(gallery, people, merge, where)


def read_stamp(document: Any, where: str) -> Stamp:
    """Reads the stamp of an exported gallery.

    Raises:
        InputError: If the stamp is missing or invalid.
    """
    try:
        return Stamp.from_dict(_field(document, "stamp", dict, where), where)
    except GalleryError as error:
        raise InputError(error.what, where=where) from error


def _store(gallery: Gallery, people: dict[str, list[NewFace]], merge: bool, where: str) -> Imported:
    names = faces = known = 0
    with gallery.database.write():
        for name, listed in people.items():
            for face in listed:
                check_embedding(face.embedding, gallery.stamp.size, f"{where}, '{name}'")
            enrolled = {
                uid
                for (uid,) in gallery.database.rows(
                    "SELECT uid FROM face JOIN person ON person.id = person WHERE name = ?", (name,)
                )
            }
            query = "SELECT 1 FROM face WHERE uid = ?"
            fresh = [
                face for face in listed if not gallery.database.value(query, (face.uid or None,))
            ]
            known += len(listed) - len(fresh)
            if fresh and enrolled and not merge:
                raise InputError(
                    f"'{name}' is already enrolled with other faces",
                    where=where,
                    hint="merge if it is the same person, otherwise rename one of them first",
                )
            if fresh:
                names, faces = names + 1, faces + len(gallery.add(name, fresh))
    return Imported(names, faces, known)


def _export_json(gallery: Gallery, path: Path, crops: bool) -> int:
    count = 0
    with replacing(path, private=True) as temporary, temporary.open("w", encoding="ascii") as out:
        stamp = json.dumps(gallery.stamp.to_dict(), allow_nan=False)
        out.write(f'{{"schema": {_SCHEMA}, "stamp": {stamp}, "people": [')
        for number, person in enumerate(gallery.people()):
            head = json.dumps({"name": person.name, "created": person.created})
            out.write(("," if number else "") + f'\n{head[:-1]}, "faces": [')
            for place, record in enumerate(gallery.faces(person.name)):
                text = json.dumps(_record(record.face, crops), allow_nan=False)
                out.write(("," if place else "") + f"\n  {text}")
                count += 1
            out.write("]}")
        out.write("\n]}\n")
    return count


def _record(face: NewFace, crops: bool) -> dict[str, Any]:
    values = {name: getattr(face, name) for name in _JSON_FIELDS}
    if crops and face.crop is not None:
        values["crop"] = base64.b64encode(face.crop).decode("ascii")
    else:
        values["crop_bbox"] = values["crop_kps"] = None
    kept = {name: value for name, value in values.items() if value is not None}
    return {**kept, "embedding": shortest(face.embedding)}


def _export_npz(gallery: Gallery, path: Path, crops: bool) -> int:
    del crops
    names: list[str] = []
    uids: list[str] = []
    files: list[str] = []
    blobs: list[bytes] = []
    query = (
        "SELECT face.id, person, embedding, face.checksum, name, uid, source "
        "FROM face JOIN person ON person.id = person ORDER BY face.id"
    )
    for row in gallery.database.rows(query):
        name, uid, source = row[4:]
        names.append(name)
        uids.append(uid)
        files.append(source or "")
        blobs.append(gallery.rows.vector(row, f"{gallery.path}, face {row[0]}").tobytes())
    vectors = np.frombuffer(b"".join(blobs), np.float32).reshape(-1, gallery.stamp.size)
    more = {"names": np.array(names, np.str_), "uids": np.array(uids, np.str_)}
    EmbeddingSet(gallery.stamp.model, vectors, tuple(files)).save(path, private=True, **more)
    return len(names)


def _read_npz(path: Path) -> tuple[str, dict[str, list[NewFace]]]:
    """Reads the .npz form: the model, and the faces by name."""
    arrays = load_arrays(path, "an embeddings file")
    found = EmbeddingSet.from_arrays(arrays, path)
    more = {name: arrays[name] for name in ("names", "uids") if name in arrays}
    if "names" not in more or any(array.shape != (len(found),) for array in more.values()):
        raise InputError("'names' or 'uids' is missing or has the wrong shape", where=str(path))
    uids = more.get("uids", np.full(len(found), ""))
    people: dict[str, list[NewFace]] = {}
    for name, uid, file, vector in zip(
        more["names"], uids, found.files, found.embeddings, strict=True
    ):
        face = NewFace(vector, source=file or None, uid=str(uid))
        people.setdefault(check_name(str(name)), []).append(face)
    return found.model, people


def _read_json(path: Path) -> Any:
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"not an exported gallery ({reason(error)})", where=str(path)) from error
    schema = document.get("schema") if isinstance(document, dict) else None
    if type(schema) is not int or schema < 1:
        raise InputError("not an exported gallery: 'schema' is missing", where=str(path))
    if schema > _SCHEMA:
        raise InputError(
            f"schema {schema} is newer than {_SCHEMA}", where=str(path), hint="upgrade mobileface"
        )
    return document


def _face(data: Any, where: str) -> NewFace:
    """Reads one face and checks each field."""
    vector = np.array(_numbers(_list(data, "embedding", where), f"{where}, embedding"), np.float32)
    values: dict[str, Any] = {}
    for name in _TEXTS:
        if data.get(name) is not None:
            values[name] = _field(data, name, str, where)
    for name in ("bbox", "crop_bbox"):
        if data.get(name) is not None:
            values[name] = _numbers(_list(data, name, where), f"{where}, {name}", 4)
    if data.get("det_score") is not None:
        values["det_score"] = _numbers([data["det_score"]], f"{where}, det_score")[0]
    for name in ("kps", "crop_kps"):
        if data.get(name) is not None:
            points = _field(data, name, dict, where)
            values[name] = {
                str(key): _numbers(point, f"{where}, {name}", 2) for key, point in points.items()
            }
    if data.get("quality") is not None:
        measured = _field(data, "quality", dict, where)
        values["quality"] = {
            str(key): _numbers([value], f"{where}, quality")[0] for key, value in measured.items()
        }
    if data.get("crop") is not None:
        values["crop"] = _crop(_field(data, "crop", str, where), f"{where}, crop")
    return NewFace(vector, **values)


def _crop(text: str, where: str) -> bytes:
    try:
        content = base64.b64decode(text, validate=True)
        decode(content, where)
    except (binascii.Error, ValueError, GalleryError) as error:
        raise InputError("not an image in base64", where=where) from error
    return content


def _numbers(values: Any, where: str, count: int | None = None) -> tuple[float, ...]:
    """Checks that ``values`` is a list of finite numbers."""
    if not isinstance(values, list | tuple) or (count is not None and len(values) != count):
        wanted = "numbers" if count is None else f"{count} numbers"
        raise InputError(f"not a list of {wanted}", where=where)
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(f"{value!r} is not a number", where=where)
        if not abs(value) < 1e30:  # false for nan
            raise InputError(f"{value} is not finite", where=where)
    return tuple(float(value) for value in values)


def _field(data: Any, name: str, kind: type, where: str) -> Any:
    if not isinstance(data, dict) or not isinstance(data.get(name), kind):
        raise InputError(f"'{name}' is missing or not a {kind.__name__}", where=where)
    return data[name]


def _list(data: Any, name: str, where: str) -> Iterator[Any]:
    found: Iterator[Any] = _field(data, name, list, where)
    return found

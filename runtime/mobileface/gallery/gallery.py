"""A gallery: one file that holds people, their faces, and what made the embeddings."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from ..errors import GalleryError, InputError
from ..host.files import replacing
from ..matching.calibration import Calibration
from ..types import FloatArray
from .database import Database
from .engine import SearchEngine
from .entries import (
    FaceRecord,
    Identification,
    NewFace,
    Person,
    Removal,
    check_embedding,
    check_name,
)
from .erasing import derived_files, erase
from .matrix import FaceMatrix
from .rows import FaceRows
from .schema import check_model, check_schema, create_schema
from .search import Searcher, Templates
from .stamp import COLUMNS, Stamp, new_uid, now

__all__ = ["Gallery"]


class Gallery:
    """People and their faces, in one SQLite file that knows what made it.

    Make one with `create`, open one with `open`; close it, or use it in a ``with`` statement. Any
    number of processes may read while one writes; a second writer waits. An object may be used by
    several threads, one after the other.

    Attributes:
        path: The file.
        stamp: What made the embeddings.

    Example:
        >>> with Gallery.open("people.gallery") as gallery:      # doctest: +SKIP
        ...     found = gallery.search(embedder.embed(crop))[0]
        ...     print(found.name, found.best.similarity)
    """

    def __init__(self, database: Database) -> None:
        """Use `open` or `create`."""
        self.path = database.path
        self.database = database
        check_schema(database)
        self.reload()

    def reload(self) -> None:
        """Reads the stamp again, after it was changed.

        Raises:
            GalleryError: It is damaged.
        """
        row = self.database.row(f"SELECT {', '.join(COLUMNS)} FROM stamp")
        if row is None or self.database.value("SELECT count(*) FROM state") != 1:
            raise GalleryError("damaged: it has no stamp", where=str(self.path))
        self.stamp = Stamp.from_row(row, str(self.path))
        self.rows = FaceRows(self.database, self.stamp)
        self._searcher = Searcher(self.database, self.stamp)

    @classmethod
    def create(cls, path: str | Path, stamp: Stamp, *, key: str | None = None) -> Gallery:
        """Makes an empty gallery and opens it.

        Args:
            path: The new file.
            stamp: What will make the embeddings; see `Stamp.of`.
            key: Passphrase: the file is encrypted by SQLCipher (extra ``[encryption]``).

        Raises:
            InputError: The file is there already, or the key needs a package that is absent.
            OutputError: It cannot be written.
        """
        path = Path(path)
        if path.exists():
            raise InputError("is there already", where=str(path), hint="remove it, or take another")
        with replacing(path, private=True) as temporary:
            database = Database(temporary, create=True, key=key)
            try:
                database.value("PRAGMA journal_mode = WAL")
                with database.write():
                    create_schema(database)
                    marks = ", ".join("?" * len(COLUMNS))
                    columns = ", ".join(COLUMNS)
                    sql = f"INSERT INTO stamp (id, {columns}) VALUES (1, {marks})"
                    database.run(sql, stamp.to_row())
                    database.run("INSERT INTO state VALUES (1, ?)", (new_uid(),))
            finally:
                database.close()
        return cls.open(path, key=key)

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        model: str | None = None,
        timeout: float = 10.0,
        key: str | None = None,
    ) -> Gallery:
        """Opens a gallery.

        Args:
            path: The file.
            model: `Embedder.identity` of the model that it will be used with.
            timeout: Seconds to wait for another process that writes.
            key: Passphrase of an encrypted gallery.

        Raises:
            GalleryError: Absent, damaged, no gallery, or of a newer version.
            InputError: It holds embeddings of another model; names both.
        """
        database = Database(Path(path), timeout=timeout, key=key)
        try:
            gallery = cls(database)
            if model is not None:
                gallery.stamp.require(model, str(path))
        except BaseException:
            database.close()
            raise
        return gallery

    def close(self) -> None:
        """Ends the connection."""
        self.database.close()

    def __enter__(self) -> Gallery:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __len__(self) -> int:
        """How many people."""
        return int(self.database.value("SELECT count(*) FROM person"))

    def people(self) -> list[Person]:
        """Everybody who is enrolled, by name."""
        query = (
            "SELECT person.id, name, count(face.id), person.created FROM person "
            "LEFT JOIN face ON face.person = person.id GROUP BY person.id ORDER BY name"
        )
        return [Person(*row) for row in self.database.rows(query)]

    def faces(self, name: str) -> Iterator[FaceRecord]:
        """The faces of one person, in the order of enrolment.

        Raises:
            InputError: There is nobody of that name.
        """
        person = self._person(name)
        return self.rows.of_person(person)

    def add(self, name: str, faces: Sequence[NewFace]) -> list[int]:
        """Adds faces to a person, who is enrolled if not known yet: all of them, or none.

        Args:
            name: Who.
            faces: At least one; one whose uid is known already is left out.

        Returns:
            Their numbers. What is returned is on the disk.

        Raises:
            InputError: A name or an embedding that cannot be.
            OutputError: The disk is full or read-only.
            GalleryError: Another process keeps writing.
        """
        name = check_name(name)
        if not faces:
            raise InputError("no faces to add", where=name)
        vectors = [check_embedding(face.embedding, self.stamp.size, name) for face in faces]
        with self.database.write():
            check_model(self.database, self.stamp.model)
            person = self.database.value("SELECT id FROM person WHERE name = ?", (name,))
            if person is None:
                sql = "INSERT INTO person (name, created) VALUES (?, ?)"
                person = self.database.insert(sql, (name, now()))
            added = [
                self.rows.insert(person, face, vector)
                for face, vector in zip(faces, vectors, strict=True)
            ]
        return [number for number in added if number is not None]

    def rename(self, old: str, new: str) -> None:
        """Gives a person another name.

        Raises:
            InputError: There is nobody of the old name, or somebody of the new one.
        """
        new = check_name(new)
        with self.database.write():
            person = self._person(old)
            other = self.database.value("SELECT id FROM person WHERE name = ?", (new,))
            if other is not None and other != person:
                raise InputError(f"'{new}' is enrolled already", where=str(self.path))
            self.database.run("UPDATE person SET name = ? WHERE id = ?", (new, person))
        self._scrub()

    def remove(self, name: str, *, faces: Sequence[int] | None = None) -> Removal:
        """Removes a person, or some faces of one, from every file of the gallery.

        Args:
            name: Who.
            faces: Numbers of faces; None: the person with all of them.

        Raises:
            InputError: There is nobody of that name, or the person has no such face.
        """
        where = "person = ?"
        with self.database.write():
            person = self._person(name)
            known = dict(
                self.database.rows(f"SELECT id, embedding FROM face WHERE {where}", (person,))
            )
            chosen = list(known) if faces is None else list(faces)
            for number in chosen:
                if number not in known:
                    raise InputError(f"'{name}' has no face {number}", where=str(self.path))
                self.database.run("DELETE FROM face WHERE id = ?", (number,))
            if faces is None:
                self.database.run("DELETE FROM person WHERE id = ?", (person,))
            self.database.run("UPDATE state SET epoch = ?", (new_uid(),))
        blobs = [known[number] for number in chosen]
        halves = [self.rows.vector(blob, "").astype(np.float16).tobytes() for blob in blobs]
        for path in derived_files(self.path):
            erase(path, [*blobs, *halves])
        return Removal(len(chosen), self._scrub())

    def search(
        self,
        embeddings: FloatArray,
        *,
        top: int = 5,
        threshold: float | None = None,
        fmr: float | None = None,
        fpir: float | None = None,
        templates: Templates = "best",
        engine: SearchEngine | None = None,
    ) -> list[Identification]:
        """Finds the most similar people.

        Args:
            embeddings: float32 (Q, D) or (D,), of the gallery's model.
            top: People for each.
            threshold: Least cosine that is accepted.
            fmr: Instead: accept what has at most this false match rate, by the calibration.
            fpir: Instead: accept what has at most this false positive identification rate in a
                gallery of this size, by the calibration.
            templates: A person is as similar as the best of the faces ("best") or as their mean
                ("mean").
            engine: How candidates are found; None: exactly.

        Returns:
            One result for each embedding.

        Raises:
            InputError: Embeddings of another length or not finite, options out of range, or a rate
                without a calibration or lower than it can support.
            GalleryError: The gallery is damaged.
        """
        return self._searcher.search(
            embeddings,
            top=top,
            threshold=threshold,
            rates={"fmr": fmr, "fpir": fpir},
            templates=templates,
            engine=engine,
        )

    def refreshed_matrix(self) -> FaceMatrix:
        """All embeddings as they are now; they stay so until the next search."""
        with self.database.read():
            self._searcher.matrix.refresh()
        return self._searcher.matrix

    def set_calibration(self, calibration: Calibration) -> None:
        """Says what similarities of the gallery's model mean.

        Raises:
            InputError: It is another model's; names both.
        """
        self.stamp.require(calibration.model, str(self.path))
        text = json.dumps(calibration.to_dict(), allow_nan=False)
        self.database.run("UPDATE stamp SET calibration = ?", (text,))
        self.reload()

    def stats(self) -> dict[str, Any]:
        """Numbers for people: how many people, faces, crops and bytes."""
        with self.database.read():
            people, faces, crops = (
                int(self.database.value(f"SELECT count(*) FROM {table}"))
                for table in ("person", "face", "crop")
            )
            query = "SELECT max(n) FROM (SELECT count(*) AS n FROM face GROUP BY person)"
            most = self.database.value(query) or 0
        derived = derived_files(self.path)
        return {
            "people": people,
            "faces": faces,
            "most_faces": int(most),
            "crops": crops,
            "bytes": self.path.stat().st_size,
            "derived_bytes": sum(path.stat().st_size for path in derived if path.exists()),
            "encrypted": self.database.encrypted,
        }

    def check(self) -> None:
        """Reads everything and compares.

        Raises:
            GalleryError: Something is damaged; says what.
        """
        where = str(self.path)
        found = str(self.database.value("PRAGMA integrity_check"))
        if found != "ok":
            raise GalleryError(f"damaged: {found}", where=where, hint="go back to a backup of it")
        lost = self.database.row("PRAGMA foreign_key_check")
        if lost is not None:
            raise GalleryError(f"damaged: a row of '{lost[0]}' belongs to nothing", where=where)
        for number, blob in self.database.rows("SELECT id, embedding FROM face"):
            vector = self.rows.vector(blob, f"{where}, face {number}")
            if abs(float(np.linalg.norm(vector)) - 1) > 1e-2:  # false for nan
                raise GalleryError(f"damaged: face {number} has no unit length", where=where)

    def _scrub(self) -> bool:
        """Writes the log back and empties it, so that nothing old is left in it."""
        return self.database.empty_log()

    def _person(self, name: str) -> int:
        number = self.database.value("SELECT id FROM person WHERE name = ?", (check_name(name),))
        if number is None:
            raise InputError(f"nobody called '{name}' is enrolled", where=str(self.path))
        return int(number)

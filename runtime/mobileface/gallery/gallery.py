"""`Gallery`: people and their faces in one file, with the model that computed the embeddings."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from ..errors import GalleryError, InputError
from ..host.files import replacing
from ..host.outputs import final_place
from ..matching.calibration import Calibration
from ..matching.decisions import DecisionRule
from ..types import FloatArray
from .database import Database
from .engine import SearchEngine
from .entries import (
    FaceRecord,
    Identification,
    MergedPerson,
    Merger,
    NewFace,
    Person,
    Removal,
    check_embedding,
    check_name,
)
from .erasing import derived_files, erase, require_absent, without_logs
from .matrix import FaceMatrix
from .merging import merge_people, merged_people
from .overview import check_file, count_all
from .person_rows import PersonRows
from .removal import remove_faces
from .rows import FaceRows
from .schema import (
    check_model,
    check_schema,
    create_schema,
    insert_stamp,
    seal_stamp,
    stamp_is_sealed,
)
from .search import Searcher, Templates
from .stamp import COLUMNS, Stamp, new_uid

__all__ = ["Gallery"]


class Gallery:
    """People and their faces, in one SQLite file with a model stamp.

    Use `create` for a new gallery and `open` for an existing one; close it, or use it in a ``with``
    statement. Any number of processes may read while one writes; a second writer waits. Several
    threads may use an object, one at a time.

    Attributes:
        path: The file.
        stamp: The model stamp: which model computed the embeddings, and how.

    Example:
        >>> with Gallery.open("people.gallery") as gallery:      # doctest: +SKIP
        ...     found = gallery.search(embedder.embed(crop))[0]
        ...     print(found.name, found.best.similarity)
    """

    def __init__(self, database: Database) -> None:
        """Internal; use `open` or `create`."""
        self.path = database.path
        self.database = database
        check_schema(database)
        self.reload()

    def reload(self) -> None:
        """Reads the stamp again after it has changed.

        Raises:
            GalleryError: If the stamp is missing or corrupt.
        """
        row = self.database.row(f"SELECT {', '.join(COLUMNS)} FROM stamp")
        if row is None or self.database.value("SELECT count(*) FROM state") != 1:
            raise GalleryError("corrupt: it has no stamp", where=str(self.path))
        self.stamp = Stamp.from_row(row, str(self.path))
        if not stamp_is_sealed(self.database):
            hint = "restore it from a backup"
            text = "corrupt: the checksum of its stamp is wrong"
            raise GalleryError(text, where=str(self.path), hint=hint)
        self._persons = PersonRows(self.database)
        self.rows = FaceRows(self.database, self.stamp)
        self._searcher = Searcher(self.database, self.stamp)

    @classmethod
    def create(cls, path: str | Path, stamp: Stamp, *, key: str | None = None) -> Gallery:
        """Creates an empty gallery and opens it.

        Args:
            path: The new file.
            stamp: The model stamp; see `Stamp.of`.
            key: Passphrase; if given, the file is encrypted with SQLCipher (extra
                ``[encryption]``).

        Raises:
            InputError: If the file exists, if a log of SQLite lies beside it (files derived from
                an earlier gallery are removed), or if a key is given and SQLCipher's package is
                not installed.
            OutputError: If the file cannot be written.
        """
        path = Path(path)
        require_absent(path)
        for left in derived_files(final_place(path)):  # of a gallery that was deleted
            erase(left)
        with replacing(path, private=True, absent=True) as temporary, without_logs(temporary):
            database = Database(temporary, create=True, key=key)
            try:
                database.value("PRAGMA journal_mode = WAL")
                with database.write():
                    create_schema(database)
                    insert_stamp(database, COLUMNS, stamp.to_row(), new_uid())
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
            model: `Embedder.identity` of the model to use the gallery with; None skips the check.
            timeout: Seconds to wait for another process that is writing.
            key: Passphrase of an encrypted gallery.

        Raises:
            GalleryError: If the file does not exist, is corrupt, is not a gallery, or was written
                by a newer version.
            InputError: If the gallery belongs to another model; the error names both models.
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
        """Closes the connection."""
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
        """Number of enrolled people."""
        return int(self.database.value("SELECT count(*) FROM person"))

    def people(self) -> list[Person]:
        """All enrolled people, sorted by name.

        Raises:
            GalleryError: If a row is damaged.
        """
        return self._persons.all()

    def last_person_id(self) -> int:
        """The highest ID that a person ever had; 0 if nobody was enrolled yet."""
        return self._persons.last_id()

    def merged_people(self) -> dict[int, MergedPerson]:
        """People who were merged into others who are still enrolled, by their IDs.

        Raises:
            GalleryError: If a row is damaged.
        """
        return merged_people(self.database)

    def find(self, person: int | str) -> Person | None:
        """The person with an ID or a name; None if there is none.

        Raises:
            InputError: If the name is invalid.
            GalleryError: If the row is damaged.
        """
        return self._persons.find(person)

    def faces(self, name: str) -> Iterator[FaceRecord]:
        """The faces of one person, in the order of enrolment.

        Raises:
            InputError: If no person of that name is enrolled.
        """
        return self.rows.of_person(self._persons.require(name))

    def add_person(self, name: str) -> bool:
        """Adds a person without faces, whom no search can find yet; False if the name is enrolled.

        Raises:
            InputError: If the name is invalid.
            OutputError: If the disk is full or read-only.
            GalleryError: If another process does not finish writing within the timeout.
        """
        name = check_name(name)
        with self.database.write():
            return self._persons.ensure(name)[1]

    def add(self, name: str, faces: Sequence[NewFace]) -> list[int]:
        """Adds faces to a person, creating the person if needed: all faces, or none on an error.

        Args:
            name: Name of the person.
            faces: One or more faces; those whose uid is already enrolled are skipped.

        Returns:
            IDs of the added faces, which are stored on disk at this point.

        Raises:
            InputError: If ``faces`` is empty, or if the name or an embedding is invalid.
            OutputError: If the disk is full or read-only.
            GalleryError: If another process does not finish writing within the timeout, or if
                another process has migrated the gallery to another model.
        """
        name = check_name(name)
        if not faces:
            raise InputError("no faces to add", where=name)
        vectors = [check_embedding(face.embedding, self.stamp.size, name) for face in faces]
        with self.database.write():
            check_model(self.database, self.stamp.model)
            person, _ = self._persons.ensure(name)
            found = [
                self.rows.insert(person, face, vector)
                for face, vector in zip(faces, vectors, strict=True)
            ]
            added = [number for number in found if number is not None]
            self.database.run("UPDATE state SET faces = faces + ?", (len(added),))
        return added

    def rename(self, old: str, new: str) -> None:
        """Renames a person.

        Raises:
            InputError: If no person is enrolled under the old name, or another person is enrolled
                under the new one.
        """
        new = check_name(new)
        with self.database.write():
            self._persons.rename(old, new)
        self.database.empty_log()  # it contains the old name

    def remove(self, name: str, *, faces: Sequence[int] | None = None) -> Removal:
        """Removes a person, or some of a person's faces, from all files of the gallery.

        Args:
            name: Name of the person.
            faces: IDs of the faces to remove; None removes the person and all faces.

        Raises:
            InputError: If no person of that name is enrolled, or the person has no such face.
            OutputError: If a file that contains the data cannot be erased; nothing is removed then.
        """
        with self.database.write():
            removal = remove_faces(
                self.database, self.rows, self._persons.require(name), name, faces
            )
        return dataclasses.replace(removal, erased=self.database.empty_log())

    def merge(self, name: str, into: str) -> Merger:
        """Moves all faces of a person to another person, and erases the first as `remove` does.

        Faces of files that are enrolled for both are kept once.

        Raises:
            InputError: If one of them is not enrolled, or both are the same person.
            OutputError: If a file with a face that is not kept cannot be erased, or the disk is
                full or read-only; nothing is changed then.
            GalleryError: If another process does not finish writing within the timeout.
        """
        with self.database.write():
            people = ((self._persons.require(name), name), (self._persons.require(into), into))
            merger = merge_people(self.database, self.rows, *people)
        return dataclasses.replace(merger, erased=self.database.empty_log())

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
        """Finds the most similar people for each embedding.

        Pass only one of ``threshold``, ``fmr`` and ``fpir``; without them, the calibrated default
        of the model holds (see `mobileface.matching.decisions`). Without a calibration and a
        threshold, no match is accepted; the most similar people are listed all the same.

        Args:
            embeddings: float32 (Q, D) or (D,), of the gallery's model.
            top: Maximum number of people per embedding.
            threshold: Similarity (cosine) at or above which a match is accepted.
            fmr: Accept matches whose false match rate is at most this, by the calibration.
            fpir: Accept matches whose false positive identification rate in a gallery of this size
                is at most this, by the calibration.
            templates: Compare with the most similar face of each person ("best") or with the mean
                of each person's embeddings ("mean").
            engine: The search engine; None uses the exact search.

        Returns:
            One result per embedding.

        Raises:
            InputError: If an embedding has the wrong shape or is not finite, an option is out of
                range, or a rate is given and the gallery has no calibration or one that does not
                support it.
            GalleryError: If the gallery is corrupt.
        """
        return self._searcher.search(
            embeddings,
            top=top,
            threshold=threshold,
            rates={"fmr": fmr, "fpir": fpir},
            templates=templates,
            engine=engine,
        )

    def decision_rule(
        self,
        *,
        threshold: float | None = None,
        fmr: float | None = None,
        fpir: float | None = None,
        templates: Templates = "best",
    ) -> DecisionRule | None:
        """The rule that `search` uses with these arguments; None if it accepts no match.

        Raises:
            InputError: As for `search`.
        """
        rates = {"fmr": fmr, "fpir": fpir}
        return self._searcher.rule(threshold=threshold, rates=rates, templates=templates)

    def refreshed_matrix(self) -> FaceMatrix:
        """All current embeddings; the matrix does not change until the next search."""
        with self.database.read():
            self._searcher.matrix.refresh()
        return self._searcher.matrix

    def set_calibration(self, calibration: Calibration) -> None:
        """Stores a calibration of the gallery's model, which maps similarities to error rates.

        Raises:
            InputError: If the calibration belongs to another model; the error names both models.
        """
        self.stamp.require(calibration.model, str(self.path))
        text = json.dumps(calibration.to_dict(), allow_nan=False)
        with self.database.write():
            self.database.run("UPDATE stamp SET calibration = ?", (text,))
            seal_stamp(self.database)
        self.reload()

    def stats(self) -> dict[str, Any]:
        """Statistics as JSON types: numbers of people, faces, crops and bytes."""
        return count_all(self.database)

    def check(self) -> None:
        """Checks the integrity of the file, its references and all rows.

        Raises:
            GalleryError: If something is corrupt; the error says what.
        """
        check_file(self.database)

"""Reads and writes the rows of people; the caller manages transactions."""

from __future__ import annotations

from ..errors import GalleryError, InputError
from .checksums import checksum
from .database import Database
from .entries import Person, check_name
from .stamp import now

__all__ = ["PersonRows"]


class PersonRows:
    """Reads and writes the people of one gallery, without their faces.

    Args:
        database: The gallery's database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self, where: str = "", *values: int | str) -> list[Person]:
        """People, sorted by name.

        Args:
            where: A condition in SQL, e.g. ``WHERE person.id = ?``.
            values: Its values.

        Raises:
            GalleryError: If a row is damaged.
        """
        query = (
            "SELECT person.id, name, count(face.id), person.created, person.checksum FROM person "
            f"LEFT JOIN face ON face.person = person.id {where} GROUP BY person.id ORDER BY name"
        )
        found = list(self._database.rows(query, values))
        for row in found:
            self._check(row[0], row[1], row[4])
        return [Person(*row[:4]) for row in found]

    def last_id(self) -> int:
        """The highest ID that was given so far; 0 before the first."""
        return int(
            self._database.value("SELECT max(seq) FROM sqlite_sequence WHERE name = 'person'") or 0
        )

    def find(self, person: int | str) -> Person | None:
        """The person with an ID or a name; None if there is none.

        Raises:
            InputError: If the name is invalid.
            GalleryError: If the row is damaged.
        """
        if isinstance(person, str):
            return next(iter(self.all("WHERE name = ?", check_name(person))), None)
        return next(iter(self.all("WHERE person.id = ?", person)), None)

    def require(self, name: str) -> int:
        """The ID of the person with a name.

        Raises:
            InputError: If no person of that name is enrolled.
            GalleryError: If the row is damaged.
        """
        query = "SELECT id, name, checksum FROM person WHERE name = ?"
        row = self._database.row(query, (check_name(name),))
        if row is None:
            where = str(self._database.path)
            raise InputError(f"no person named '{name}' is enrolled", where=where)
        self._check(*row)
        return int(row[0])

    def ensure(self, name: str) -> tuple[int, bool]:
        """The ID of the person with a name, who is added if needed; True if so.

        Args:
            name: The name, as `check_name` returns it.
        """
        person = self._database.value("SELECT id FROM person WHERE name = ?", (name,))
        if person is not None:
            return int(person), False
        sql = "INSERT INTO person (name, created) VALUES (?, ?)"
        person = self._database.insert(sql, (name, now()))
        self._seal(person, name)
        return person, True

    def rename(self, old: str, new: str) -> None:
        """Renames a person.

        Args:
            old: The name.
            new: The new name, as `check_name` returns it.

        Raises:
            InputError: If no person is enrolled under the old name, or another person is enrolled
                under the new one.
        """
        person = self.require(old)
        other = self._database.value("SELECT id FROM person WHERE name = ?", (new,))
        if other is not None and other != person:
            raise InputError(f"'{new}' is already enrolled", where=str(self._database.path))
        self._database.run("UPDATE person SET name = ? WHERE id = ?", (new, person))
        self._seal(person, new)

    def _check(self, person: int, name: str, stored: int) -> None:
        if stored != checksum(person, name):
            text = f"corrupt: the checksum of person {person}, '{name}', is wrong"
            where = str(self._database.path)
            raise GalleryError(text, where=where, hint="restore it from a backup")

    def _seal(self, person: int, name: str) -> None:
        sql = "UPDATE person SET checksum = ? WHERE id = ?"
        self._database.run(sql, (checksum(person, name), person))

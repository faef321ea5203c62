"""`EventPeople`: events keep in step with a gallery that other processes change.

Whoever is erased with ``mobileface gallery remove`` leaves the events too, whoever is renamed has
the new name there, and events of a person who was merged into another are the other's. A gallery
gives an ID once (SQLite's AUTOINCREMENT), so an ID up to the last one that is not there any more,
and was not merged, is a person who was erased.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections.abc import Mapping
from datetime import datetime, timezone
from time import monotonic

from ..errors import MobileFaceError
from ..gallery import Person
from .camera_events import CameraEvent
from .event_log import EventLog
from .votes import OpenGallery

__all__ = ["EventPeople"]

_log = logging.getLogger("mobileface.live")

_LOOK_SECONDS = 1.0
_SECOND_LOOK_SECONDS = 3.0
"""After a change, events are looked at once more: a camera learns of it within a second."""

_MOST_SHARE = 0.02
"""Most of the time that looks may take."""


class EventPeople:
    """Compares the events with the gallery at the start, and whenever another process changed it.

    Events of another gallery than the one at the last start keep their names, without IDs.

    Args:
        events: The events.
        gallery: Opens the gallery for one thread at a time.
    """

    def __init__(self, events: EventLog, gallery: OpenGallery) -> None:
        self._events, self._gallery = events, gallery
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._version: int | None = None
        self._again: float | None = None
        self._said = ""

    def start(self) -> None:
        """Looks once, and from then on in a thread."""
        self.look()
        self._thread = threading.Thread(target=self._run, name="mobileface-events", daemon=True)
        self._thread.start()

    def close(self, timeout: float = 1.0) -> None:
        """Ends the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout)

    def look(self) -> None:
        """Compares the events with the gallery if that was changed by others; logs what fails."""
        try:
            self._look()
            self._said = ""
        except MobileFaceError as error:
            if str(error) != self._said:
                _log.error("events are not compared with the gallery: %s", error)
            self._said = str(error)

    def _run(self) -> None:
        wait = _LOOK_SECONDS
        while not self._stop.wait(wait):
            start = monotonic()
            self.look()
            wait = max(_LOOK_SECONDS, (monotonic() - start) / _MOST_SHARE)

    def _look(self) -> None:
        with self._gallery() as gallery:
            version = int(gallery.database.value("PRAGMA data_version"))  # of others' writes
            due = self._again is not None and monotonic() >= self._again
            if version == self._version and not due:
                return
            with gallery.database.read():
                last = gallery.last_person_id()
                people = {person.person_id: person for person in gallery.people()}
                merged = gallery.merged_people().values()
        for one in merged:  # found under both IDs, but there only since the first was created
            if (into := people.get(one.into)) is not None:
                people[one.person_id] = dataclasses.replace(into, created=one.created)
        if self._version is None:
            self._events.belong_to(gallery.stamp.gallery)
        self._events.change(lambda event: _as_in_gallery(event, people, last))
        changed = version != self._version
        self._version = version
        self._again = monotonic() + _SECOND_LOOK_SECONDS if changed else None


def _as_in_gallery(
    event: CameraEvent, people: Mapping[int, Person], last: int
) -> CameraEvent | None:
    """An event with its person's name in the gallery; None if they were erased."""
    if event.person_id is None or event.person_id > last:  # later than ``people`` were read
        return event
    person = people.get(event.person_id)
    if person is None:
        return None
    # After a backup was restored, an ID may be given again, to a person who was not there then.
    known = (person.person_id, person.name) == (event.person_id, event.name)
    if known or _seconds(person.created) > event.seconds_since_1970:
        return event
    return dataclasses.replace(event, name=person.name, person_id=person.person_id)


def _seconds(text: str) -> float:
    """Seconds since 1970 of a time of the gallery."""
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()

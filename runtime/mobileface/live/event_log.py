"""`EventLog`: the events of all cameras, in memory and in files, and who is told of them."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import sys
import threading
from collections import deque
from collections.abc import Callable

from ..errors import MobileFaceError
from .camera_events import CameraEvent, EventType, day_of, is_event_id, make_event_id
from .clock import SYSTEM_CLOCK, Clock
from .event_files import EventFiles, Kind
from .live_options import EventOptions
from .subscription import QUEUE, Subscription

__all__ = ["EventLog"]

_log = logging.getLogger("mobileface.live")

_IN_MEMORY = 10_000
"""Events that `EventLog.recent` goes back."""

_PICTURES_IN_MEMORY = 50
"""Events whose pictures are kept without a folder."""

_DAY_SECONDS = 86_400.0


class EventLog:
    """Keeps events and tells subscribers. Threads may share it.

    With a folder, the events of the days that are kept are read again at the start. What cannot be
    written is said once; subscribers get the event all the same.

    Args:
        options: What becomes of events.
        clock: The time to go by.

    Attributes:
        clock: The time to go by.

    Raises:
        OutputError: If the folder cannot be written.
    """

    def __init__(self, options: EventOptions, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._options, self.clock = options, clock
        self._memory, self._disk = threading.Lock(), threading.RLock()
        self._events: deque[CameraEvent] = deque(maxlen=_IN_MEMORY)
        self._pictures: dict[str, dict[Kind, bytes]] = {}
        self._subscribers: list[Subscription] = []
        self._listeners: list[Callable[[CameraEvent], None]] = []
        self._last_moment = 0
        self._full_said = False
        self._today = ""
        self._files = None if options.folder is None else EventFiles(options.folder)
        if self._files is not None:
            self._rotate()
            for day in self._files.days():
                self._events.extend(self._files.read(day))

    def new_id(self, camera: str, track_id: int) -> str:
        """An ID that is later than all before."""
        with self._memory:
            moment = max(round(self.clock.time() * 1e6), self._last_moment + 1)
            self._last_moment = moment
        return make_event_id(moment, camera, track_id)

    def add(self, event: CameraEvent, pictures: dict[Kind, bytes] | None = None) -> CameraEvent:
        """Keeps an event, with its pictures if the options say so, and tells all subscribers.

        Args:
            event: The event, with an ID of `new_id`.
            pictures: JPEG of the frame and of the face.

        Returns:
            The event, which says whether pictures are kept.
        """
        kept = self._keep_pictures(event, pictures or {})
        event = dataclasses.replace(event, snapshot=kept)
        if self._files is not None:
            try:
                with self._disk:
                    self._files.append(event)
                    self._full_said = self._full_said and not kept
            except MobileFaceError as error:
                self._say(error)
        if self._options.stdout:
            with contextlib.suppress(OSError, ValueError):
                print(event.to_json(), file=sys.stdout, flush=True)
        with self._memory:
            self._events.append(event)
            subscribers = list(self._subscribers)
        for subscriber in subscribers:
            subscriber.put(event)
        for listener in self._listeners:
            listener(event)
        if event.day != self._today:
            self._rotate()
        return event

    def recent(
        self,
        *,
        camera: str | None = None,
        type: EventType | None = None,  # noqa: A002  # the name of the field
        limit: int = 50,
        before: str | None = None,
        after: str | None = None,
    ) -> list[CameraEvent]:
        """The latest events, newest first.

        Args:
            camera: Only of this camera.
            type: Only of this type.
            limit: Most events.
            before: Only older than the event of this ID.
            after: Only newer than the event of this ID.
        """
        found: list[CameraEvent] = []
        with self._memory:
            events = list(self._events)
        for event in reversed(events):
            if len(found) >= limit or (after is not None and event.id <= after):
                break
            if (
                (camera is None or event.camera == camera)
                and (type is None or event.type == type)
                and (before is None or event.id < before)
            ):
                found.append(self._as_kept(event))
        return found

    def find(self, event_id: str) -> CameraEvent | None:
        """The event of an ID; None if there is none."""
        with self._memory:
            found = next((event for event in self._events if event.id == event_id), None)
        return None if found is None else self._as_kept(found)

    def subscribe(
        self, notify: Callable[[], None] | None = None, *, size: int = QUEUE
    ) -> Subscription:
        """The events from now on; see `Subscription`. End it with `unsubscribe`."""
        subscriber = Subscription(notify, size)
        with self._memory:
            self._subscribers.append(subscriber)
        return subscriber

    def listen(self, listener: Callable[[CameraEvent], None]) -> None:
        """Has a function called with each event, on the camera's thread; it must not block."""
        with self._memory:
            self._listeners.append(listener)

    def unsubscribe(self, subscriber: Subscription) -> None:
        """Ends a subscription."""
        with self._memory, contextlib.suppress(ValueError):
            self._subscribers.remove(subscriber)

    def snapshot(self, event_id: str) -> bytes | None:
        """JPEG of the event's frame, annotated; None if it is not kept."""
        return self._picture(event_id, "snapshot")

    def face(self, event_id: str) -> bytes | None:
        """JPEG of the event's face with its surroundings; None if it is not kept."""
        return self._picture(event_id, "face")

    def delete(self, event_id: str) -> bool:
        """Removes an event and its pictures; False if there is none.

        Raises:
            OutputError: If the file of its day cannot be written.
        """
        if not is_event_id(event_id):
            return False
        found = self.find(event_id) is not None
        self.change(lambda event: None if event.id == event_id else event, [event_id[:8]])
        return found

    def forget(self, name: str) -> None:
        """Removes all events of a person, and their pictures.

        Raises:
            OutputError: If a file cannot be written.
        """
        self.change(lambda event: None if event.name == name else event)

    def change(
        self,
        change: Callable[[CameraEvent], CameraEvent | None],
        days: list[str] | None = None,
    ) -> None:
        """Applies a change to all events, in memory and in the files.

        Args:
            change: Returns what becomes of an event; None removes it and its pictures.
            days: Only events of these days, as in `CameraEvent.day`.

        Raises:
            OutputError: If a file cannot be written.
        """
        gone: set[str] = set()

        def noting(event: CameraEvent) -> CameraEvent | None:
            changed = change(event)
            if changed is None:
                gone.add(event.id)
            return changed

        with self._disk:
            with self._memory:
                kept = [after for event in self._events if (after := noting(event)) is not None]
                self._events = deque(kept, maxlen=_IN_MEMORY)
                for event_id in gone:
                    self._pictures.pop(event_id, None)
                subscribers = list(self._subscribers)
            for subscriber in subscribers:
                subscriber.change(change)
            if self._files is None:
                return
            for day in self._files.days() if days is None else days:
                self._files.rewrite(day, noting)
            for event_id in gone:
                self._files.remove_pictures(event_id)

    def rename(self, old: str, new: str, person_id: int | None = None) -> None:
        """Renames a person in all events.

        Args:
            old: The name.
            new: The new one.
            person_id: The new ID, if it changes.

        Raises:
            OutputError: If a file cannot be written.
        """

        def renamed(event: CameraEvent) -> CameraEvent:
            if event.name != old:
                return event
            number = event.person_id if person_id is None else person_id
            return dataclasses.replace(event, name=new, person_id=number)

        self.change(renamed)

    def belong_to(self, gallery: str) -> None:
        """Says whose IDs events have from now on. Those of another gallery lose their IDs.

        Args:
            gallery: `Stamp.gallery`.

        Raises:
            OutputError: If a file cannot be written.
        """
        if self._files is None:
            return
        with self._disk:
            if self._files.gallery() == gallery:
                return
            self.change(lambda event: dataclasses.replace(event, person_id=None))
            self._files.write_gallery(gallery)

    def assign(self, event_id: str, name: str, person_id: int) -> None:
        """Says who it was that an event did not know, so that `forget` finds it.

        Raises:
            OutputError: If the file of its day cannot be written.
        """

        def named(event: CameraEvent) -> CameraEvent:
            if event.id != event_id:
                return event
            return dataclasses.replace(event, name=name, person_id=person_id)

        self.change(named, [event_id[:8]])

    def _as_kept(self, event: CameraEvent) -> CameraEvent:
        """An event that says whether its pictures are still there."""
        if not event.snapshot:
            return event
        if self._files is None:
            kept = event.id in self._pictures
        else:
            kept = self._files.has_pictures(event.id)
        return event if kept else dataclasses.replace(event, snapshot=False)

    def _picture(self, event_id: str, kind: Kind) -> bytes | None:
        if not is_event_id(event_id):
            return None
        if self._files is None:
            return self._pictures.get(event_id, {}).get(kind)
        return self._files.read_picture(event_id, kind)

    def _keep_pictures(self, event: CameraEvent, pictures: dict[Kind, bytes]) -> bool:
        """Keeps pictures; False if they are not wanted or cannot be kept."""
        if not pictures or not self._options.snapshots:
            return False
        if self._files is None:
            with self._memory:
                self._pictures[event.id] = pictures
                while len(self._pictures) > _PICTURES_IN_MEMORY:
                    self._pictures.pop(next(iter(self._pictures)))
            return True
        size = sum(map(len, pictures.values()))
        if size > self._options.keep_bytes:
            return False
        try:
            with self._disk:
                while self._files.used + size > self._options.keep_bytes:
                    oldest = self._files.oldest_picture()
                    if oldest is None:
                        break
                    self._files.remove_pictures(oldest)
                self._files.write_pictures(event.id, pictures)
        except MobileFaceError as error:
            self._say(error)
            return False
        return True

    def _rotate(self) -> None:
        """Removes the days that are too old."""
        if self._files is None:
            return
        now = self.clock.time()
        self._today = day_of(now)
        oldest = day_of(now - self._options.keep_days * _DAY_SECONDS)
        with self._disk:
            for day in self._files.days():
                if day < oldest:
                    self._files.remove_day(day)
        with self._memory:
            while self._events and self._events[0].day < oldest:
                self._events.popleft()

    def _say(self, error: Exception) -> None:
        """Logs once that events cannot be written, until one can."""
        if not self._full_said:
            _log.error("events are not stored: %s", error)
        self._full_said = True

"""Who is at a camera now: tracks joined to people, so that a face lost for a moment has not left.

A person is present from the decision about the first track until no track of theirs has been seen
for two seconds. Tracks are of one person if they have the same name; or, of unknown people, if
their best faces are as similar as the threshold of the decision asks of two of one person.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..types import FloatArray
from .votes import Decision, TrackVotes

__all__ = ["Presence", "Presences"]

_LEFT_SECONDS = 2.0
_MOST_REMEMBERED = 1000


@dataclass(slots=True, eq=False)
class Presence:
    """Somebody who is at a camera.

    Attributes:
        decision: Who it is.
        track_id: The newest track.
        since: When the first track began, in seconds since 1970.
        seen: When a track was last seen, by the clock's `monotonic`.
        seen_at: The same in seconds since 1970.
        bbox: Where, x1, y1, x2, y2 in pixels of the frame.
        det_score: The score there; None without a detection.
        embedding: The best face of an unknown one.
        announced: True if there was an event.
    """

    decision: Decision
    track_id: int
    since: float
    seen: float
    seen_at: float
    bbox: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)
    det_score: float | None = None
    embedding: FloatArray | None = None
    announced: bool = False

    @property
    def name(self) -> str | None:
        """The name; None if unknown."""
        return self.decision.name


class Presences:
    """The people at one camera.

    Args:
        cooldown: Seconds in which the same person is not announced again.

    Attributes:
        present: Who is there.
    """

    def __init__(self, cooldown: float) -> None:
        self._cooldown = cooldown
        self.present: list[Presence] = []
        self._by_track: dict[int, Presence] = {}
        self._announced: dict[str, float] = {}
        self._strangers: list[tuple[FloatArray, float]] = []

    def of_track(self, track_id: int) -> Presence | None:
        """The person of a track; None while undecided."""
        return self._by_track.get(track_id)

    def decided(self, votes: TrackVotes, decision: Decision) -> None:
        """Notes who a track is.

        Args:
            votes: The track.
            decision: Who it is.
        """
        before = self._by_track.get(votes.track_id)
        embedding = votes.looks[0].embedding if votes.looks else None
        found = self._same(decision, embedding)
        if found is None and before is not None and before.name is None:
            found = before  # an unknown one has a name now
            found.announced = False
        if found is None:
            seen = (votes.seen, votes.seen_at)
            found = Presence(decision, votes.track_id, votes.since, *seen, embedding=embedding)
            self.present.append(found)
        elif before is not None and before is not found:
            self._drop(before)
        found.decision, found.track_id = decision, votes.track_id
        found.since = min(found.since, votes.since)
        self._by_track[votes.track_id] = found

    def due(self, track_id: int, now: float) -> Presence | None:
        """Who is to be announced; None if that has been done, not long ago, or is undecided.

        Args:
            track_id: A track that was seen.
            now: When, by the clock's `monotonic`.
        """
        found = self._by_track.get(track_id)
        if found is None or found.announced or self._cools(found, now):
            return None
        found.announced = True
        return found

    def seen(self, votes: TrackVotes, bbox: tuple[float, ...], det_score: float | None) -> None:
        """A track was seen in the newest frame."""
        found = self._by_track.get(votes.track_id)
        if found is not None:
            found.seen, found.seen_at = votes.seen, votes.seen_at
            found.bbox, found.det_score = bbox, det_score

    def left(self, now: float, patience: float = 0.0) -> list[Presence]:
        """Those who have left by now, and were announced.

        Args:
            now: When, by the clock's `monotonic`; infinity: all of them.
            patience: Seconds in which nobody has left yet, if more than two.
        """
        most = max(_LEFT_SECONDS, patience)
        gone = [person for person in self.present if now - person.seen >= most]
        for person in gone:
            self._drop(person)
        return [person for person in gone if person.announced]

    def forget(self, name: str) -> None:
        """Drops a person who was deleted."""
        for person in [person for person in self.present if person.name == name]:
            self._drop(person)
        self._announced.pop(name, None)

    def rename(self, old: str, decision: Decision) -> None:
        """Renames a person."""
        for person in self.present:
            if person.name == old:
                person.decision = decision
        if old in self._announced and decision.name is not None:
            self._announced[decision.name] = self._announced.pop(old)

    def _same(self, decision: Decision, embedding: FloatArray | None) -> Presence | None:
        """Who of those present it is."""
        for person in self.present:
            if decision.name is not None:
                if person.name == decision.name:
                    return person
            elif person.name is None and _similar(person.embedding, embedding, decision.threshold):
                return person
        return None

    def _cools(self, person: Presence, now: float) -> bool:
        """True if they were announced a short time ago; otherwise notes the announcement."""
        name, embedding = person.name, person.embedding
        if name is not None:
            if now - self._announced.get(name, -math.inf) < self._cooldown:
                return True
            self._announced.pop(name, None)
            self._announced[name] = now
            while len(self._announced) > _MOST_REMEMBERED:
                self._announced.pop(next(iter(self._announced)))
            return False
        self._strangers = [
            (other, time) for other, time in self._strangers if now - time < self._cooldown
        ][-_MOST_REMEMBERED:]
        threshold = person.decision.threshold
        if any(_similar(other, embedding, threshold) for other, _ in self._strangers):
            return True
        if embedding is not None:
            self._strangers.append((embedding, now))
        return False

    def _drop(self, person: Presence) -> None:
        self.present = [other for other in self.present if other is not person]
        self._by_track = {
            track: other for track, other in self._by_track.items() if other is not person
        }


def _similar(one: FloatArray | None, other: FloatArray | None, threshold: float | None) -> bool:
    """True if two faces are of one person by a threshold; False without one."""
    if one is None or other is None or threshold is None:
        return False
    return float(one @ other) >= threshold

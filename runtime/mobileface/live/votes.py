"""Names for the tracks of a camera, by the votes of their best faces.

The rule. A *look* is the embedding of a track's face in one frame. It votes if the face is good
enough: its box has a shorter side of at least 32 px and does not touch the border of the frame,
where faces are cut off; and its frontality, where landmarks tell, is at least 0.4 (the limit of
enrolment), so that profiles do not vote. A track is looked at every 0.2 s
until it has five looks, and from then on, while it has no name, once a second if the view is better
than the worst of the five. The five with the best view score (side of the face in pixels times
frontality) are kept, and each votes with that weight:

- for the person that the gallery accepts for it, by the camera's threshold or the calibrated rule
  of the gallery (`Gallery.search`). Without a rule nobody is accepted;
- else for nobody.

It is decided once three looks have voted, or two when the track ends. A name wins if at least two
looks vote for it, these have more than half of all weight, and the mean similarity of all kept
looks to the person, by weight, reaches the threshold too: two faces that pass it by chance do not
outvote three that fail. Otherwise the track is *unknown*. An unknown one may still get a name by
later looks; a name stays.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import numpy as np

from ..errors import MobileFaceError
from ..gallery.entries import Identification, Match
from ..gallery.gallery import Gallery
from ..gallery.quality import QualityLimits
from ..matching.decisions import DecisionRule
from ..matching.error_rates import Rate
from ..tracking.follower import view_score
from ..types import Face, FloatArray
from ..vision.frontality import frontality
from ..vision.image import Image
from .capture import CapturedFrame

__all__ = ["Decision", "Look", "TrackVotes", "Voting", "may_vote"]

_log = logging.getLogger("mobileface.live")

OpenGallery = Callable[[], AbstractContextManager[Gallery]]

_LEAST_SIDE, _LEAST_FRONTALITY = 32.0, QualityLimits().frontality
_MOST_LOOKS = 5
_LOOKS_TO_DECIDE, _LOOKS_AT_END, _LOOKS_FOR_NAME = 3, 2, 2
_LISTED = 5
"""People that are listed for each look; others count as the last of them."""

_GAP_SECONDS, _LATER_SECONDS = 0.2, 1.0
_SURROUNDINGS = 0.6
"""Border of the stored picture of a face on each side, in sides of its box."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Who a track is.

    Attributes:
        name: The person's name; None if unknown.
        person_id: The person's ID; None if unknown.
        similarity: Cosine similarity of the most similar face that voted for the name, or of the
            most similar person if unknown; None without a gallery.
        threshold: Similarity from which on a face is accepted; None without a rule.
        false_match_rate: Of this similarity; None without a calibration.
        faces_used: Number of faces that voted.
    """

    name: str | None = None
    person_id: int | None = None
    similarity: float | None = None
    threshold: float | None = None
    false_match_rate: Rate | None = None
    faces_used: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """One face of a track that votes.

    Attributes:
        embedding: float32 (D,), L2-normalized.
        view: Its view score.
    """

    embedding: FloatArray
    view: float


@dataclass(slots=True, eq=False)
class TrackVotes:
    """The looks at one track.

    Attributes:
        track_id: The track.
        since: Time of its first frame, in seconds since 1970.
        seen: When it was last seen, by the clock's `monotonic`.
        seen_at: The same in seconds since 1970.
        looks: The best looks, best first.
        voted: How many looks have voted so far.
        looked: When the last look was, by the clock's `monotonic`.
        decision: Who it is; None while undecided.
        frame: The frame of the best look, while the track is undecided or unknown.
        face: The face in that frame.
        picture: The face with its surroundings at its best view, uint8 (H, W, 3) BGR.
    """

    track_id: int
    since: float
    seen: float
    seen_at: float
    looks: list[Look] = field(default_factory=list)
    voted: int = 0
    looked: float = -np.inf
    decision: Decision | None = None
    frame: CapturedFrame | None = None
    face: Face | None = None
    picture: Image | None = None

    @property
    def named(self) -> bool:
        """True once it has a name."""
        return self.decision is not None and self.decision.name is not None

    def wants_look(self, face: Face, frame: CapturedFrame) -> bool:
        """True if the embedding of a face of this track would be of use."""
        now = frame.taken
        if self.named or not may_vote(face, frame.image):
            return False
        if len(self.looks) < _MOST_LOOKS:
            return now - self.looked >= _GAP_SECONDS - 1e-3
        return now - self.looked >= _LATER_SECONDS and view_score(face) > self.looks[-1].view

    def add(self, face: Face, frame: CapturedFrame) -> bool:
        """Adds a look; returns True if it votes.

        Args:
            face: The face, with its embedding.
            frame: The frame that it is in.
        """
        self.looked = frame.taken
        vector = face.embedding
        if vector is None or not vector.any() or not may_vote(face, frame.image):
            return False
        view = view_score(face)
        if not self.looks or view > self.looks[0].view:
            self.frame, self.face = frame, face
            self.picture = face_picture(frame.image, face)
        self.looks.append(Look(vector, view))
        self.looks.sort(key=lambda look: -look.view)
        del self.looks[_MOST_LOOKS:]
        self.voted += 1
        return True


class Voting:
    """Decides who a track is, by the gallery.

    Args:
        gallery: Opens the gallery for one thread at a time; None: everybody is unknown.
        threshold: Similarity from which on a face is accepted; None: the gallery's rule.
    """

    def __init__(self, gallery: OpenGallery | None, threshold: float | None = None) -> None:
        self._gallery, self._threshold = gallery, threshold
        self._said = ""

    def decide(self, votes: TrackVotes, *, ended: bool = False) -> Decision | None:
        """Who a track is by now; None if that is open, or the gallery cannot be read.

        Args:
            votes: The looks at the track.
            ended: The track has ended: there will be no more.
        """
        if votes.voted < (_LOOKS_AT_END if ended else _LOOKS_TO_DECIDE):
            return None
        found = self._search(votes)
        if found is None:
            return None
        return _elected(votes.looks, found) or _unknown(found, len(votes.looks))

    def person_now(self, person_id: int, name: str) -> tuple[int, str] | None:
        """The ID and name of a person now; None if they are not enrolled any more.

        Args:
            person_id: The person; another one after a merger.
            name: The name so far; it stays if the gallery cannot be read.
        """
        if self._gallery is None:
            return person_id, name
        try:
            with self._gallery() as gallery:
                person = gallery.find(person_id)
                if person is None and (merged := gallery.merged_people().get(person_id)):
                    person = gallery.find(merged.into)
        except MobileFaceError:
            return person_id, name
        return None if person is None else (person.person_id, person.name)

    def _search(self, votes: TrackVotes) -> list[Identification] | None:
        """What the gallery says of each look; empty without a gallery, None if that fails."""
        if self._gallery is None:
            return []
        vectors = np.stack([look.embedding for look in votes.looks])
        try:
            with self._gallery() as gallery:
                found = gallery.search(vectors, top=_LISTED, threshold=self._threshold)
        except MobileFaceError as error:
            if str(error) != self._said:
                _log.error("no names: %s", error)
            self._said = str(error)
            return None
        self._said = ""
        return found


def may_vote(face: Face, image: Image) -> bool:
    """True if a face is large and frontal enough to vote, and wholly in its image."""
    height, width = image.shape[:2]
    x1, y1, x2, y2 = (float(value) for value in face.bbox)
    if min(x2 - x1, y2 - y1) < _LEAST_SIDE:
        return False
    if x1 <= 0 or y1 <= 0 or x2 >= width or y2 >= height:
        return False
    ratio = None if face.landmarks is None else frontality(face.landmarks)
    return ratio is None or ratio >= _LEAST_FRONTALITY


def face_picture(image: Image, face: Face) -> Image:
    """A copy of a face with surroundings, in which it can be found again."""
    x1, y1, x2, y2 = (float(value) for value in face.bbox)
    border = _SURROUNDINGS * max(x2 - x1, y2 - y1)
    height, width = image.shape[:2]
    left, right = max(round(x1 - border), 0), min(round(x2 + border), width)
    top, bottom = max(round(y1 - border), 0), min(round(y2 + border), height)
    return image[top:bottom, left:right].copy()


def _elected(looks: list[Look], found: list[Identification]) -> Decision | None:
    """The name that has won, if one has."""
    votes: dict[int, list[tuple[float, Match, DecisionRule]]] = {}
    for look, result in zip(looks, found, strict=False):
        best = result.best
        if best is not None and result.rule is not None and result.accepted:
            votes.setdefault(best.person_id, []).append((look.view, best, result.rule))
    weights = np.array([look.view for look in looks])
    for person_id, given in votes.items():
        _, best, rule = max(given, key=lambda vote: vote[1].similarity)
        share = sum(view for view, _, _ in given) / weights.sum()
        mean = np.average([_similarity(result, person_id) for result in found], weights=weights)
        if len(given) >= _LOOKS_FOR_NAME and share > 0.5 and rule.accepts(float(mean)):
            return Decision(
                best.name,
                person_id,
                best.similarity,
                rule.threshold,
                best.false_match_rate,
                len(given),
            )
    return None


def _similarity(result: Identification, person_id: int) -> float:
    """The similarity to a person; of one who is not listed, at most that of the last one."""
    for match in result.matches:
        if match.person_id == person_id:
            return match.similarity
    return result.matches[-1].similarity if result.matches else -1.0


def _unknown(found: list[Identification], used: int) -> Decision:
    """The decision for nobody, with the most similar person's similarity."""
    near = [result for result in found if result.best is not None]
    if not near:
        threshold = found[0].threshold if found else None
        return Decision(threshold=threshold, faces_used=used)
    closest = max(near, key=lambda result: result.best.similarity if result.best else -1.0)
    assert closest.best is not None
    return Decision(
        None,
        None,
        closest.best.similarity,
        closest.threshold,
        closest.best.false_match_rate,
        used,
    )

"""One live camera: captures, follows faces, gives them names and makes events."""

from __future__ import annotations

import dataclasses
import logging
import math
import threading
from collections import deque

from ..analyzer import FaceAnalyzer
from ..errors import MobileFaceError
from ..tracking.follower import FaceFollower, FollowedFace
from ..types import Face
from ..vision.written_pictures import encode_jpeg
from .camera_events import CameraEvent, EventType
from .camera_state import CameraState, Observers, Seen
from .capture import Capture, CapturedFrame, Playback
from .clock import SYSTEM_CLOCK, Clock, iso_time
from .event_files import Kind
from .event_log import EventLog
from .live_options import CameraOptions
from .live_picture import PICTURE_QUALITY, LivePicture, annotated_picture
from .motion_gate import MotionGate
from .presence import Presence, Presences
from .votes import Decision, OpenGallery, TrackVotes, Voting

__all__ = ["LiveCamera"]

_log = logging.getLogger("mobileface.live")

_TAKE_SECONDS = 0.25
_ENDED_SECONDS = 1.0
"""A track that was not seen for so long has ended; or for 2.5 frames, if they take longer."""

_SILENT_SECONDS = 3.0
"""Without a frame for so long, everybody has left."""

_CHECK_SECONDS = 1.0
"""Time from one look at the gallery, whether who is named is still enrolled, to the next."""

_LOOKS_A_FRAME = 2
"""Most faces that are embedded again in one frame, so that many people do not delay it."""

_FACE_QUALITY = 95


class LiveCamera:
    """A camera that is watched on two threads: one reads, one analyses.

    Args:
        options: The camera.
        analyzer: Detects and embeds faces; threads may share it.
        gallery: Opens the gallery for one thread at a time; None: everybody is unknown.
        log: Where events go.
        cooldown: Seconds in which the same person makes no second event.
        observers: Who is told of frames and events.
        playback: How a video file is played.
        clock: The time to go by.

    Attributes:
        name: Its name.
        picture: The newest picture.
    """

    def __init__(
        self,
        options: CameraOptions,
        analyzer: FaceAnalyzer,
        gallery: OpenGallery | None,
        log: EventLog,
        *,
        cooldown: float = 30.0,
        observers: Observers | None = None,
        playback: Playback | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.name, self._options = options.name, options
        self._analyzer, self._log, self._clock = analyzer, log, clock
        self._observers = observers or Observers()
        self._cooldown = cooldown
        self.picture = LivePicture()
        self._capture = Capture(
            options,
            playback=playback,
            clock=clock,
            reconnected=lambda: self._observers.reconnect(self.name),
            dropped=lambda: self._observers.frame(self.name, "dropped"),
            running=lambda running: self._observers.running(self.name, running),
        )
        self._voting = Voting(gallery, options.threshold)
        self._gate = MotionGate()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name=f"mobileface-faces-{self.name}", daemon=True
        )
        self._presences = Presences(cooldown)
        self._votes: dict[int, TrackVotes] = {}
        self._follower: FaceFollower | None = None
        self._frame: CapturedFrame | None = None
        self._analysed = self._checked = -math.inf
        self._times: deque[float] = deque(maxlen=50)
        self._patience = 0.0
        self._still = self._skipped = self._looks = 0
        self._size = (0, 0)
        self._people: tuple[Seen, ...] = ()
        self._said = ""

    def start(self) -> None:
        """Starts the threads."""
        self._capture.start()
        self._thread.start()

    def close(self, timeout: float = 1.0) -> None:
        """Ends the threads; one that hangs in a driver is left to itself."""
        self._stop.set()
        self._capture.close(timeout)
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def stop(self) -> None:
        """Asks the threads to end, without waiting."""
        self._stop.set()
        self._capture.close(0)

    def state(self) -> CameraState:
        """What it does now."""
        capture, times = self._capture, list(self._times)
        passed = times[-1] - times[0] if len(times) > 1 else 0.0
        running = capture.state == "running" and passed > 0
        return CameraState(
            self.name,
            capture.state,
            capture.why,
            *self._size,
            round((len(times) - 1) / passed, 1) if running else 0.0,
            capture.frames,
            capture.drops + self._skipped,
            self._still,
            capture.reconnects,
            self._people,
        )

    def forget(self, name: str) -> None:
        """Forgets a person who was deleted: the looks of their tracks, too."""
        with self._lock:
            self._forget(name)

    def rename(self, old: str, new: str, person_id: int | None = None) -> None:
        """A person has another name, and after a merger another ID."""
        with self._lock:
            self._rename(old, new, person_id)

    def _forget(self, name: str) -> None:
        self._presences.forget(name)
        for votes in self._votes.values():
            if votes.decision is not None and votes.decision.name == name:
                votes.decision, votes.voted = None, 0
                votes.looks.clear()
        self.picture.relabel(name, "unknown")
        self._tell_people()

    def _rename(self, old: str, new: str, person_id: int | None = None) -> None:
        def renamed(decision: Decision) -> Decision:
            number = decision.person_id if person_id is None else person_id
            return dataclasses.replace(decision, name=new, person_id=number)

        for votes in self._votes.values():
            if votes.decision is not None and votes.decision.name == old:
                votes.decision = renamed(votes.decision)
        for person in self._presences.present:
            if person.name == old:
                self._presences.rename(old, renamed(person.decision))
        self.picture.relabel(old, new)
        self._tell_people()

    def _check_names(self) -> None:
        """Follows what other processes change in the gallery."""
        now = self._clock.monotonic()
        if now - self._checked < _CHECK_SECONDS:
            return
        self._checked = now
        known = {(p.decision.person_id, p.name) for p in self._presences.present}
        for person_id, name in known:
            if person_id is None or name is None:
                continue
            found = self._voting.person_now(person_id, name)
            if found is None:
                self._forget(name)
            elif found != (person_id, name):
                self._rename(name, found[1], found[0])

    def _run(self) -> None:
        while not self._stop.is_set():
            frame = self._capture.take(_TAKE_SECONDS)
            if frame is None and self._capture.state == "ended":
                break
            try:
                with self._lock:
                    if frame is not None:
                        self._process(frame)
                    else:
                        self._silence()
                    self._check_names()
            except MobileFaceError as error:
                self._say(str(error))
            except Exception as error:
                self._say(f"{type(error).__name__}: {error}")
        with self._lock:
            self._end_all()

    def _process(self, frame: CapturedFrame) -> None:
        """Looks at a frame."""
        self._frame = frame
        height, width = frame.image.shape[:2]
        self._size = (width, height)
        self._times.append(frame.taken)
        most = self._options.max_fps
        if most is not None and frame.taken - self._analysed < 1 / most - 1e-3:
            self._skipped += 1
            self._observers.frame(self.name, "dropped")
            return
        follower = self._follower or self._new_follower()
        following = follower.following or bool(self._votes)
        if self._options.motion and not self._gate(frame.image, frame.taken, following):
            self._still += 1
            self._observers.frame(self.name, "still")
            self.picture.put(frame.number, frame.image, ())
            self._leave(frame.taken)
            return
        self._patience = 2.5 * min(frame.taken - self._analysed, _SILENT_SECONDS)
        self._analysed, self._looks = frame.taken, 0
        self._observers.frame(self.name, "analysed")
        found = follower(frame.image, time=frame.taken)
        if found.detected:
            self._gate.detected(frame.taken)
        for followed in found.faces:
            self._see(followed, frame)
        self._leave(frame.taken)
        marks = [(f.face.bbox, self._label(f.track_id)) for f in found.faces]
        self.picture.put(frame.number, frame.image, marks)
        self._tell_people()

    def _new_follower(self) -> FaceFollower:
        every = self._options.detect_every
        self._follower = FaceFollower(
            self._analyzer,
            detect_every=every,
            fps=self._capture.fps,
            live=True,
            tasks=("embedding",),
            look=self._look,
        )
        return self._follower

    def _look(self, track_id: int, face: Face) -> bool:
        """True if a face is to be embedded again in this frame, in which few are."""
        votes = self._votes.get(track_id)
        if votes is None or self._frame is None or self._looks >= _LOOKS_A_FRAME:
            return False
        wanted = votes.wants_look(face, self._frame)
        self._looks += wanted
        return wanted

    def _see(self, followed: FollowedFace, frame: CapturedFrame) -> None:
        """Notes a face of the frame; a new look may decide who it is."""
        track_id, face = followed.track_id, followed.face
        votes = self._votes.get(track_id)
        if votes is None:
            votes = TrackVotes(track_id, frame.time, frame.taken, frame.time)
            self._votes[track_id] = votes
        votes.seen, votes.seen_at = frame.taken, frame.time
        if votes.decision is not None:
            votes.frame = None
        if "embedding" in followed.measured and not votes.named and votes.add(face, frame):
            self._decide(votes, ended=False)
        self._presences.seen(votes, _box(face), _score(face))
        self._announce(votes, frame, face)

    def _decide(self, votes: TrackVotes, *, ended: bool) -> None:
        """Decides who a track is, if that is open and its looks allow it."""
        decision = self._voting.decide(votes, ended=ended)
        if decision is None or (votes.decision is not None and decision.name is None):
            return
        votes.decision = decision
        self._presences.decided(votes, decision)

    def _leave(self, now: float) -> None:
        """Ends tracks and people that were not seen for a while."""
        ended = max(_ENDED_SECONDS, self._patience)
        for votes in [v for v in self._votes.values() if now - v.seen >= ended]:
            self._end(votes)
        for person in self._presences.left(now, self._patience):
            self._announce_left(person)

    def _end(self, votes: TrackVotes) -> None:
        """A track has ended; by its looks so far somebody may have been here."""
        if votes.decision is None and votes.frame is not None and votes.face is not None:
            self._decide(votes, ended=True)
            self._presences.seen(votes, _box(votes.face), _score(votes.face))
            self._announce(votes, votes.frame, votes.face)
        del self._votes[votes.track_id]

    def _silence(self) -> None:
        """No frame came; after some time, nobody is there any more."""
        now = self._clock.monotonic()
        if self._frame is not None and now - self._frame.taken >= _SILENT_SECONDS:
            self._end_all()

    def _end_all(self) -> None:
        self._frame, self._follower = None, None
        for votes in list(self._votes.values()):
            self._end(votes)
        for person in self._presences.left(math.inf):
            self._announce_left(person)
        self._tell_people()

    def _announce(self, votes: TrackVotes, frame: CapturedFrame, face: Face) -> None:
        """Makes the event that somebody is here, with pictures, if it is due."""
        person = self._presences.due(votes.track_id, frame.taken)
        if person is None:
            return
        annotated = annotated_picture(frame.image, [(face.bbox, person.name or "unknown")])
        pictures: dict[Kind, bytes] = {"snapshot": encode_jpeg(annotated, PICTURE_QUALITY)}
        if votes.picture is not None:
            pictures["face"] = encode_jpeg(votes.picture, _FACE_QUALITY)
        kind: EventType = "unknown_seen" if person.name is None else "person_seen"
        self._emit(kind, person, frame.taken, frame.time, pictures)

    def _announce_left(self, person: Presence) -> None:
        self._emit("left", person, person.seen, person.seen_at, {})

    def _emit(
        self,
        kind: EventType,
        person: Presence,
        taken: float,
        time: float,
        pictures: dict[Kind, bytes],
    ) -> None:
        decision = person.decision
        rate = decision.false_match_rate
        event = CameraEvent(
            id=self._log.new_id(self.name, person.track_id),
            type=kind,
            camera=self.name,
            time=iso_time(time),
            track_id=person.track_id,
            name=decision.name,
            person_id=decision.person_id,
            similarity=decision.similarity,
            threshold=decision.threshold,
            false_match_rate=None if rate is None else dataclasses.asdict(rate),
            bbox=person.bbox,
            det_score=person.det_score,
            faces_used=decision.faces_used,
            delay_ms=round(1000 * (self._clock.monotonic() - taken), 1),
            since=iso_time(person.since),
            seconds=round(max(person.seen_at - person.since, 0.0), 3),
        )
        self._log.add(event, pictures)
        self._observers.event(self.name, kind)

    def _label(self, track_id: int) -> str:
        votes = self._votes.get(track_id)
        if votes is None or votes.decision is None:
            return f"#{track_id}"
        return votes.decision.name or "unknown"

    def _tell_people(self) -> None:
        """Publishes who is there, if that has changed."""
        people = [
            Seen(person.track_id, person.name, iso_time(person.since))
            for person in self._presences.present
        ]
        people += [
            Seen(votes.track_id, None, iso_time(votes.since), decided=False)
            for votes in self._votes.values()
            if self._presences.of_track(votes.track_id) is None
        ]
        if tuple(people) != self._people:
            self._people = tuple(people)
            self._observers.people(self.name, self._people)

    def _say(self, text: str) -> None:
        """Logs what went wrong with a frame, once in a row."""
        if text != self._said:
            _log.error("camera '%s': %s", self.name, text)
        self._said = text


def _box(face: Face) -> tuple[float, ...]:
    return tuple(round(float(value), 2) for value in face.bbox)


def _score(face: Face) -> float | None:
    score = float(face.det_score)
    return round(score, 4) if math.isfinite(score) else None

"""What a task is: one entry in `mobileface.tasks.table`, from which all else follows.

The analyzer, the commands, JSON, drawing, the self-test and the benchmark go through the table and
know no task by name; see "Add a task" in CONTRIBUTING.md.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Protocol

from ..models.lookup import Precision
from ..types import Face
from ..vision.image import ChannelOrder, Image

if TYPE_CHECKING:
    from ..models.session import Session
    from ..vision.draw import Canvas

__all__ = ["Points", "Request", "Stage", "Task"]


class Points(Protocol):
    """What a task that needs landmarks asks of the stage that finds them."""

    @property
    def point_names(self) -> tuple[str, ...]:
        """Names of the landmarks that faces have after that stage."""

    def require_crop(self, crop: str) -> None:
        """Sees to it that the landmarks suffice for a crop, or raises `ModelNotFoundError`."""


@dataclass(frozen=True)
class Request:
    """What the loader of a stage is told.

    Attributes:
        choice: Name or path of a model, or a ready object; None: the preferred model.
        models: Folder to look in; None: those of `mobileface.models.lookup`.
        precision: As `mobileface.load` takes it.
        session_options: As `mobileface.Session` takes them.
        options: Options of the task's models; only detectors have any so far.
        points: The stage that finds landmarks, for tasks that need them.
    """

    choice: Any = None
    models: str | Path | None = None
    precision: Precision = None
    session_options: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    points: Points | None = None

    @property
    def loading(self) -> dict[str, Any]:
        """The arguments of the loaders, besides the name."""
        return {"models": self.models, "precision": self.precision, **self.session_options}


class Stage(ABC):
    """A task in the analysis of one image, with its models loaded.

    Attributes:
        models: The objects that run its models.
        refused: Models of the task that do not run, by name, with the reason; the others do.
    """

    models: list[Any]
    refused: Mapping[str, str] = MappingProxyType({})

    @abstractmethod
    def run(self, image: Image, faces: Sequence[Face], color: ChannelOrder) -> list[Face]:
        """Adds the task's result to faces.

        Args:
            image: uint8 (H, W, 3) or (H, W), checked.
            faces: Faces of this image, with what earlier tasks found.
            color: Channel order of a colour image.

        Returns:
            The faces, in the order given.
        """

    @property
    def sessions(self) -> list[Session]:
        """The networks that it runs."""
        found = (getattr(model, "session", None) for model in self.models)
        return [session for session in found if session is not None]


@dataclass(frozen=True)
class Task:
    """One task, as the table lists it.

    Attributes:
        name: Its name, e.g. "pose".
        command: Subcommand of ``mobileface`` that runs it; None: it has none of its own.
        help: One line about that subcommand.
        needs: Names of the tasks that must run before it.
        argument: Argument of `FaceAnalyzer` that chooses its model.
        input: What its models are called with: "image", "boxes" (an image and boxes), "crop" (one
            or several) or "points".
        load: Makes its stage.
        to_json: Its result in a face as JSON types, by key; the flag asks for long results as well.
        to_text: Its result in a face as parts of a line of text.
        caption: Its result in a face for the image; may be empty.
        draw: Draws its result.
        problem: For the self-test: what is wrong with the results of two runs on the same face;
            empty if nothing is.
    """

    name: str
    command: str | None
    help: str
    needs: tuple[str, ...]
    argument: str
    input: Literal["image", "boxes", "crop", "points"]
    load: Callable[[Request], Stage]
    to_json: Callable[[Face, bool], dict[str, Any]]
    to_text: Callable[[Face], list[str]]
    caption: Callable[[Face], str] = lambda face: ""
    draw: Callable[[Canvas, Face], None] = lambda canvas, face: None
    problem: Callable[[Face, Face], str] = lambda first, second: ""

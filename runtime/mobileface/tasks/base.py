"""The definition of a task: an entry in `mobileface.tasks.table`.

The analyzer, the commands, JSON, drawing, the self-test and the benchmark iterate over the table
and refer to no task by name; see "Add a task" in CONTRIBUTING.md.
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
    """Interface of the landmark stage for tasks that need landmarks."""

    @property
    def point_names(self) -> tuple[str, ...]:
        """Names of the landmarks that faces have after the stage."""

    def require_crop(self, crop: str) -> None:
        """Makes sure that the landmarks suffice for a crop, or raises `ModelNotFoundError`."""

    @property
    def has_mesh(self) -> bool:
        """Whether faces have a mesh after the stage."""

    def require_mesh(self, name: str) -> None:
        """Makes sure that faces have the mesh of a model, or raises `ModelNotFoundError`."""


@dataclass(frozen=True)
class Request:
    """The arguments of a stage's loader.

    Attributes:
        choice: Name or path of a model, or a loaded model; None for the preferred model.
        models: Folder to search for models; None for those of `mobileface.models.lookup`.
        precision: Same as for `mobileface.load`.
        session_options: Keyword arguments of `mobileface.Session`.
        options: Options of the task's models; so far only detectors have options.
        points: The landmark stage, for tasks that need landmarks.
        asked: Whether the task or its model was asked for by name; otherwise it is one of all.
    """

    choice: Any = None
    models: str | Path | None = None
    precision: Precision = None
    session_options: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    points: Points | None = None
    asked: bool = True

    @property
    def loading(self) -> dict[str, Any]:
        """The arguments of the loader functions, except the name."""
        return {"models": self.models, "precision": self.precision, **self.session_options}


class Stage(ABC):
    """A task with its models loaded, as a stage in the analysis of an image.

    Attributes:
        models: The task's loaded models.
        refused: The task's models that were rejected, by name, with the reason; the others run.
    """

    models: list[Any]
    refused: Mapping[str, str] = MappingProxyType({})

    @abstractmethod
    def run(self, image: Image, faces: Sequence[Face], color: ChannelOrder) -> list[Face]:
        """Adds the results of the task to faces.

        Args:
            image: uint8 (H, W, 3) or (H, W), checked.
            faces: Faces of this image, with the results of earlier tasks.
            color: Channel order of a colour image.

        Returns:
            The faces, in the order given.
        """

    @property
    def sessions(self) -> list[Session]:
        """The sessions of the task's networks."""
        found = (getattr(model, "session", None) for model in self.models)
        return [session for session in found if session is not None]


@dataclass(frozen=True)
class Task:
    """One task: an entry of the table.

    Attributes:
        name: Name of the task, e.g. "pose".
        command: Subcommand of ``mobileface`` that runs the task; None if it has none.
        help: Help text of the subcommand, one line.
        needs: Names of the tasks that must run before this one.
        argument: Argument of `FaceAnalyzer` that selects the model.
        input: Input of the models: "image", "boxes" (an image and boxes), "crop" (one or more
            crops) or "points".
        load: Creates the stage.
        to_json: Converts the result in a face to JSON types, by key; if the flag is set, includes
            long results (embeddings).
        to_text: Converts the result in a face to parts of a line of text.
        caption: Converts the result in a face to a caption in the image; may be empty.
        draw: Draws the result on an image.
        problem: For the self-test: describes what is wrong with the results of two runs on the
            same face; empty if they are right.
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

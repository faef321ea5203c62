"""The table of tasks, in the order in which they run. To add a task, add its entry here."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import InputError
from . import attribute_stage, detection_stage, embedding_stage, landmark_stage, pose_stage
from .base import Task

__all__ = ["TASKS", "TASK_NAMES", "input_of", "require_tasks", "task_named", "with_needs"]

TASKS: tuple[Task, ...] = (
    detection_stage.TASK,
    landmark_stage.TASK,
    pose_stage.TASK,
    attribute_stage.TASK,
    embedding_stage.TASK,
)

TASK_NAMES = tuple(task.name for task in TASKS)


def task_named(name: str) -> Task:
    """The task with a given name.

    Raises:
        InputError: If the name is unknown.
    """
    require_tasks([name])
    return next(task for task in TASKS if task.name == name)


def input_of(name: str) -> str:
    """What a model of a task is called with, see `Task.input`.

    Models of tasks that are not about faces, such as "segmentation", take images.
    """
    return next((task.input for task in TASKS if task.name == name), "image")


def require_tasks(names: Sequence[str]) -> None:
    """Raises an error for an unknown task.

    Raises:
        InputError: If one of the names is unknown.
    """
    for name in names:
        if name not in TASK_NAMES:
            raise InputError(f"unknown task '{name}'", hint=f"available: {', '.join(TASK_NAMES)}")


def with_needs(name: str) -> tuple[str, ...]:
    """The names of a task and of all tasks that it needs, in the order of the table."""
    wanted = {name}
    for task in reversed(TASKS):
        if task.name in wanted:
            wanted.update(task.needs)
    return tuple(task for task in TASK_NAMES if task in wanted)

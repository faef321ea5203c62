"""The errors: their tree, their three parts, and their way through a process boundary."""

from __future__ import annotations

import builtins
import copy
import pickle
import re

import pytest

from mobileface import errors
from mobileface.errors import MobileFaceError

KINDS = [getattr(errors, name) for name in errors.__all__]
LINE = re.compile(r"(?P<indent>[ │├└─]*)(?P<name>\w+Error)(?: \((?P<builtin>\w+)\))?(?:\s|$)")


def drawn_tree() -> dict[str, tuple[str, ...]]:
    """Names of the bases of each class as the module's documentation draws them."""
    assert errors.__doc__ is not None
    bases: dict[str, tuple[str, ...]] = {}
    path: list[str] = []
    for line in errors.__doc__.splitlines():
        match = LINE.match(line)
        if match is None or not line.startswith("    "):
            continue
        depth = len(match["indent"]) // 4 - 1  # the whole block is indented once
        path = [*path[:depth], match["name"]]
        parent = path[-2] if depth else "Exception"
        bases[match["name"]] = (parent, *filter(None, [match["builtin"]]))
    return bases


def test_the_tree_is_as_drawn() -> None:
    actual = {kind.__name__: tuple(base.__name__ for base in kind.__bases__) for kind in KINDS}
    assert drawn_tree() == actual


def test_all_names_every_class() -> None:
    defined = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, Exception)
    }
    assert defined == set(errors.__all__)
    assert list(errors.__all__) == sorted(errors.__all__)


def test_every_class_says_what_it_is_for() -> None:
    docs = [kind.__doc__ for kind in KINDS]
    assert all(docs)
    assert len(set(docs)) == len(docs)


@pytest.mark.parametrize("kind", KINDS)
def test_builtin_bases_catch(kind: type[MobileFaceError]) -> None:
    for name in drawn_tree()[kind.__name__]:
        base = getattr(builtins, name, None) or getattr(errors, name)
        assert issubclass(kind, base)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ({}, "it broke"),
        ({"where": "a.onnx"}, "a.onnx: it broke"),
        ({"hint": "mend it"}, "it broke; mend it"),
        ({"where": "a.onnx", "hint": "mend it"}, "a.onnx: it broke; mend it"),
    ],
)
def test_text(kind: type[MobileFaceError], parts: dict[str, str], text: str) -> None:
    error = kind("it broke", **parts)
    assert str(error) == text
    assert error.args == (text,)
    assert (error.what, error.where, error.hint) == (
        "it broke",
        parts.get("where", ""),
        parts.get("hint", ""),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_copies_keep_the_parts(kind: type[MobileFaceError]) -> None:
    error = kind("it broke: Größe", where="a.onnx", hint="mend it")
    copies = [copy.copy(error), copy.deepcopy(error)]
    copies += [
        pickle.loads(pickle.dumps(error, protocol))
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    ]
    for other in copies:
        assert type(other) is kind
        assert (other.what, other.where, other.hint) == (error.what, error.where, error.hint)
        assert str(other) == str(error)


def test_where_and_hint_are_named() -> None:
    with pytest.raises(TypeError):
        MobileFaceError("it broke", "a.onnx")  # type: ignore[call-arg]

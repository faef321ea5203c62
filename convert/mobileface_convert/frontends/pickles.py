"""Reading a pickle without trusting it.

A pickle is a program. Here it may use only the instructions that its reader allows, all of which
are looked at before the first one runs; names in it are looked up nowhere but in the reader's own
table. Standard library only.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from collections.abc import Callable
from typing import Any

from mobileface.errors import MobileFaceError

__all__ = ["read_pickle"]

_NUMBERED = frozenset({"BINPUT", "LONG_BINPUT", "PUT"})

Names = dict[tuple[str, str], Callable[..., Any]]
"""What may be named in a pickle: (module, name) → what is called in its place."""


def read_pickle(
    data: bytes,
    where: str,
    allowed: frozenset[str],
    kind: type[MobileFaceError],
    *,
    names: Names | None = None,
    hint: str = "",
) -> Any:
    """The value of a pickle that uses nothing but allowed instructions.

    Args:
        data: The file's bytes.
        where: What error messages call the file.
        allowed: Names of instructions as `pickletools` knows them.
        kind: The error that is raised.
        names: What may be named. Each is called with the values that the file has; it must be a
            function that does no harm with any values and holds no state.
        hint: Added to the error about an instruction or name that is not allowed.

    Returns:
        Whatever the file holds; texts of Python 2 come as bytes.

    Raises:
        MobileFaceError: Of the class given: not a pickle, damaged, or one that wants more than it
            may.
    """
    _check_instructions(data, where, allowed, kind, hint)
    try:
        return _Unpickler(io.BytesIO(data), names or {}, where, kind, hint).load()
    except MobileFaceError as error:
        raise kind(error.what, where=error.where or where, hint=error.hint or hint) from error
    except Exception as error:  # damage can surface as almost any exception
        raise kind(f"a damaged pickle ({error})", where=where) from error


class _Unpickler(pickle.Unpickler):
    """Resolves no names but those in a table: the second lock, and the only one for names."""

    def __init__(
        self, stream: io.BytesIO, names: Names, where: str, kind: type[MobileFaceError], hint: str
    ) -> None:
        super().__init__(stream, encoding="bytes")
        self._names, self._where, self._kind, self._hint = names, where, kind, hint

    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in self._names:
            raise self._kind(
                f"the name {module[:60]}.{name[:60]} is not allowed",
                where=self._where,
                hint=self._hint,
            )
        return _StandIn(self._names[module, name])

    def persistent_load(self, _: object) -> object:
        raise self._kind("persistent ids are not allowed", where=self._where)


class _StandIn:
    """Calls a function, and cannot be changed by the instruction BUILD."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setstate__(self, _: object) -> None:
        raise pickle.UnpicklingError("a name has no state")


def _check_instructions(
    data: bytes, where: str, allowed: frozenset[str], kind: type[MobileFaceError], hint: str
) -> None:
    """Every instruction is an allowed one, and ends where the file ends."""
    end = 0
    try:
        for opcode, argument, position in pickletools.genops(data):
            if opcode.name not in allowed:
                raise kind(
                    f"the pickle instruction {opcode.name} is not allowed",
                    where=f"{where}, byte {position}",
                    hint=hint,
                )
            # A huge memo number would make the unpickler allocate as much.
            if opcode.name in _NUMBERED and not 0 <= int(argument or 0) < len(data):
                raise kind(f"memo number {str(argument)[:20]}", where=f"{where}, byte {position}")
            end = (position or 0) + 1
    except MobileFaceError:
        raise
    except Exception as error:  # pickletools raises ValueError and others on damage
        raise kind(f"not a pickle ({error})", where=where) from error
    if end != len(data):
        raise kind(f"{len(data) - end} bytes after the end", where=where)

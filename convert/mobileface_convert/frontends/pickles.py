"""Safe reading of pickles from untrusted files.

A pickle is a program. The caller specifies the allowed instructions; all instructions are checked
before the first one runs. Names in the pickle are only resolved in the caller's table. Uses only
the standard library.
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
"""Names that a pickle may use: (module, name) → the function that is called instead."""


def read_pickle(
    data: bytes,
    where: str,
    allowed: frozenset[str],
    kind: type[MobileFaceError],
    *,
    names: Names | None = None,
    hint: str = "",
) -> Any:
    """Reads the value of a pickle that only uses allowed instructions.

    Args:
        data: Content of the file.
        where: Name of the file in error messages.
        allowed: Names of the allowed instructions, as in `pickletools`.
        kind: Class of the errors that are raised.
        names: Names that the pickle may use. Each function is called with values from the file, so
            it must be harmless for any arguments and must not have state.
        hint: Hint of the error about an instruction or name that is not allowed.

    Returns:
        The value in the file; texts of Python 2 are returned as bytes.

    Raises:
        MobileFaceError: As the class ``kind``, if the data is not a pickle, is corrupt, or uses an
            instruction or name that is not allowed.
    """
    _check_instructions(data, where, allowed, kind, hint)
    try:
        return _Unpickler(io.BytesIO(data), names or {}, where, kind, hint).load()
    except MobileFaceError as error:
        raise kind(error.what, where=error.where or where, hint=error.hint or hint) from error
    except Exception as error:  # a corrupt pickle can raise almost any exception
        raise kind(f"not a valid pickle ({error})", where=where) from error


class _Unpickler(pickle.Unpickler):
    """Resolves only names in a table: the second check, and the only one for names."""

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
    """Wraps a function, so that the instruction BUILD cannot change it."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setstate__(self, _: object) -> None:
        raise pickle.UnpicklingError("the state of a name cannot be set")


def _check_instructions(
    data: bytes, where: str, allowed: frozenset[str], kind: type[MobileFaceError], hint: str
) -> None:
    """Checks that all instructions are allowed and that the pickle ends at the end of the file."""
    end = 0
    try:
        for opcode, argument, position in pickletools.genops(data):
            if opcode.name not in allowed:
                raise kind(
                    f"the pickle instruction {opcode.name} is not allowed",
                    where=f"{where}, byte {position}",
                    hint=hint,
                )
            # The unpickler allocates a memo as large as the largest memo number.
            if opcode.name in _NUMBERED and not 0 <= int(argument or 0) < len(data):
                raise kind(
                    f"memo number {str(argument)[:20]} is out of range",
                    where=f"{where}, byte {position}",
                )
            end = (position or 0) + 1
    except MobileFaceError:
        raise
    except Exception as error:  # pickletools raises ValueError and others for corrupt data
        raise kind(f"not a pickle ({error})", where=where) from error
    if end != len(data):
        raise kind(f"{len(data) - end} bytes after the end of the pickle", where=where)

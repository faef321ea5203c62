"""The exceptions of mobileface.

::

    MobileFaceError
    ├── InputError (ValueError)            invalid argument
    │   ├── ImageError                     unreadable image, wrong dtype, shape or channel count
    │   └── VideoError                     unreadable video, missing camera, no frames
    │       └── LoginError                 a camera refuses the login, or wants one
    ├── ModelError                         unusable model
    │   ├── ModelNotFoundError (LookupError)
    │   ├── CalibrationError (ValueError)  unreadable or invalid calibration
    │   ├── ModelIntegrityError            file does not match the index
    │   └── SpecError (ValueError)         missing or invalid spec
    ├── GalleryError                       unusable gallery file
    ├── OutputError                        output cannot be written
    ├── TuningError                        unusable settings of this machine
    ├── BusyError                          the service has too much to do
    └── ConversionError                    error of the converter (mobileface_convert)
        ├── SourceError                    source file is missing or cannot be fetched
        │   └── SourceIntegrityError       source file has the wrong hash
        ├── SourceFormatError (ValueError) source file does not have the expected format
        ├── GraphError (ValueError)        invalid graph: cycle, missing weight, wrong shape
        ├── UnsupportedOperatorError       operator or attribute value is not supported
        └── ParityError                    converted model differs from its source

Each error has three parts: ``what`` is wrong, ``where`` (file, node, field or array; may be empty)
and a ``hint`` on what to do (may be empty). ``str(error)`` joins them into one line, with control
characters as escapes. The command-line tools print this line and exit with code 2.
"""

from __future__ import annotations

import re

# The exceptions; `shown` is used inside of the three packages.
__all__ = [
    "BusyError",
    "CalibrationError",
    "ConversionError",
    "GalleryError",
    "GraphError",
    "ImageError",
    "InputError",
    "LoginError",
    "MobileFaceError",
    "ModelError",
    "ModelIntegrityError",
    "ModelNotFoundError",
    "OutputError",
    "ParityError",
    "SourceError",
    "SourceFormatError",
    "SourceIntegrityError",
    "SpecError",
    "TuningError",
    "UnsupportedOperatorError",
    "VideoError",
]

_TURNING = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
"""Unicode's controls of the direction of text (UAX 9)."""

_NOT_SHOWN = re.compile(f"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029{_TURNING}]")
_NOT_IN_LINES = re.compile(f"(?![\n\r\t])[\x00-\x1f\x7f-\x9f\ud800-\udfff{_TURNING}]")


def shown(text: object) -> str:
    r"""A text in one line for people, with control characters as escapes, ``\x1b`` or ``\n``.

    File names, names of parameters and keys of indexes may hold anything: escape sequences that
    clear the screen or change its title, line ends that look like another message, controls that
    turn the direction of the text.

    Args:
        text: The text, or an object with one, such as an error or a path.
    """
    return _NOT_SHOWN.sub(_escape, str(text))


def shown_lines(text: str) -> str:
    """Several lines for people: like `shown`, but line ends and tabs stay as they are."""
    return _NOT_IN_LINES.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")


class MobileFaceError(Exception):
    """Base class of all exceptions of this project.

    Args:
        what: What is wrong, without a full stop at the end.
        where: File, node, field or array that the error is about.
        hint: What the user can do, without a full stop at the end.
    """

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        self.what = what
        self.where = where
        self.hint = hint
        text = f"{where}: {what}" if where else what
        super().__init__(shown(f"{text}; {hint}" if hint else text))

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.what, self.where, self.hint)


def _rebuild(kind: type[MobileFaceError], what: str, where: str, hint: str) -> MobileFaceError:
    """Restores an unpickled error with its three parts."""
    return kind(what, where=where, hint=hint)


class InputError(MobileFaceError, ValueError):
    """An argument is invalid."""


class ImageError(InputError):
    """An image cannot be read, or an array is not an image."""


class VideoError(InputError):
    """A video or camera cannot be read, or has no frames."""


class LoginError(VideoError):
    """A camera on the network refuses the login, or wants one."""


class ModelError(MobileFaceError):
    """A model cannot be used."""


class ModelNotFoundError(ModelError, LookupError):
    """No model with the name or for the task, or no calibration of a model, is found."""


class CalibrationError(ModelError, ValueError):
    """A calibration file cannot be read or is invalid."""


class ModelIntegrityError(ModelError):
    """A model file does not match its index, or an index or certificate is invalid."""


class SpecError(ModelError, ValueError):
    """A model has no spec, or an invalid one."""


class GalleryError(MobileFaceError):
    """A gallery file is missing, corrupt, locked, too new or not a gallery."""


class OutputError(MobileFaceError):
    """An output cannot be written."""


class TuningError(MobileFaceError):
    """A file of stored settings is invalid."""


class BusyError(MobileFaceError):
    """The service has more to do than it takes; the same request may succeed a moment later."""


class ConversionError(MobileFaceError):
    """Base class of the converter's errors."""


class SourceError(ConversionError):
    """A source file is missing, unreadable or cannot be fetched."""


class SourceIntegrityError(SourceError):
    """The hash of a source file is not the pinned one."""


class SourceFormatError(ConversionError, ValueError):
    """A source file does not have the expected format."""


class GraphError(ConversionError, ValueError):
    """A graph is invalid: it has a cycle, a missing weight or a wrong shape."""


class UnsupportedOperatorError(ConversionError):
    """An operator, or one of its attribute values, is not supported."""


class ParityError(ConversionError):
    """A converted model differs from its source by more than the tolerance."""

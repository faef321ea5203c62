"""The exceptions of mobileface.

::

    MobileFaceError
    ├── InputError (ValueError)            invalid argument
    │   ├── ImageError                     unreadable image, wrong dtype, shape or channel count
    │   └── VideoError                     unreadable video, missing camera, no frames
    ├── ModelError                         unusable model
    │   ├── ModelNotFoundError (LookupError)
    │   ├── CalibrationError (ValueError)  unreadable or invalid calibration
    │   ├── ModelIntegrityError            file does not match the index
    │   └── SpecError (ValueError)         missing or invalid spec
    ├── GalleryError                       unusable gallery file
    ├── OutputError                        output cannot be written
    ├── TuningError                        unusable settings of this machine
    └── ConversionError                    error of the converter (mobileface_convert)
        ├── SourceError                    source file is missing or cannot be fetched
        │   └── SourceIntegrityError       source file has the wrong hash
        ├── SourceFormatError (ValueError) source file does not have the expected format
        ├── GraphError (ValueError)        invalid graph: cycle, missing weight, wrong shape
        ├── UnsupportedOperatorError       operator or attribute value is not supported
        └── ParityError                    converted model differs from its source

Each error has three parts: ``what`` is wrong, ``where`` (file, node, field or array; may be empty)
and a ``hint`` on what to do (may be empty). ``str(error)`` joins them into one line. The
command-line tools print this line and exit with code 2.
"""

from __future__ import annotations

__all__ = [
    "CalibrationError",
    "ConversionError",
    "GalleryError",
    "GraphError",
    "ImageError",
    "InputError",
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
        super().__init__(f"{text}; {hint}" if hint else text)

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

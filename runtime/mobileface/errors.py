"""Every error that mobileface raises on purpose.

::

    MobileFaceError
    ├── InputError (ValueError)            what the caller passed in
    │   ├── ImageError                     unreadable picture, wrong dtype, shape or channel count
    │   └── VideoError                     unreadable video, absent camera, no frames
    ├── ModelError                         a converted model, or the place it lies in
    │   ├── ModelNotFoundError (LookupError)
    │   ├── CalibrationError (ValueError)  a calibration that makes no sense
    │   ├── ModelIntegrityError            content is not what the index promises
    │   └── SpecError (ValueError)         no spec, or a spec that makes no sense
    ├── GalleryError                       a gallery file that cannot be used
    ├── OutputError                        a result that cannot be written
    ├── TuningError                        stored settings of this machine that cannot be used
    └── ConversionError                    the offline stage (mobileface_convert)
        ├── SourceError                    a source file that is absent or cannot be fetched
        │   └── SourceIntegrityError       fetched or found, but its hash is another
        ├── SourceFormatError (ValueError) bytes that are not the format they claim to be
        ├── GraphError (ValueError)        a graph that cannot be: cycle, lost weight, wrong shape
        ├── UnsupportedOperatorError       an operator, or an attribute value, without a conversion
        └── ParityError                    the converted model differs from its source

Each carries three parts: ``what`` is wrong, ``where`` (file, node, field, array; may be empty) and
``hint``, what to do about it (may be empty). ``str(error)`` joins them into one line. Command line
tools print that line and exit with code 2.
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
    """Base of all errors of this project.

    Args:
        what: What is wrong, without a final full stop.
        where: The file, node, field or array it was found in.
        hint: What the user can do about it, without a final full stop.
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
    """Restores an error that crossed a process boundary with its three parts."""
    return kind(what, where=where, hint=hint)


class InputError(MobileFaceError, ValueError):
    """An argument that cannot be used."""


class ImageError(InputError):
    """A picture that cannot be read, or an array that is not a picture."""


class VideoError(InputError):
    """A video or camera that cannot be read, or that has no frames."""


class ModelError(MobileFaceError):
    """A converted model that cannot be used."""


class ModelNotFoundError(ModelError, LookupError):
    """No model of that name or task, or no calibration of one, in the searched places."""


class CalibrationError(ModelError, ValueError):
    """A calibration file that cannot be read or makes no sense."""


class ModelIntegrityError(ModelError):
    """A model file whose content is not what the index or the format promises."""


class SpecError(ModelError, ValueError):
    """A model without a spec, or with one that makes no sense."""


class GalleryError(MobileFaceError):
    """A gallery file that is damaged, foreign, locked, newer than this version or absent."""


class OutputError(MobileFaceError):
    """A result that cannot be written."""


class TuningError(MobileFaceError):
    """A file of stored settings that cannot be used."""


class ConversionError(MobileFaceError):
    """Something in the offline stage."""


class SourceError(ConversionError):
    """A source file that is absent, unreadable or cannot be fetched."""


class SourceIntegrityError(SourceError):
    """A source file whose hash is not the pinned one."""


class SourceFormatError(ConversionError, ValueError):
    """Bytes that are not the format they claim to be."""


class GraphError(ConversionError, ValueError):
    """A graph that cannot be computed: cycle, missing weight, wrong shape."""


class UnsupportedOperatorError(ConversionError):
    """An operator, or an attribute value of one, without a conversion."""


class ParityError(ConversionError):
    """A converted model that differs from its source by more than its bound."""

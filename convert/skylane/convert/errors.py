"""What can go wrong while a pipeline is converted, and what its author can do about it.

Every message is one line for a person: what is wrong, then what to do. Knows no files, no ONNX.
"""

from typing import ClassVar


class ConversionError(Exception):
    """The pipeline was not published; the message says why and what to do."""

    exit_code: ClassVar[int] = 1
    """What the command line returns. 2 is also what wrong arguments give."""


class Unreadable(ConversionError):
    """A file is missing, damaged, or not of a kind that is read here."""

    exit_code = 2


class BadRows(ConversionError):
    """The sample rows do not fit the pipeline."""

    exit_code = 2


class BadArgument(ConversionError):
    """A value given by the author is outside what is allowed."""

    exit_code = 2


class Untrusted(ConversionError):
    """Loading the file could run code that its author wrote, and nobody said that this is fine."""

    exit_code = 3


class Unconvertible(ConversionError):
    """No graph exists for this pipeline, or none that ONNX Runtime loads."""

    exit_code = 4


class Defective(Unconvertible):
    """A graph could not be finished, does not load, or fails. For maintainers, not for authors."""


class Refused(Unconvertible):
    """A step does what no graph does as scikit-learn does it: there is no point in trying other ways."""


class OutOfTolerance(ConversionError):
    """There are graphs, but none answers as scikit-learn does."""

    exit_code = 5


class Unwritable(ConversionError):
    """The model repository cannot be written."""

    exit_code = 6

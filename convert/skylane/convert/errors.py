"""The errors of a conversion or an import, each with the command's exit code.

Every message is one line: what is wrong, then what to do about it.
"""

from typing import ClassVar


class ConversionError(Exception):
    """Nothing was published; the message gives the reason and the remedy."""

    exit_code: ClassVar[int] = 1
    """The exit code of the command. 2 is also that of wrong arguments."""


class Unreadable(ConversionError):
    """A file is missing, damaged, or of an unsupported format."""

    exit_code = 2


class BadRows(ConversionError):
    """The sample rows do not fit the pipeline."""

    exit_code = 2


class BadArgument(ConversionError):
    """An argument has a value that is not allowed."""

    exit_code = 2


class Untrusted(ConversionError):
    """Loading the file could run arbitrary code, and the caller has not allowed that."""

    exit_code = 3


class Unconvertible(ConversionError):
    """No graph exists for this pipeline, or none that ONNX Runtime loads."""

    exit_code = 4


class Defective(Unconvertible):
    """A graph could not be completed, does not load, or fails: the message is for maintainers, not for authors."""


class Refused(Unconvertible):
    """A step cannot be expressed as a graph with scikit-learn's behaviour, so other ways of export are not tried."""


class OutOfTolerance(ConversionError):
    """Graphs were built, but the answers of none are within the tolerance of scikit-learn's."""

    exit_code = 5


class Unwritable(ConversionError):
    """The model repository cannot be written."""

    exit_code = 6

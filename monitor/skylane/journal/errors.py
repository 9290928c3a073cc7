"""What can be wrong with a journal; each message names the file or argument, what was expected and what came."""


class JournalError(Exception):
    """The journal cannot be used as asked."""


class JournalNotFound(JournalError):
    """There is no journal in the directory, or none of the model."""


class UnsupportedFormat(JournalError):
    """A segment has a format that this release does not read."""


class DamagedSegment(JournalError):
    """The content of a closed segment is not what was written."""


class ColumnNotKept(JournalError):
    """A column is asked for that the journal does not hold; the message names the line of [monitor] that keeps it."""


class InvalidArgument(JournalError):
    """An argument is not what was expected."""

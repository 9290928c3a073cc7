"""Text for messages and tables of several steps. Pure."""

from collections.abc import Sequence
from typing import Final

ERROR_CHARACTERS_MAX: Final = 200


def one_line(error: Exception, *, with_type: bool = False) -> str:
    """The message of a library's error in one line of limited length."""
    text = f"{type(error).__name__}: {error}" if with_type else str(error)
    return " ".join(text.split())[:ERROR_CHARACTERS_MAX]


def shape_text(shape: Sequence[int | None]) -> str:
    """A shape in words: (rows, any, 4)."""
    return f"({', '.join(['rows', *('any' if size is None else str(size) for size in shape[1:])])})"

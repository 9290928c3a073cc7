"""Text of error messages: quotes and shortens names from the network, lists names, suggests the intended name."""

import difflib
from collections.abc import Iterable

NAME_LENGTH_MAX = 100
CANDIDATES_MAX = 100
"""Most names to compare with: comparing with 1,000 similar ones takes 120 ms (measured) and blocks all requests."""


def quoted(name: str) -> str:
    """A name from the network, safe to print and of bounded length."""
    return repr(name if len(name) <= NAME_LENGTH_MAX else name[:NAME_LENGTH_MAX] + "…")


def listed(names: Iterable[object], limit: int = 20) -> str:
    """`a, b and c`; a long list ends with the number of names left out."""
    texts = [str(name) for name in names]
    if len(texts) > limit:
        return f"{', '.join(texts[:limit])} and {len(texts) - limit} more"
    return ", ".join(texts[:-1]) + (" and " if len(texts) > 1 else "") + (texts[-1] if texts else "nothing")


def suggestion(name: str, candidates: Iterable[str]) -> str:
    """`did you mean 'x'? ` if a candidate is close to the name; empty if none is, or if there are too many."""
    names = list(candidates)
    close = difflib.get_close_matches(name[:NAME_LENGTH_MAX], names, n=1) if len(names) <= CANDIDATES_MAX else []
    return f"did you mean {close[0]!r}? " if close else ""

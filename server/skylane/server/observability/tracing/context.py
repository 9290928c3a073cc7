"""Trace contexts: the parent that a caller sends, and which calls without a parent begin a trace. Pure.

W3C Trace Context, levels 1 and 2: https://www.w3.org/TR/trace-context/
"""

import math
import re
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"
TRACESTATE_CHARACTERS_MAX: Final = 512
"""The length that every system must propagate; longer values are not propagated."""
TRACESTATE_MEMBERS_MAX: Final = 32

SAMPLED: Final = 1

_is_member: Final = re.compile(
    r"(?:[a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})"
    r"=[ -+\--<>-~]{0,255}[!-+\--<>-~]"
).fullmatch

Fields = Sequence[tuple[str, str | bytes]]
"""Metadata of gRPC or header fields of HTTP, names in lower case."""

_parts = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?").fullmatch
_is_unsampled = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f][02468ace]").fullmatch
"""Recognises most unsampled values in a fifth of the time."""
_FOR_EVER: Final = 2.0**53


class Parent(NamedTuple):
    """The caller's span, to which a call belongs."""

    trace_id: int
    span_id: int
    sampled: bool
    state: str = ""
    """The value of tracestate, unchanged."""


UNSAMPLED: Final = Parent(0, 0, False)
"""Every parent that is not sampled: its ids are not needed, so no object is created."""


def parent_of(metadata: Fields) -> Parent | None:
    """The parent that a request's fields name; None if there is none, or if they are invalid.

    Several `tracestate` fields are one list, several `traceparent` none at all.
    """
    parents = [str(value) for name, value in metadata if name == TRACEPARENT]
    if len(parents) != 1:
        return None
    if _is_unsampled(parents[0]):
        return UNSAMPLED
    match = _parts(parents[0])
    if match is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    if version == "ff" or (version == "00" and more is not None):
        return None
    parent = Parent(int(trace_id, 16), int(span_id, 16), bool(int(flags, 16) & SAMPLED))
    if not parent.trace_id or not parent.span_id:
        return None
    if not parent.sampled:
        return UNSAMPLED
    return parent._replace(state=_state([str(value) for name, value in metadata if name == TRACESTATE]))


def _state(values: Sequence[str]) -> str:
    """The joined value of several tracestate fields; empty if one is invalid, since it must not be propagated then."""
    members = [member.strip(" \t") for value in values for member in value.split(",") if member.strip(" \t")]
    keys = {member.partition("=")[0] for member in members}
    state = ",".join(members)
    fits = len(members) <= TRACESTATE_MEMBERS_MAX and len(state) <= TRACESTATE_CHARACTERS_MAX
    return state if fits and len(keys) == len(members) and all(map(_is_member, members)) else ""


class Chance(Protocol):
    """random.Random."""

    def random(self) -> float:
        """A number from 0 to below 1."""

    def getrandbits(self, k: int, /) -> int:
        """A number of k bits."""


class Roots:
    """Samples calls without a parent, each independently with the same probability.

    Instead of one random number per call, the number of calls until the next sampled one is drawn from the geometric
    distribution, which is equivalent, so that a batch costs one comparison.
    """

    def __init__(self, ratio: float, chance: Chance) -> None:
        """`ratio`: 0 to 1."""
        self._ratio, self._chance = ratio, chance
        self._passed_over = self._gap()
        """Calls until the next one that is sampled."""

    def choose(self, calls: int) -> Sequence[int]:
        """Indices of the calls that begin a trace, among the next `calls` calls; ascending."""
        if self._passed_over >= calls:
            self._passed_over -= calls
            return ()
        chosen, place = list[int](), self._passed_over
        while place < calls:
            chosen.append(int(place))
            place += 1 + self._gap()
        self._passed_over = place - calls
        return chosen

    def trace_id(self) -> int:
        """A new trace id. OpenTelemetry's samplers that decide by the id's ratio agree that it is sampled."""
        high, low = self._chance.getrandbits(64), int(self._chance.random() * self._ratio * 2.0**64)
        return high << 64 | max(low, 1)

    def _gap(self) -> float:
        if self._ratio <= 0:
            return math.inf
        if self._ratio >= 1:
            return 0
        gap = math.log1p(-self._chance.random()) / math.log1p(-self._ratio)
        return math.floor(gap) if gap < _FOR_EVER else math.inf

"""Where a call stands in a trace: what its caller says, and which calls without a trace begin one. Pure.

W3C Trace Context, levels 1 and 2: https://www.w3.org/TR/trace-context/
"""

import math
import re
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"
TRACESTATE_CHARACTERS_MAX: Final = 512
"""The least that everybody has to pass on; we pass on no more."""
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
"""The same for what most callers send, in a fifth of the time."""
_FOR_EVER: Final = 2.0**53


class Parent(NamedTuple):
    """A span of somebody else that a call belongs to."""

    trace_id: int
    span_id: int
    sampled: bool
    state: str = ""
    """What vendors add, as it came."""


UNSAMPLED: Final = Parent(0, 0, False)
"""Some parent that is not recorded: then nothing else is of interest, and no object needs to be made."""


def parent_of(metadata: Fields) -> Parent | None:
    """What the fields of a request say; None if they name no parent, or not as they should.

    Several `tracestate` fields are one list, several `traceparent` none at all.
    """
    parents = [str(value) for name, value in metadata if name == TRACEPARENT]
    if len(parents) != 1:
        return None
    if _is_unsampled(parents[0]):
        return UNSAMPLED
    found = _parts(parents[0])
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == "ff" or (version == "00" and more is not None):
        return None
    parent = Parent(int(trace_id, 16), int(span_id, 16), bool(int(flags, 16) & SAMPLED))
    if not parent.trace_id or not parent.span_id:
        return None
    if not parent.sampled:
        return UNSAMPLED
    return parent._replace(state=_state([str(value) for name, value in metadata if name == TRACESTATE]))


def _state(values: Sequence[str]) -> str:
    """What several fields say together, or nothing if one of them is not what it should be: then it must not go on."""
    members = [member.strip(" \t") for value in values for member in value.split(",") if member.strip(" \t")]
    keys = {member.partition("=")[0] for member in members}
    told = ",".join(members)
    fits = len(members) <= TRACESTATE_MEMBERS_MAX and len(told) <= TRACESTATE_CHARACTERS_MAX
    return told if fits and len(keys) == len(members) and all(map(_is_member, members)) else ""


class Chance(Protocol):
    """random.Random."""

    def random(self) -> float:
        """From 0 to below 1."""

    def getrandbits(self, k: int, /) -> int:
        """So many."""


class Roots:
    """Which of the calls without a parent begin a trace: each with the same probability, whatever the others do.

    What is drawn is not a number for each call but how many are passed over until the next one, so that a batch costs
    one comparison. It is the same by the law of geometric distribution.
    """

    def __init__(self, ratio: float, chance: Chance) -> None:
        """`ratio`: 0 to 1."""
        self._ratio, self._chance = ratio, chance
        self._passed_over = self._gap()
        """Calls to come that are not chosen."""

    def choose(self, calls: int) -> Sequence[int]:
        """Places of those that begin a trace, among so many more calls; ascending."""
        if self._passed_over >= calls:
            self._passed_over -= calls
            return ()
        found, place = list[int](), self._passed_over
        while place < calls:
            found.append(int(place))
            place += 1 + self._gap()
        self._passed_over = place - calls
        return found

    def trace_id(self) -> int:
        """A new one. Samplers by the ratio of a trace's id, as further in OpenTelemetry, agree that it is recorded."""
        high, low = self._chance.getrandbits(64), int(self._chance.random() * self._ratio * 2.0**64)
        return high << 64 | max(low, 1)

    def _gap(self) -> float:
        if self._ratio <= 0:
            return math.inf
        if self._ratio >= 1:
            return 0
        gap = math.log1p(-self._chance.random()) / math.log1p(-self._ratio)
        return math.floor(gap) if gap < _FOR_EVER else math.inf

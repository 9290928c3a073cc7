"""Successive halving: which policies are measured next, and which is the best in the end. Pure: it is given what they
sustained.

First all of them, one short search each, then the better ones and what their changes do together, and at last the best
two against the policy that the model has: several searches each, from nothing that was measured before, because who was
picked for a good figure had luck in it. Searches of one round run side by side, a rate of each in turn, so that what
disturbs the machine disturbs all of them: they are compared within their round. A policy is better only if it won every
round against the one that it would replace, by more than servers of one policy differ.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Final

import msgspec

from skylane.bench.figures import Spread, ratios, spread
from skylane.bench.lab.capacity.search import Kind
from skylane.bench.lab.scenarios.verdicts import LEAST
from skylane.bench.lab.tune.policies import OWN, Candidate, combined

KEPT_MAX: Final = 4
"""Policies with one change that are in the second stage."""
FINALISTS: Final = 2
LAST_ROUNDS: Final = 6
"""Searches of each finalist. One that is no better wins all of them in 1 of 64 runs: the fewest with which it is less
likely than CHANCE_MAX that any of two does."""


class Score(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The result of one search."""

    kind: Kind
    rate_per_s: float
    """The highest sustainable; 0 if none was."""
    ceiling: bool = False
    """Whether it is all that the generator can send."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Policies that are measured in turn."""

    candidates: tuple[Candidate, ...]
    starts_per_s: tuple[float | None, ...]
    """Where the search of each begins; None: where the rig proposes."""
    rounds: int
    """Searches of each."""
    precision: float
    growth: float
    lengthened: float
    """How many times as long as asked each measurement lasts."""


Scores = Mapping[Candidate, Sequence[Score]]


@dataclass(frozen=True, kw_only=True)
class Result:
    """The end."""

    best: Candidate | None
    """None: nothing was better than what there is."""
    rates: Spread | None
    """Of the best, or of the one that came nearest to being it."""
    runner: Candidate | None
    """Of whom `rates` are."""
    own: Spread
    """Of the policy that the model has."""
    why: str
    """Why nothing is better; empty if something is."""
    ratio: Spread | None = None
    """`rates` ÷ `own`, round by round, where both are known."""


def next_stage(candidates: Sequence[Candidate], played: Sequence[Scores]) -> Stage | Result:
    """What to measure next, after what was measured in the stages so far."""
    if not played:
        return _stage((OWN, *candidates), {}, rounds=1, precision=0.2, growth=2.0, lengthened=1.0)
    last = played[-1]
    if all(score.ceiling for score in last[OWN]):
        return _nothing(last, GENERATOR)
    if not candidates:
        return _nothing(last, "there was nothing else to try")
    known = {candidate: _middle(scores) for stage in played for candidate, scores in stage.items()}
    ranked = sorted((each for each in last if each != OWN), key=lambda each: (-known[each], len(each.changes)))
    if len(played) == 1:
        kept = ranked[: max(FINALISTS, min(KEPT_MAX, (len(ranked) + 1) // 2))]
        helped = [each for each in ranked if known[each] > known[OWN]]
        together = [combined(helped[:2]), combined(helped)] if len(helped) > 1 else []
        new = [each for each in dict.fromkeys(together) if each not in known]
        expected = dict.fromkeys(new, known[ranked[0]])
        return _stage((OWN, *kept, *new), known | expected, rounds=1, precision=0.1, growth=1.25, lengthened=2.0)
    if len(played) == 2:
        chosen = (OWN, *ranked[:FINALISTS])
        return _stage(chosen, known, rounds=LAST_ROUNDS, precision=0.05, growth=1.25, lengthened=2.0)
    return _result(last, ranked)


UNSETTLED: Final = "not every search came to an end: measurements contradicted each other, or were too few"
GENERATOR: Final = "the generator is the limit for it, so that nothing can be shown to be better"


def _result(last: Scores, ranked: Sequence[Candidate]) -> Result:
    if any(score.kind == "at least" for score in last[OWN]):
        return _nothing(last, GENERATOR)
    own = last[OWN]
    settled = [each for each in ranked if _settled(last[each])] if _settled(own) else []
    for candidate in settled:
        if all(
            theirs.rate_per_s > (1 + LEAST) * ours.rate_per_s for theirs, ours in zip(last[candidate], own, strict=True)
        ):
            return _compared(candidate, last[candidate], own, "")
    if not settled:
        return _nothing(last, UNSETTLED)
    nearest = settled[0]
    below = _middle(last[nearest]) <= _middle(own)
    why = "nothing came out above it" if below else "nothing won every search"
    return replace(_compared(nearest, last[nearest], own, why), best=None)


def _compared(candidate: Candidate, scores: Sequence[Score], own: Sequence[Score], why: str) -> Result:
    each = ratios([score.rate_per_s for score in scores], [score.rate_per_s for score in own])
    return Result(
        best=candidate, runner=candidate, rates=_spread(scores), own=_spread(own), why=why,
        ratio=spread(each) if each else None,
    )  # fmt: skip


def _nothing(last: Scores, why: str) -> Result:
    return Result(best=None, rates=None, runner=None, own=_spread(last[OWN]), why=why)


def _stage(
    candidates: tuple[Candidate, ...],
    known: Mapping[Candidate, float],
    *,
    rounds: int,
    precision: float,
    growth: float,
    lengthened: float,
) -> Stage:
    return Stage(
        candidates=candidates,
        starts_per_s=tuple(known.get(each) or None for each in candidates),
        rounds=rounds,
        precision=precision,
        growth=growth,
        lengthened=lengthened,
    )


def _settled(scores: Sequence[Score]) -> bool:
    return not any(score.kind in ("unsettled", "unknown") for score in scores)


def _middle(scores: Sequence[Score]) -> float:
    return float(median(score.rate_per_s for score in scores))


def _spread(scores: Sequence[Score]) -> Spread:
    return spread([score.rate_per_s for score in scores])

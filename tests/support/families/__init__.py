"""The matrix of the conformance suite: estimator families with settings to draw, and rows that are hard on graphs."""

from typing import Final

from support.families.models import MODELS
from support.families.rows import KINDS, Drawn, Family, Rows, drawn
from support.families.steps import STEPS

__all__ = ["FAMILIES", "KINDS", "Drawn", "Family", "Rows", "drawn"]

FAMILIES: Final = (*MODELS, *STEPS)

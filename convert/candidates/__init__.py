"""The graphs that are tried for every pipeline. To add one, write a module with a `@candidate` and import it."""

from convert.candidates import as_exported, int8_dynamic
from convert.candidates.registry import RECIPES, Built, NotApplicable, Recipe, Source

__all__ = ["RECIPES", "Built", "NotApplicable", "Recipe", "Source", "as_exported", "int8_dynamic"]

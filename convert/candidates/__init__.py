"""The graphs that are tried for every pipeline. Adding one: a module with a function under `@candidate`, named below."""

from convert.candidates import as_exported, int8_dynamic
from convert.candidates.registry import RECIPES, Built, NotApplicable, Recipe, Source

__all__ = ["RECIPES", "Built", "NotApplicable", "Recipe", "Source", "as_exported", "int8_dynamic"]

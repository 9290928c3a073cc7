"""The graphs that are tried for every pipeline. To add one, write a module with a `@candidate`, and import it here.

They are tried and shown in the order of the imports.
"""

from skylane.convert.export.candidates import emitted, as_exported  # isort: skip
from skylane.convert.export.candidates import one_node, split_forest  # isort: skip
from skylane.convert.export.candidates import float16_weights, int8_dynamic, int8_static  # isort: skip
from skylane.convert.export.candidates.registry import RECIPES, Built, NotApplicable, Recipe, Source

__all__ = [
    "RECIPES",
    "Built",
    "NotApplicable",
    "Recipe",
    "Source",
    "as_exported",
    "emitted",
    "float16_weights",
    "int8_dynamic",
    "int8_static",
    "one_node",
    "split_forest",
]

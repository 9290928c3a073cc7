"""Views as data: expression trees, their types, and the JSON form with its hash. Reads no files."""

from skylane.features.compiled.trees import NUMBER, TEXT, TIME, Tree, columns_of, type_of
from skylane.features.compiled.views import CompiledFeature, CompiledView, SourceFile

__all__ = [
    "NUMBER",
    "TEXT",
    "TIME",
    "CompiledFeature",
    "CompiledView",
    "SourceFile",
    "Tree",
    "columns_of",
    "type_of",
]

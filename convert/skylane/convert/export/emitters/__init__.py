"""Graphs of our own making. Every module in here is imported, so that adding a family is adding one file.

A family's module registers functions with `@emits(method, *classes)`. Each gets the fitted estimator, its input as
`Features` and the `Emission`, and answers `Features`: see `affine.py` for what puts arithmetic off, and `composite.py`
for what asks others.
"""

import importlib
import pkgutil

from skylane.convert.export.emitters.emit import emit
from skylane.convert.export.emitters.registry import EMITTERS, Declined, emits

__all__ = ["EMITTERS", "Declined", "emit", "emits"]

for _module in pkgutil.walk_packages(__path__, f"{__name__}."):
    importlib.import_module(_module.name)

"""Emitters: functions that write the ONNX graph of one family of estimators. Every module here is imported on start.

To add a family, add a file: its functions are registered with `@emits(method, *classes)`. Each function gets the
fitted estimator, its input as `Features` and the `Emission`, and returns `Features`. `affine.py` is an example of
arithmetic that is deferred, `composite.py` of an estimator that contains others.
"""

import importlib
import pkgutil

from skylane.convert.export.emitters.emit import emit
from skylane.convert.export.emitters.registry import EMITTERS, Declined, emits

__all__ = ["EMITTERS", "Declined", "emit", "emits"]

for _module in pkgutil.walk_packages(__path__, f"{__name__}."):
    importlib.import_module(_module.name)

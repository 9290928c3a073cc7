"""The model card: a manifest as one HTML page, for people. Reads the manifest alone, so every version can have one.

python -m convert.card models/flights_late/3 > card.html
"""

from convert.card.page import cell, page

__all__ = ["cell", "page"]

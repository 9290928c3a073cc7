"""The model card: a manifest as one HTML page, for people. Reads the manifest alone, so every version can have one.

python -m skylane.convert.publishing.card models/flights_late/3 > card.html
"""

from skylane.convert.publishing.card.page import cell, page

__all__ = ["cell", "page"]

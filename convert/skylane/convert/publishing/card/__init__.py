"""The model card: a manifest as one HTML page. Needs only the manifest, so a card can be made for every version.

python -m skylane.convert.publishing.card models/flights_late/3 > card.html
"""

from skylane.convert.publishing.card.page import cell, page

__all__ = ["cell", "page"]

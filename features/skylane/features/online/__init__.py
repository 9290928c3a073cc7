"""The online store: values as they are served. numpy and SQLite alone."""

from skylane.features.online.store import Freshness, Served, Store

__all__ = ["Freshness", "Served", "Store"]

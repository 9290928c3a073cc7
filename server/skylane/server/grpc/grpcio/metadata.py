"""What a call's metadata says. Pure."""

from typing import Any

from skylane.server.core import request_ids


def value_of(metadata: Any, key: str) -> str | None:
    """The first value of a key, if it is text."""
    return next((value for each, value in metadata or () if each == key and isinstance(value, str)), None)


def request_id_of(metadata: Any) -> str:
    """The caller's id of the request; empty if there is none."""
    return request_ids.sanitized(value_of(metadata, request_ids.FIELD) or "")

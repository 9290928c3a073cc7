"""The text under which an entity is stored."""

import json
from collections.abc import Sequence


def key_text(values: Sequence[str | int]) -> str:
    """A key of one column is its text; one of several is a JSON list of texts."""
    texts = [str(value) for value in values]
    return texts[0] if len(texts) == 1 else json.dumps(texts, separators=(",", ":"), ensure_ascii=False)

"""Finds the pipeline step that contains a type of a skops file. Reads the file's schema; creates no objects."""

import json
from collections.abc import Collection
from typing import Any, Final

STEPS: Final = ("steps", "transformers", "transformer_list", "estimators")
"""Parameters whose tuples begin with the name of a step."""


def steps_of(schema: str | bytes, types: Collection[str]) -> dict[str, str]:
    """Type → path of the first step that contains it, such as "columns/city"; without types outside of all steps."""
    untrusted: dict[str, str] = {}
    waiting: list[tuple[Any, tuple[str, ...], bool]] = [(json.loads(schema), (), False)]
    while waiting:
        node, path, named = waiting.pop()
        if isinstance(node, list):
            waiting.extend((item, path, named) for item in reversed(node))
        if not isinstance(node, dict):
            continue
        content = node.get("content")
        name = f"{node.get('__module__')}.{node.get('__class__')}"
        if name in types and path:
            untrusted.setdefault(name, "/".join(path))
        if named and node.get("__loader__") == "TupleNode" and isinstance(content, list) and content:
            waiting.extend((item, (*path, _text(content[0])), False) for item in reversed(content[1:]))
            continue
        for key, value in reversed(node.items()):
            waiting.append((value, path, key in STEPS or (named and key == "content")))
    return untrusted


def _text(node: Any) -> str:
    """A step's name as written in the file."""
    try:
        return str(json.loads(node["content"]))
    except (TypeError, KeyError, ValueError):
        return "?"

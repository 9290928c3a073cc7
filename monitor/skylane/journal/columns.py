"""Which columns of a model's inputs are kept, hashed or dropped, as [monitor] in its model.toml says. Pure.

A column is dropped if `drop` names it, else hashed if `hash` does, else kept if `keep` does. Patterns such as `wind_*`
may be used. A column of texts is kept only if `keep` has its exact name, because texts tend to name people.
"""

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

Treatment = Literal["kept", "hashed", "dropped"]

EVERYTHING: Final = ("*",)


@dataclass(frozen=True)
class Column:
    """What happens to a column of the inputs."""

    name: str
    treatment: Treatment
    reason: str = ""
    """Why it is not kept, in words that end a sentence."""


def treatments(
    columns: Mapping[str, bool],
    keep: Sequence[str] = EVERYTHING,
    drop: Sequence[str] = (),
    hash: Sequence[str] = (),  # noqa: A002, it is the key's name in model.toml
) -> tuple[Column, ...]:
    """What happens to each column; `columns` says of each whether it holds texts."""
    return tuple(_treatment(name, text, keep, drop, hash) for name, text in columns.items())


def unmatched(columns: Mapping[str, bool], *patterns: Sequence[str]) -> tuple[str, ...]:
    """Names and patterns that match no column: most likely misspelt. `*` always counts as matched."""
    return tuple(
        pattern
        for each in patterns
        for pattern in each
        if pattern != "*" and not any(fnmatch.fnmatchcase(name, pattern) for name in columns)
    )


def _treatment(name: str, text: bool, keep: Sequence[str], drop: Sequence[str], hashed: Sequence[str]) -> Column:
    if pattern := _match(name, drop):
        return Column(name, "dropped", f"[monitor] drop names {pattern!r}")
    if pattern := _match(name, hashed):
        return Column(name, "hashed", f"[monitor] hash names {pattern!r}")
    if text and name not in keep:
        return Column(name, "dropped", f"it holds texts, which are kept only if [monitor] keep names {name!r}")
    if _match(name, keep) is None:
        return Column(name, "dropped", f"[monitor] keep does not name {name!r}")
    return Column(name, "kept")


def _match(name: str, patterns: Sequence[str]) -> str | None:
    return next((pattern for pattern in patterns if fnmatch.fnmatchcase(name, pattern)), None)

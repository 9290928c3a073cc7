"""Types and actions of options that several commands have."""

import argparse
from typing import Any


def hosts(text: str) -> tuple[str, ...]:
    """The hosts of a list with commas, as an option or the environment has it."""
    return tuple(part.strip() for part in text.split(","))


def numbers(text: str) -> tuple[int, ...]:
    """Whole numbers with commas between."""
    return tuple(map(int, text.split(",")))


class EachHost(argparse.Action):
    """Collects what every `--host` says; the first one replaces the default."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,  # noqa: ARG002 - as argparse calls it
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,  # noqa: ARG002
    ) -> None:
        before = getattr(namespace, self.dest)
        setattr(namespace, self.dest, values if before is self.default else (*before, *values))

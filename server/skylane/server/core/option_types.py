"""argparse types and actions of options that several commands have."""

import argparse
from typing import Any


def hosts(text: str) -> tuple[str, ...]:
    """A comma-separated list of hosts, from an option or the environment."""
    return tuple(part.strip() for part in text.split(","))


def numbers(text: str) -> tuple[int, ...]:
    """Comma-separated integers."""
    return tuple(map(int, text.split(",")))


class EachHost(argparse.Action):
    """Collects the hosts of every `--host`; the first one replaces the default."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,  # noqa: ARG002 - as argparse calls it
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,  # noqa: ARG002
    ) -> None:
        before = getattr(namespace, self.dest)
        setattr(namespace, self.dest, values if before is self.default else (*before, *values))

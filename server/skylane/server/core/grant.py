"""What a caller may do: a grant, which every call carries. Tokens and their file are in `auth`. Pure."""

import math
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final, Literal, get_args

from skylane.server.core.errors import PermissionDenied

Action = Literal["predict", "metrics", "admin"]

ACTIONS: Final[tuple[Action, ...]] = get_args(Action)


@dataclass(frozen=True)
class Grant:
    """What one caller may do. Scopes alone: that it has not expired is seen when it is given out."""

    name: str
    """The token's name in the file; empty where no token is asked for."""
    actions: frozenset[Action]
    models: tuple[str, ...]
    ends_at: float = math.inf
    """Seconds since the epoch."""

    def may(self, action: Action, model: str = "") -> bool:
        """Whether this is allowed; `model` is empty for what concerns no single one. Admins may do everything."""
        if action not in self.actions and "admin" not in self.actions:
            return False
        return not model or any(fnmatchcase(model, pattern) for pattern in self.models)

    def check(self, action: Action, model: str = "") -> None:
        """Raise PermissionDenied unless `may`."""
        if not self.may(action, model):
            raise PermissionDenied("these credentials do not allow this")


ANYONE: Final = Grant("", frozenset(("predict", "metrics")), ("*",))
"""Everybody's, where no tokens are set. Admin methods need a token that allows them."""

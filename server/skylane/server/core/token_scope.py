"""The scope of a token: the actions and models that a caller may use. Every call carries it as a `Grant`. Pure.

`auth.authenticator` finds the grant for a token. The transports check it with `Grant.check`, which is all that a check
of a scope is: grpc/base/method_handler.py for batched methods, http/handler_context.py for HTTP.
"""

import math
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final, Literal, get_args

from skylane.server.core.errors import PermissionDenied

Action = Literal["predict", "metrics", "outcome", "admin"]

ACTIONS: Final[tuple[Action, ...]] = get_args(Action)
BY_NAME_ONLY: Final[frozenset[Action]] = frozenset({"outcome"})
"""Actions that `admin` does not include. Outcomes decide which version is promoted: who records them is named."""


@dataclass(frozen=True)
class Grant:
    """What one caller may do. Expiry is checked when the grant is issued, not here."""

    name: str
    """The token's name in the token file; empty if the server requires no tokens."""
    actions: frozenset[Action]
    models: tuple[str, ...]
    ends_at: float = math.inf
    """Seconds since the epoch."""

    def may(self, action: Action, model: str = "") -> bool:
        """Whether this is allowed; `model` is empty for actions on no single model.

        `admin` includes every action but those of BY_NAME_ONLY.
        """
        if action not in self.actions and ("admin" not in self.actions or action in BY_NAME_ONLY):
            return False
        return not model or any(fnmatchcase(model, pattern) for pattern in self.models)

    def check(self, action: Action, model: str = "") -> None:
        """Raise PermissionDenied unless `may`."""
        if not self.may(action, model):
            raise PermissionDenied("these credentials do not allow this")


ANYONE: Final = Grant("", frozenset(("predict", "metrics")), ("*",))
"""The grant of every caller if no tokens are configured."""

"""Who may record outcomes, and how entities of a model are recorded."""

from types import SimpleNamespace
from typing import Any

import pytest

from skylane.policy import Monitor
from skylane.server.admin.outcome_recording import OutcomeRecording, hashes_entities
from skylane.server.core.errors import NotConfigured, PermissionDenied
from skylane.server.core.token_scope import ANYONE, Grant

TOKEN = Grant("airline", frozenset(("outcome",)), ("flights",))


def recording(*, loopback: bool, configured: bool = True) -> OutcomeRecording:
    """One that refuses before it reads anything of its models."""
    parts: dict[str, Any] = {"recorder": object() if configured else None, "directory": None}
    return OutcomeRecording(loopback=loopback, **parts)


@pytest.mark.parametrize(
    ("grant", "loopback", "refused"),
    [
        pytest.param(ANYONE, True, None, id="anybody on this machine"),
        pytest.param(ANYONE, False, PermissionDenied, id="anybody elsewhere"),
        pytest.param(TOKEN, False, None, id="a token for some model"),
        pytest.param(
            Grant("a", frozenset(("predict", "admin")), ("*",)), True, PermissionDenied, id="a token without the action"
        ),
    ],
)
def test_a_caller_is_refused_before_its_message_is_decoded(
    grant: Grant, refused: type[Exception] | None, *, loopback: bool
) -> None:
    if refused is None:
        recording(loopback=loopback).check_caller(grant)
    else:
        with pytest.raises(refused):
            recording(loopback=loopback).check_caller(grant)


def test_a_server_without_a_journal_decodes_nothing() -> None:
    with pytest.raises(NotConfigured):
        recording(loopback=True, configured=False).check_caller(ANYONE)


@pytest.mark.parametrize(
    ("monitors", "expected"),
    [
        pytest.param([Monitor(entity="tail", hash=("tail",))], True, id="the column is hashed"),
        pytest.param([Monitor(entity="tail", hash=("t*",))], True, id="by a pattern"),
        pytest.param([Monitor(entity="tail", hash=("dest",))], False, id="another column is"),
        pytest.param([Monitor(entity="tail"), Monitor(entity="tail", hash=("tail",))], True, id="of one version"),
        pytest.param([Monitor(hash=("tail",))], None, id="there is no entity"),
        pytest.param(None, None, id="the model is not loaded"),
    ],
)
def test_entities_are_hashed_if_the_configuration_says_so(
    monitors: list[Monitor] | None, expected: bool | None
) -> None:
    versions = {number: SimpleNamespace(monitor=monitor) for number, monitor in enumerate(monitors or ())}
    routes: Any = SimpleNamespace(models={} if monitors is None else {"m": SimpleNamespace(versions=versions)})
    assert hashes_entities(routes, "m") is expected

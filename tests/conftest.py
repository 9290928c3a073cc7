"""Fixtures of several folders. The server is imported inside them, so that tests without one do not need it."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from skylane.server.core.settings import Transport

settings.register_profile("skylane", deadline=None)  # how long an example takes on a busy machine proves nothing
settings.load_profile("skylane")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--exhaustive`: everything that can be drawn, where the default is a few examples."""
    parser.addoption("--exhaustive", action="store_true", help="draw all that can be drawn, instead of a few examples")


@pytest.fixture(scope="session")
def small_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with `linear`, `mixed` and `touchy`. Read-only: a test that publishes makes its own."""
    from support import models

    root = tmp_path_factory.mktemp("models")
    models.linear(root)
    models.mixed(root)
    models.touchy(root)
    return root


@pytest.fixture(scope="session", params=["native", "grpcio"])
def transport(request: pytest.FixtureRequest) -> "Transport":
    """Each transport in turn."""
    chosen: Transport = request.param
    return chosen


@pytest.fixture(scope="session")
def server_address(transport: "Transport", small_models: Path) -> Iterator[str]:
    """A server of the small models on this transport, shared by all tests that leave it as it is."""
    from support.server import serving

    with serving(small_models, transport) as server:
        yield server.address

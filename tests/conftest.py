"""Fixtures of several folders."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from server.settings import Transport
from support import models
from support.server import serving


@pytest.fixture(scope="session")
def small_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with `linear`, `mixed` and `touchy`. Read-only: a test that publishes makes its own."""
    root = tmp_path_factory.mktemp("models")
    models.linear(root)
    models.mixed(root)
    models.touchy(root)
    return root


@pytest.fixture(scope="session", params=["native", "grpcio"])
def transport(request: pytest.FixtureRequest) -> Transport:
    """Each transport in turn."""
    chosen: Transport = request.param
    return chosen


@pytest.fixture(scope="session")
def server_address(transport: Transport, small_models: Path) -> Iterator[str]:
    """A server of the small models on this transport, shared by all tests that leave it as it is."""
    with serving(small_models, transport) as server:
        yield server.address

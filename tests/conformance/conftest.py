"""One server for all tests of HTTP that leave it as it is."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trustme

from support.security import Certificates

if TYPE_CHECKING:
    from support.http import Http
    from support.server import RunningServer


@pytest.fixture(scope="session")
def http_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator["RunningServer"]:
    """Serves `linear` with labels, `mixed`, `touchy`, and an echo of each type under the type's name."""
    from skylane.dtypes import DTYPES
    from support import models
    from support.server import serving

    root = tmp_path_factory.mktemp("models")
    models.linear(root)
    models.mixed(root)
    models.touchy(root)
    for dtype in DTYPES:
        models.echo(root, dtype, dtype)
    (root / "linear" / "model.toml").write_text("[versions]\nlabels = { stable = 1, gone = 9 }\n")
    with serving(root, http_port=0) as running:
        yield running


@pytest.fixture
def http(http_server: "RunningServer") -> Iterator["Http"]:
    """A connection to it."""
    from support.http import Http

    with Http(http_server.http_port) as http:
        yield http


@pytest.fixture(scope="session")
def authorities() -> tuple[trustme.CA, trustme.CA]:
    """Two who sign certificates."""
    return trustme.CA(), trustme.CA()


@pytest.fixture
def certificates(tmp_path: Path, authorities: tuple[trustme.CA, trustme.CA]) -> Certificates:
    """A server's, by the first."""
    made = Certificates(tmp_path)
    made.issue(authorities[0])
    return made

"""Files that run code are loaded in a process of their own, without network where the system allows it."""

import json
import os
import pickle
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skylane.convert.command import main
from skylane.convert.loading import sandbox
from skylane.convert.loading.sandbox import WITH_NETWORK, WITHOUT_NETWORK, how_loaded, without_network


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Somebody who would like to be called."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


class Calling:
    """Its pickle tells somebody that it is being loaded."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address

    def __reduce__(self) -> tuple[Any, ...]:
        return socket.create_connection, (self.address, 2.0)


def test_a_pickle_reaches_nobody(tmp_path: Path, listener: socket.socket, capfd: pytest.CaptureFixture[str]) -> None:
    path, rows = tmp_path / "calling.pkl", tmp_path / "rows.npz"
    path.write_bytes(pickle.dumps(Calling(listener.getsockname())))
    np.savez(rows, X=np.zeros((2, 1)))
    assert main([str(path), "--name", "m", "--data", str(rows), "--trust", "--models", str(tmp_path / "models")]) == 2
    said = capfd.readouterr().err
    if without_network():
        assert "not a usable pickle or joblib file: OSError" in said
        with pytest.raises(BlockingIOError):
            listener.accept()
    else:
        assert "it holds a socket, not a scikit-learn estimator" in said, "it was called: the system takes nothing away"


def test_what_a_pickle_could_do_is_in_the_manifest(
    tmp_path: Path, linear: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    path, rows = tmp_path / "p.pkl", tmp_path / "rows.npz"
    path.write_bytes(pickle.dumps(linear.estimator))
    np.savez(rows, X=linear.rows, y=linear.target)
    arguments = [str(path), "--name", "m", "--data", str(rows), "--trust", "--models", str(tmp_path / "models")]
    assert main(arguments) == 0
    expected = WITHOUT_NETWORK if without_network() else WITH_NETWORK
    assert f"note: loaded as pickle or joblib file, {expected}" in " ".join(capfd.readouterr().out.split())
    lineage = json.loads((tmp_path / "models/m/1/manifest.json").read_text())["lineage"]
    assert lineage["loaded"] == f"pickle or joblib file, {expected}"
    assert how_loaded() is None, "this process is not the one"


def test_where_nothing_can_be_taken_away_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.devnull)
    assert without_network() == []


@pytest.mark.parametrize(
    ("ways", "prefixed"),
    [
        pytest.param([("--no-such-option",)], False, id="refused"),
        pytest.param([("--no-such-option",), ()], True, id="the next way that is allowed"),
    ],
)
def test_ways_are_tried_in_turn(monkeypatch: pytest.MonkeyPatch, ways: Any, prefixed: bool) -> None:
    monkeypatch.setattr(sandbox, "WAYS", ways)
    assert bool(without_network()) == prefixed

"""One place for the options of a session: a graph is timed as it is served."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, get_args, get_type_hints

import pytest

from skylane.convert.export.session import Session as ConverterSession
from skylane.onnx_options import LEVELS, session_options
from skylane.onnx_runtime import onnxruntime as ort
from skylane.policy import Session
from skylane.server.core.types import Interface
from skylane.server.runtime.session import OnnxSession


def readable(options: Any) -> dict[str, Any]:
    """Every setting that can be read."""
    names = [name for name in dir(options) if not name.startswith("_") and not callable(getattr(options, name))]
    return {name: getattr(options, name) for name in names}


MAKERS: Final[dict[str, Callable[[], object]]] = {
    "converter": lambda: ConverterSession(b""),
    "server": lambda: OnnxSession(b"", Interface("model", 1, (), (), ()), Session()),
}


@pytest.mark.parametrize("maker", MAKERS)
def test_converter_and_server_make_sessions_with_the_same_options(maker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def session(_graph: bytes, options: Any, providers: list[str]) -> Any:
        seen.append((readable(options), options.get_session_config_entry("session.intra_op.allow_spinning"), providers))
        raise ValueError("cannot load it")

    monkeypatch.setattr(ort, "InferenceSession", session)
    with pytest.raises(Exception, match="load"):
        MAKERS[maker]()
    assert seen[0] == (readable(session_options(ort)), "0", ["CPUExecutionProvider"])


def test_nobody_else_in_the_server_or_the_converter_makes_options() -> None:
    root = Path(__file__).parents[2]
    makers = [
        path.name
        for folder in ("client", "convert", "server")
        for path in sorted((root / folder).rglob("*.py"))
        if "SessionOptions(" in path.read_text("utf-8")
    ]
    assert makers == ["onnx_options.py"]


def test_a_policy_says_how_many_threads_and_how_much_is_optimized() -> None:
    options = session_options(ort, Session(intra_op_threads=3, graph_optimization="basic"))
    assert options.intra_op_num_threads == 3
    assert options.graph_optimization_level == ort.GraphOptimizationLevel.ORT_ENABLE_BASIC


def test_every_level_of_a_policy_has_a_name_in_onnx_runtime() -> None:
    assert set(get_args(get_type_hints(Session)["graph_optimization"])) == set(LEVELS)

"""Who may know whom: imports point inward, and what decides knows no time, chance, threads or network."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import skylane.server as server

ROOT = Path(server.__file__).parent
MODULES = {path.relative_to(ROOT).with_suffix("").as_posix(): path for path in sorted(ROOT.rglob("*.py"))}

PURE = [
    "binding",
    "block",
    "credentials",
    "errors",
    "open_inference",
    "readiness",
    "stacked",
    "types",
    "wording",
    "cache/replies",
    "engine/admission",
    "engine/assembly",
    "engine/batching",
    "engine/cost",
    "http/inference",
    "http/jsonvalues",
    "http/openapi",
    "http/prediction",
    "http/replies",
    "observe/tracing/context",
    "observe/tracing/records",
    "observe/tracing/spans",
    "repository/selection",
    "routing/routes",
    "transport/h2/varying",
    "transport/listed",
    "transport/skylane_v1/inputs",
    "transport/skylane_v1/replies",
    "transport/skylane_v1/requests",
    "transport/wire",
]
EDGES = {"asyncio", "concurrent", "grpc", "onnxruntime", "random", "socket", "threading", "time"}


def imports(module: str) -> Iterator[str]:
    """Every module named by an import statement, wherever it stands; `from a import b` names both a and a.b."""
    for node in ast.walk(ast.parse(MODULES[module].read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def users_of(*packages: str) -> set[str]:
    """The modules of the server that import one of these packages."""
    return {
        module
        for module in MODULES
        if any(name == package or name.startswith(f"{package}.") for name in imports(module) for package in packages)
    }


@pytest.mark.parametrize("module", PURE)
def test_what_decides_knows_no(module: str) -> None:
    assert not EDGES & {name.partition(".")[0] for name in imports(module)}


def test_the_server_needs_neither_converter_nor_bench_nor_training_libraries() -> None:
    assert users_of("convert", "bench", "examples", "sklearn", "pandas", "skl2onnx", "onnx") == set()


def test_onnxruntime_stops_at_the_runtime() -> None:
    assert users_of("onnxruntime") == {"runtime/session"}


def test_protobuf_and_grpc_stop_at_the_transport() -> None:
    users = users_of("google.protobuf", "grpc", "grpc_health", "grpc_reflection", "hpack", "skylane.v1")
    assert {module for module in users if not module.startswith("transport/")} == set()


def test_only_the_composition_root_knows_a_transport() -> None:
    users = users_of("skylane.server.grpc")
    assert {module for module in users if not module.startswith("transport/")} == {"app", "doctor"}
    assert {module for module in users_of("skylane.server.http") if not module.startswith("http/")} == {"app"}


def test_starlette_and_uvicorn_stop_at_http() -> None:
    users = users_of("starlette", "uvicorn", "httptools")
    assert {module for module in users if not module.startswith("http/")} == set()


def test_opentelemetry_is_known_where_spans_are_made_and_sent() -> None:
    assert users_of("opentelemetry") == {
        "observe/tracing/encoding",
        "observe/tracing/export",
        "observe/tracing/exporters",
    }
    assert users_of("skylane.server.observability.tracing.export") == {
        "observe/tracing/exporters",
        "observe/tracing/setting",
    }


def test_only_what_starts_a_process_knows_the_composition_root() -> None:
    assert users_of("skylane.server.app") <= {"__main__", "worker"}


@pytest.mark.parametrize(
    ("inner", "outer"),
    [
        pytest.param(
            "runtime",
            ("skylane.server.engine", "skylane.server.repository", "server.routing", "server.cache"),
            id="runtime",
        ),
        pytest.param("cache", ("skylane.server.engine", "skylane.server.repository", "server.routing"), id="cache"),
        pytest.param("engine", ("skylane.server.repository", "skylane.server.runtime"), id="engine"),
        pytest.param("routing", ("skylane.server.repository", "skylane.server.runtime"), id="routing"),
    ],
)
def test_imports_point_inward_from(inner: str, outer: tuple[str, ...]) -> None:
    assert {module for module in users_of(*outer) if module.startswith(f"{inner}/")} == set()

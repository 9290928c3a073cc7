"""What the parts of bench import of each other, and of the server and the converter."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from skylane.bench import servers

BENCH = Path(servers.__file__).parent


def imports(folder: Path) -> Iterator[tuple[str, str]]:
    """(file, module) for each import in the Python files of a folder."""
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom):
                yield path.name, str(node.module)
            elif isinstance(node, ast.Import):
                yield from ((path.name, alias.name) for alias in node.names)


@pytest.mark.parametrize(
    ("folder", "forbidden"),
    [
        pytest.param("host", ("load", "lab", "client", "workload", "experiments"), id="host knows nothing of the rest"),
        pytest.param("workload", ("load", "lab", "client", "experiments"), id="workload does not know who sends it"),
        pytest.param("client", ("load", "lab", "experiments"), id="the client does not know what is measured"),
        pytest.param("load", ("lab", "experiments"), id="load tests do not need the lab"),
        pytest.param("lab", ("load", "experiments"), id="the lab does not need the load tests"),
        pytest.param("fuzz", ("load", "lab", "client", "experiments"), id="the search for faults needs none of them"),
    ],
)
def test_parts_import_only_what_is_below_them(folder: str, forbidden: tuple[str, ...]) -> None:
    found = list(imports(BENCH / folder))
    assert found
    wrong = [(file, module) for file, module in found if any(f".bench.{part}." in f".{module}." for part in forbidden)]
    assert wrong == []

"""The committed stubs are what the contract generates."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

ROOT = Path(__file__).parents[2]
COMPILER = "1.76.0"


def test_stubs_are_generated_from_the_contract(tmp_path: Path) -> None:
    if version("grpcio-tools") != COMPILER:
        pytest.skip(f"the stubs are compared as grpcio-tools {COMPILER} writes them, not {version('grpcio-tools')}")
    protos = sorted(path.relative_to(ROOT / "proto").as_posix() for path in ROOT.glob("proto/skylane/**/*.proto"))
    assert protos, "no contract found"
    outputs = [f"--{kind}_out={tmp_path}" for kind in ("python", "pyi", "grpc_python")]
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", "-Iproto", *outputs, *protos], cwd=ROOT, check=True, timeout=60
    )
    generated = {path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in tmp_path.rglob("*_pb2*")}
    committed = {
        path.relative_to(ROOT / "client").as_posix(): path.read_bytes()
        for path in (ROOT / "client").rglob("*_pb2*")
        if path.suffix in (".py", ".pyi")
    }
    assert generated.keys() == committed.keys()
    assert [name for name in generated if generated[name] != committed[name]] == [], "run `make proto` and commit"


def test_descriptors_are_compiled_from_the_contracts_of_others(tmp_path: Path) -> None:
    """Compared as messages: compilers differ in what they write beside them."""
    written = tmp_path / "foreign.binpb"
    protos = ["proto/inference/inference.proto", "proto/tensorflow/serving.proto"]
    arguments = ["-Iproto", f"--descriptor_set_out={written}", "--include_imports", *protos]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *arguments], cwd=ROOT, check=True, timeout=60)
    committed = ROOT / "server/skylane/server/codecs/foreign.binpb"
    compiled, kept = (FileDescriptorSet.FromString(path.read_bytes()) for path in (written, committed))
    ours = [file for file in compiled.file if not file.name.startswith("google/")]
    assert ours == [file for file in kept.file if not file.name.startswith("google/")], "run `make proto` and commit"

"""What newcomers and CI call: `python3.11 tasks.py demo`, `python3.11 tasks.py test`. Needs only Python 3.11 and pip.

Everything is installed into .venv beside this file, from pyproject.toml; a second call finds it there.
"""

import argparse
import hashlib
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts" if sys.platform == "win32" else "bin") / "python"
PROTOS = (
    "proto/skylane/v1/prediction.proto",
    "proto/skylane/v1/models.proto",
    "proto/skylane/v1/outcomes.proto",
)
FOREIGN_PROTOS = ("proto/inference/inference.proto", "proto/tensorflow/serving.proto")
FOREIGN_DESCRIPTORS = "server/skylane/server/codecs/foreign.binpb"

IN_PARALLEL = ("-n", "2", "--dist", "loadfile")
"""A file's tests share servers and models, so one process runs them all."""
EXHAUSTIVE = ("tests/convert/test_conformance.py", "tests/convert/test_every_estimator.py")
"""Tests that draw a few examples, and with --exhaustive all."""


def demo(arguments: Sequence[str]) -> int:
    """Train on real flights, convert, publish, serve, call, and compare with scikit-learn; then keep serving."""
    install("examples")
    return run("-m", "examples.demo", *arguments)


def test(arguments: Sequence[str]) -> int:
    """Run the tests that need only Python and pip; --all: those as well that need more, or long. The rest: pytest's."""
    install("dev")
    everything = "--all" in arguments
    chosen = [argument for argument in arguments if argument != "--all"]
    return run("-m", "pytest", "-m", "not soak" if everything else "not slow and not soak", *IN_PARALLEL, *chosen)


def soak(arguments: Sequence[str]) -> int:
    """Search for faults for a long time: --minutes N (default: 60), --seed S. Never in CI."""
    parser = argparse.ArgumentParser(prog="tasks.py soak", description=soak.__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="of fuzzing, all targets together")
    parser.add_argument("--seed", type=int, default=None, help="repeats a run; default: another one each time")
    options = parser.parse_args(arguments)
    install("dev")
    seed = () if options.seed is None else ("--seed", str(options.seed))
    fuzzed = run("-m", "skylane.bench.fuzz", "--minutes", str(options.minutes), *seed)
    return max(fuzzed, run("-m", "pytest", "-m", "", "--exhaustive", *EXHAUSTIVE))


def check(_: Sequence[str]) -> int:
    """Lint, formatting, types, and who imports whom."""
    install("dev")
    steps = (("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",))
    contracts = "from importlinter.cli import lint_imports_command as check; check()"
    return max(*(run("-m", *step) for step in steps), run("-c", contracts))


def proto(_: Sequence[str]) -> int:
    """Generate client/skylane/v1 and the descriptors of other people's protocols from proto/ anew."""
    install("dev")
    outputs = ("--python_out=client", "--pyi_out=client", "--grpc_python_out=client")
    foreign = (f"--descriptor_set_out={FOREIGN_DESCRIPTORS}", "--include_imports")
    compiler = ("-m", "grpc_tools.protoc", "-Iproto")
    return max(run(*compiler, *outputs, *PROTOS), run(*compiler, *foreign, *FOREIGN_PROTOS))


def bench(arguments: Sequence[str]) -> int:
    """Measure this server beside the usual ways to serve; arguments go to skylane.bench.lab.baselines."""
    install("dev")
    return run("-m", "skylane.bench.lab.baselines", *arguments)


PERF_ANALYZER = """\
perf_analyzer is not on the path. On Debian 12 the one inside an older wheel of NVIDIA's client runs:
  apt install libb64-0d
  pip download --no-deps tritonclient==2.46.0 && unzip tritonclient-2.46.0-*.whl 'tritonclient-2.46.0.data/*'
  pip install --target cuda nvidia-cuda-runtime-cu12   # it is linked against it, and uses none of it here
  chmod +x tritonclient-2.46.0.data/data/bin/perf_analyzer
  export PATH=$PWD/tritonclient-2.46.0.data/data/bin:$PATH
  export LD_LIBRARY_PATH=$PWD/cuda/nvidia/cuda_runtime/lib
The other clients are tried without it.
"""
GO = """\
go is not on the path. On Debian: apt install golang-go golang-google-grpc-dev
The other clients are tried without it.
"""
JAVA = """\
javac is not on the path. On Debian: apt install default-jdk-headless libgrpc-java libnetty-java libperfmark-java \
libgoogle-gson-java libguava-java
The other clients are tried without it.
"""


def interop(arguments: Sequence[str]) -> int:
    """Try other people's clients, unmodified, against this server; says how to get those that are not on PyPI."""
    install("dev")
    for program, advice in {"perf_analyzer": PERF_ANALYZER, "go": GO, "javac": JAVA}.items():
        if shutil.which(program) is None:
            print(advice, flush=True)
    return run("-m", "pytest", "-m", "", "tests/interop", "-rs", *arguments)


TASKS: dict[str, Callable[[Sequence[str]], int]] = {
    "demo": demo,
    "test": test,
    "soak": soak,
    "check": check,
    "proto": proto,
    "bench": bench,
    "interop": interop,
}


def install(extra: str) -> None:
    """Make .venv hold the project with this extra. Does nothing if it does already."""
    wanted = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    stamp = VENV / f"installed-{extra}"
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    started_at = time.monotonic()
    print(f"Installing skylane[{extra}] into {VENV.name}: a minute or two, once …", flush=True)
    if not PYTHON.exists():
        venv.create(VENV, with_pip=True)
    pip = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "-e", f"{ROOT}[{extra}]"]
    if subprocess.run(pip, check=False).returncode:
        sys.exit(f"Installing failed; the lines above say why. Try again with: {' '.join(pip)}")
    stamp.write_text(wanted)
    print(f"Installed after {time.monotonic() - started_at:.0f} s.", flush=True)


def run(*arguments: str) -> int:
    """Run .venv's Python at the root of the project."""
    try:
        return subprocess.run([str(PYTHON), *arguments], cwd=ROOT, check=False).returncode
    except KeyboardInterrupt:
        return 130


def main() -> int:
    """Run one task. Returns its exit code."""
    if sys.version_info < (3, 11):  # noqa: UP036 - whoever calls this may have any Python
        sys.exit(f"Skylane needs Python 3.11 or newer; this is {sys.version.split()[0]}: try python3.11 tasks.py")
    described = "\n".join(f"  {name:6} {task.__doc__}" for name, task in TASKS.items())
    parser = argparse.ArgumentParser(
        description="What newcomers and CI call.",
        epilog=f"tasks:\n{described}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("task", choices=TASKS, metavar="task", help=" | ".join(TASKS))
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="passed on to the task")
    chosen = parser.parse_args()
    return TASKS[chosen.task](chosen.arguments)


if __name__ == "__main__":
    sys.exit(main())

"""The models that are measured: trained on made-up rows, published as an author would, each with rows to ask about."""

import shutil
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import joblib
import msgspec
import numpy as np
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skylane import manifest as m
from skylane.bench.workload.payloads import Array, Exchange, grpc_exchange, json_exchange
from skylane.convert.publishing.publish import publish
from skylane.convert.publishing.store import put
from skylane.dtypes import NUMPY
from skylane.onnx_runtime import onnxruntime as ort

FEATURES: Final = 20
CACHED: Final = "[cache]\nenabled = true\nttl_s = 86400\n"
"""The policy of a model whose equal requests are answered from the cache for the whole run."""
LARGE_BATCHES: Final = "[batching]\nmax_batch_rows = 256\n"
"""Of the large forest: a batch takes 5 to 10 ms."""
BOUNDED: Final = "[cache]\nenabled = true\nttl_s = 86400\nmax_mb = 16\n"
"""Room for about 25,000 answers to single rows."""
POLICIES: Final = {
    "logistic": {"logistic_cached": CACHED},
    "forest": {"forest_cached": CACHED, "forest_bounded": BOUNDED},
    "forest_large": {
        "forest_large": LARGE_BATCHES,
        "forest_large_target": f"{LARGE_BATCHES}target_p99_ms = 50\n",
        "forest_large_bounded": LARGE_BATCHES + BOUNDED,
    },
}
"""Model → the policies under which its graph is served, by name. One that is not its own name is a copy."""
FLIGHTS: Final = "flights_late"

Say = Callable[[str], None]


@dataclass(frozen=True)
class PublishedModel:
    """A published model and the rows that are sent to it."""

    name: str
    path: Path
    """Of the version."""
    inputs: dict[str, Array]
    """Tensor name → (rows, features)."""

    def rows(self, count: int) -> dict[str, Array]:
        """The first `count` rows, from the start again where there are too few."""
        return {name: np.resize(array, (count, *array.shape[1:])) for name, array in self.inputs.items()}

    def answers(self, inputs: dict[str, Array]) -> dict[str, Array]:
        """What is right: the published graph's own outputs for these rows."""
        session = bare_session(self.path)
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, map(np.asarray, session.run(names, inputs)), strict=True))

    def exchange(self, protocol: str, rows: int) -> Exchange:
        """A request for so many rows over "grpc" or "http"."""
        inputs = self.rows(rows)
        if protocol == "grpc":
            return grpc_exchange(self.name, inputs, self.answers(inputs))
        return json_exchange(self.name, inputs[next(iter(inputs))], self.answers(inputs))


@dataclass(frozen=True)
class ModelSet:
    """Everything that a run serves."""

    repository: Path
    pipelines: Path
    """Directory of `<name>.joblib`, for servers that run scikit-learn itself."""
    by_name: dict[str, PublishedModel]


def bare_session(version: Path) -> ort.InferenceSession:
    """A session as our server makes it: one thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(version / m.MODEL_FILE, options, providers=["CPUExecutionProvider"])


def make(root: Path, examples: Path, wanted: Collection[str], say: Say) -> ModelSet:
    """Train and publish the models of the benchmark that are wanted below `root`; takes some seconds.

    The flights model is taken from the repository `examples`, if it has been made there.
    """
    repository, pipelines = root / "models", root / "pipelines"
    pipelines.mkdir(parents=True)
    features, label = make_classification(3000, FEATURES, n_informative=12, random_state=7)
    features = features.astype(np.float32)
    train, rows = features[:2000], features[2000:]
    estimators = {
        "logistic": make_pipeline(StandardScaler(), LogisticRegression()),
        "forest": RandomForestClassifier(100, max_depth=8, random_state=7),
        "forest_large": RandomForestClassifier(300, max_depth=8, random_state=7),
    }
    for name, estimator in estimators.items():
        if not {name, *POLICIES[name]}.intersection(wanted):
            continue
        say(f"publishing {name}")
        estimator.fit(train, label[:2000])
        publish(estimator, rows[:200], name=name, repository=repository, quantize="never")
        joblib.dump(estimator, pipelines / f"{name}.joblib")
        for served_as, policy in POLICIES[name].items():
            if served_as != name:
                _copy(repository, name, served_as)
            (repository / served_as / "model.toml").write_text(policy)
    if FLIGHTS in wanted and newest(examples / FLIGHTS) is not None:
        _copy_flights(examples, repository)
    return ModelSet(repository, pipelines, {name: _with_rows(model, rows) for name, model in read(repository).items()})


def read(repository: Path) -> dict[str, PublishedModel]:
    """Each model of a repository, newest version, asked about the rows that its manifest keeps as examples."""
    models = {}
    for directory in sorted(path for path in repository.iterdir() if path.is_dir()):
        version = newest(directory)
        if version is not None:
            models[directory.name] = PublishedModel(directory.name, version, _golden(version))
    return models


def newest(model: Path) -> Path | None:
    """The highest version of a model; None if there is none."""
    versions = [path for path in model.glob("[0-9]*") if path.name.isdigit()]
    return max(versions, key=lambda path: int(path.name), default=None)


def _golden(version: Path) -> dict[str, Array]:
    manifest = m.decode((version / m.MANIFEST_FILE).read_bytes())
    return {spec.name: np.array(manifest.golden.inputs[spec.name], NUMPY[spec.dtype]) for spec in manifest.tensors}


def _with_rows(model: PublishedModel, rows: Array) -> PublishedModel:
    """A model of ours, asked about real held-out rows instead of the few in its manifest, in the type that it takes."""
    if model.name == FLIGHTS:
        return model
    ((name, examples),) = model.inputs.items()
    return replace(model, inputs={name: rows.astype(examples.dtype)})


def _copy(repository: Path, name: str, copy: str) -> None:
    """The same graph under a second name."""
    version = newest(repository / name)
    assert version is not None, "it was just published"
    manifest = m.decode((version / m.MANIFEST_FILE).read_bytes())
    put(repository, (version / m.MODEL_FILE).read_bytes(), msgspec.structs.replace(manifest, model=copy))


def _copy_flights(examples: Path, repository: Path) -> None:
    """Without its model.toml, which caches: equal requests should run here."""
    version = newest(examples / FLIGHTS)
    assert version is not None, "the caller looked"
    shutil.copytree(version, repository / FLIGHTS / version.name)

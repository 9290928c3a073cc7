"""Models as the repository describes them: the policy of each, and manifest and profile of each version."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from skylane import manifest as manifests
from skylane import policy as policies
from skylane import reference as references
from skylane.manifest import MANIFEST_FILE, BrokenVersion, Manifest
from skylane.policy import BadPolicy, Monitor, Policy, duration_s
from skylane.reference import Reference

POLICY_FILE: Final = "model.toml"


@dataclass(frozen=True)
class Answers:
    """Names of a version's outputs, and what they mean. A version without a manifest has the usual names."""

    task: str = "other"
    label: str = "label"
    probabilities: str = "probabilities"
    prediction: str = "prediction"
    classes: tuple[str, ...] = ()
    positive: str | None = None
    """The class that a binary classifier's figures are about."""

    @property
    def is_reversed(self) -> bool:
        """Whether the positive class is the first of two."""
        return len(self.classes) == 2 and self.positive == self.classes[0]

    @property
    def can_be_judged(self) -> bool:
        """Whether outcomes tell how well it does: a classifier with known classes, or a regressor."""
        return self.task == "regressor" or (self.task == "classifier" and len(self.classes) > 1)


class ServedModels:
    """Reads the repository; never writes it."""

    """What the repository says of models. Files are read again in each pass: they may change at any time."""

    def __init__(self, repository: Path) -> None:
        self._repository = repository
        self.problems: dict[str, str] = {}
        """Model → why its model.toml cannot be used; the earlier one is in force, or the defaults."""
        self._policies: dict[str, Monitor] = {}
        self._references: dict[tuple[str, int, str], Reference] = {}
        self._manifests: dict[Path, tuple[tuple[int, int, int], Manifest]] = {}

    def refresh(self, model: str) -> Monitor:
        """The `[monitor]` section as it is now."""
        try:
            content = (self._repository / model / POLICY_FILE).read_bytes()
        except FileNotFoundError:
            content = b""
        except OSError as error:
            self.problems[model] = f"{POLICY_FILE}: {error.strerror}"
            return self.policy(model)
        try:
            self._policies[model] = policies.decode(content).monitor
            self.problems.pop(model, None)
        except BadPolicy as error:
            self.problems[model] = str(error)
        return self.policy(model)

    def policy(self, model: str) -> Monitor:
        """The section that is in force."""
        return self._policies.get(model, Policy().monitor)

    def manifest(self, model: str, version: int) -> Manifest | None:
        """A version's manifest; None if the version is not here or cannot be read."""
        path = self._repository / model / str(version) / MANIFEST_FILE
        try:
            state = os.stat(path)
            written = (state.st_mtime_ns, state.st_size, state.st_ino)
            known = self._manifests.get(path)
            if known is None or known[0] != written:
                known = self._manifests[path] = written, manifests.decode(path.read_bytes())
            return known[1]
        except OSError:
            return None
        except BrokenVersion as error:
            self.problems[model] = f"version {version}: {error}"
            return None

    def reference(self, model: str, version: int) -> Reference | None:
        """What a version's rows are compared with: its reference, else its profile, else nothing."""
        manifest = self.manifest(model, version)
        if manifest is None:
            return None
        key = (model, version, manifest.identity)
        if (known := self._references.get(key)) is not None:
            return known
        try:
            found = references.read(self._repository / model / str(version), manifest.identity)
        except BrokenVersion as error:
            self.problems[model] = f"version {version}: {error}"
            found = None
        if found is None and manifest.profile is not None:
            return Reference.from_profile(manifest.profile, manifest.identity)
        if found is not None:
            self._references[key] = found
        return found

    def answers(self, model: str, version: int) -> Answers:
        """What a version's outputs mean."""
        policy, manifest = self.policy(model), self.manifest(model, version)
        if manifest is None:
            return _with_classes(Answers(classes=policy.classes or ()), policy.positive)
        names = {output.role: output.name for output in reversed(manifest.outputs)}
        classes: Sequence[object] = policy.classes or next(
            (each.classes for each in manifest.outputs if each.classes), ()
        )
        answers = Answers(
            manifest.task,
            names.get("label", "label"),
            names.get("probabilities", "probabilities"),
            names.get("prediction", "prediction"),
            tuple(map(class_text, classes)),
        )
        return _with_classes(answers, policy.positive)

    def answers_of(self, model: str, versions: Sequence[int]) -> Answers:
        """What the outputs of several versions mean: as the newest of them says."""
        return self.answers(model, max(versions, default=0))

    def horizon_us(self, model: str) -> int | None:
        """The horizon that model.toml sets, in microseconds; None: learnt."""
        horizon = self.policy(model).horizon
        return None if horizon is None else duration_s(horizon) * 1_000_000


def _with_classes(answers: Answers, positive: str | None) -> Answers:
    if positive is None and len(answers.classes) == 2:
        positive = answers.classes[-1]
    task = answers.task if answers.task != "other" or not answers.classes else "classifier"
    return Answers(task, answers.label, answers.probabilities, answers.prediction, answers.classes, positive)


def class_text(label: object) -> str:
    """A class as the journal and the outcomes write it: 1, true, late."""
    return str(label).lower() if isinstance(label, bool) else str(label)


def block_us(policy: Monitor) -> int:
    """Length of a block, in microseconds."""
    return duration_s(policy.block) * 1_000_000

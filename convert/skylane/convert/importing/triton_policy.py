"""A Triton model's config.pbtxt → model.toml, and a list of settings without an equivalent. Pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from skylane.convert.errors import Unconvertible
from skylane.convert.importing.text_proto import Message
from skylane.convert.wording import shape_text

INSTANCES_MAX: Final = 64
DELAY_MS_MAX: Final = 60_000
VERSIONS_MAX: Final = 100
BATCH_ROWS_MAX: Final = 65_536
THREADS_MAX: Final = 256
"""Keys and values as in model.toml."""

LEVELS: Final = {-1: "basic", 1: "extended", 2: "disabled"}
"""optimization.graph.level → [session] graph_optimization, as Triton's ONNX Runtime backend reads it; 0 means all."""

CPU_ONLY: Final = "graphs run on the CPU here"

NOT_KEPT: Final[Mapping[str, str]] = {
    "batch_input": "the graph gets the inputs that callers send, and no others",
    "batch_output": "every output has a row for each row of the inputs",
    "cc_model_filenames": CPU_ONLY,
    "dynamic_batching.preserve_ordering": "answers go out as they are ready; over one stream each has its request's id",
    "dynamic_batching.priority_levels": "requests have no priorities; they run in order of arrival",
    "dynamic_batching.default_priority_level": "requests have no priorities; they run in order of arrival",
    "dynamic_batching.priority_queue_policy": "requests have no priorities; they run in order of arrival",
    "dynamic_batching.default_queue_policy": "the queue is bounded in rows by [batching] max_queue_rows, and a request "
    "waits until its caller's deadline",
    "input.allow_ragged_batch": "rows of one request have one shape",
    "input.format": "it only tells how the dimensions of a picture are ordered",
    "input.is_shape_tensor": CPU_ONLY,
    "input.optional": "every input must be sent",
    "input.reshape": "callers send the shape that the graph takes",
    "instance_group.gpus": CPU_ONLY,
    "instance_group.name": "it only names the group",
    "instance_group.profile": CPU_ONLY,
    "instance_group.rate_limiter": "[batching] instances alone bounds what runs at the same time",
    "metric_tags": "metrics have the labels of docs/metrics.md",
    "model_metrics": "metrics have the buckets of docs/metrics.md",
    "model_operations": "there are no operators beyond those of ONNX Runtime",
    "model_repository_agents": "a version is verified by its SHA256SUMS",
    "model_warmup": "not needed: every version answers its golden rows before it serves",
    "optimization.cuda": CPU_ONLY,
    "optimization.execution_accelerators": CPU_ONLY,
    "optimization.gather_kernel_buffer_threshold": CPU_ONLY,
    "optimization.input_pinned_memory": CPU_ONLY,
    "optimization.output_pinned_memory": CPU_ONLY,
    "optimization.eager_batching": "[batching] max_queue_delay_ms alone says how long a request waits",
    "optimization.priority": "all models have the same priority",
    "output.label_filename": "answers have no labels beside their numbers",
    "output.reshape": "answers have the shape that the graph gives",
    "output.is_shape_tensor": CPU_ONLY,
    "runtime": "ONNX Runtime runs the graph",
}  # fmt: skip
"""Field without an equivalent → what applies instead."""

READ_ELSEWHERE: Final = frozenset({"name", "platform", "backend", "default_model_filename"})
NESTED_READ: Final[Mapping[str, frozenset[str]]] = {
    "dynamic_batching": frozenset({"preferred_batch_size", "max_queue_delay_microseconds"}),
    "input": frozenset({"name", "data_type", "dims"}),
    "output": frozenset({"name", "data_type", "dims"}),
    "instance_group": frozenset({"count", "kind"}),
    "optimization": frozenset({"graph"}),
    "response_cache": frozenset({"enable"}),
    "version_policy": frozenset({"latest", "all", "specific"}),
    "parameters": frozenset({"key", "value"}),
    "max_batch_size": frozenset(),
}
"""Fields that are read here → which of their subfields are read."""


@dataclass(frozen=True)
class Setting:
    """One line of the report."""

    original: str
    """The setting in config.pbtxt."""
    becomes: str
    """What applies here."""
    kept: bool = True


@dataclass
class Plan:
    """The result of translating a config.pbtxt."""

    sections: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Sections of model.toml."""
    settings: list[Setting] = field(default_factory=list)
    versions: tuple[int, ...] | None = None
    """The versions that Triton serves; None for all."""
    batched: bool = True
    """Whether Triton batches requests."""

    def set(self, section: str, key: str, value: Any, original: str, but: str = "") -> None:
        """Add a key of model.toml. `but`: how its meaning differs."""
        self.sections.setdefault(section, {})[key] = value
        self.settings.append(Setting(original, f"[{section}] {key} = {toml_value(value)}{but and '; '}{but}"))

    def drop(self, original: str, why: str) -> None:
        """Add a setting that is not kept."""
        self.settings.append(Setting(original, why, kept=False))

    def toml(self) -> str:
        """The text of model.toml; empty if the defaults hold."""
        if not self.sections:
            return ""
        parts = [
            "\n".join([f"[{name}]", *(f"{key} = {toml_value(value)}" for key, value in keys.items())])
            for name, keys in sorted(self.sections.items())
        ]
        return "# Made from config.pbtxt by skylane import.\n" + "\n\n".join(parts) + "\n"


def plan_of(config: Message) -> Plan:
    """Translate a configuration. Raises Unconvertible for models that cannot be served here, and Malformed."""
    _refuse_other_kinds(config)
    plan = Plan(batched="dynamic_batching" in config)
    for name, read in READERS.items():
        if name in config:
            read(config, plan)
    for name in config.names():
        if name not in READ_ELSEWHERE and name not in NESTED_READ:
            plan.drop(name, NOT_KEPT.get(name, "this field is not known"))
    for name, fields_read in NESTED_READ.items():
        rest = dict.fromkeys(
            each for message in config.each(name) for each in message.names() if each not in fields_read
        )
        for each in rest:
            plan.drop(f"{name}.{each}", NOT_KEPT.get(f"{name}.{each}", "this field is not known"))
    return plan


def without_config() -> Plan:
    """Triton's default for a graph without a config.pbtxt: requests are batched."""
    return Plan()


def toml_value(value: Any) -> str:
    """A number, string or boolean in TOML's syntax."""
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else str(value)


def _refuse_other_kinds(config: Message) -> None:
    if "sequence_batching" in config:
        raise Unconvertible("sequence_batching: the model keeps state between requests, and none is kept here")
    if config.one("model_transaction_policy").last("decoupled") in ("true", "True", "1", "t"):
        raise Unconvertible("model_transaction_policy.decoupled: here every request has exactly one answer")


def _max_batch_size(config: Message, plan: Plan) -> None:
    size = config.whole("max_batch_size")
    original = f"max_batch_size: {size}"
    if size <= 0:
        plan.settings.append(Setting(original, "the first dimension of every tensor is the rows"))
        return
    if config.one("dynamic_batching").values.get("preferred_batch_size"):
        plan.settings.append(Setting(original, "preferred_batch_size says how many rows a batch gets"))
        return
    rows = min(size, BATCH_ROWS_MAX)
    plan.set("batching", "max_batch_rows", rows, original, "a larger request is not refused, but runs alone")


def _dynamic_batching(config: Message, plan: Plan) -> None:
    batching = config.one("dynamic_batching")
    preferred = batching.wholes("preferred_batch_size")
    delay_us = batching.whole("max_queue_delay_microseconds")
    if preferred:
        original = f"dynamic_batching.preferred_batch_size: {preferred}"
        largest = min(max(1, *preferred), BATCH_ROWS_MAX)
        plan.set(
            "batching", "max_batch_rows", largest, original, "a batch is cut at the largest; smaller ones may form"
        )
    if delay_us:
        original = f"dynamic_batching.max_queue_delay_microseconds: {delay_us}"
        plan.set("batching", "max_queue_delay_ms", min(delay_us / 1000, DELAY_MS_MAX), original)
    if not preferred and not delay_us:
        plan.settings.append(Setting("dynamic_batching", "the default: what waits shares the next run"))


def _instance_group(config: Message, plan: Plan) -> None:
    groups = config.each("instance_group")
    count = sum(max(1, group.whole("count")) for group in groups)
    kinds = list(dict.fromkeys(group.last("kind", "KIND_AUTO") for group in groups))
    original = f"instance_group: {count} of {', '.join(kinds)}"
    plan.set("batching", "instances", min(count, INSTANCES_MAX), original, CPU_ONLY if "KIND_GPU" in kinds else "")


def _version_policy(config: Message, plan: Plan) -> None:
    policy = config.one("version_policy")
    if "specific" in policy:
        versions = sorted(set(policy.one("specific").wholes("versions")))
        listed = ", ".join(map(str, versions))
        plan.versions = tuple(versions)
        original, keep = f"version_policy: specific {listed}", min(max(1, len(versions)), VERSIONS_MAX)
        plan.set("versions", "keep", keep, original, "other versions are not imported")
    elif "all" in policy:
        plan.set("versions", "keep", VERSIONS_MAX, "version_policy: all")
    elif "latest" in policy:
        number = max(1, policy.one("latest").whole("num_versions"))
        plan.set("versions", "keep", min(number, VERSIONS_MAX), f"version_policy: latest {number}")
    else:
        plan.settings.append(Setting("version_policy", "the newest version is served, which is the default"))


def _response_cache(config: Message, plan: Plan) -> None:
    if config.one("response_cache").last("enable") in ("true", "True", "1", "t"):
        plan.set("cache", "enabled", True, "response_cache.enable: true")
    else:
        plan.settings.append(Setting("response_cache", "no cache, which is the default"))


def _optimization(config: Message, plan: Plan) -> None:
    graph = config.one("optimization").one("graph")
    level = graph.whole("level")
    if level in LEVELS:
        plan.set("session", "graph_optimization", LEVELS[level], f"optimization.graph.level: {level}")
    elif "level" in graph:
        plan.settings.append(Setting(f"optimization.graph.level: {level}", "all optimizations, which is the default"))


def _parameters(config: Message, plan: Plan) -> None:
    for parameter in config.each("parameters"):
        key, text = parameter.last("key"), parameter.one("value").last("string_value")
        original = f"parameters {key}: {text}"
        if key != "intra_op_thread_count":
            plan.drop(original, "parameters of a backend are not read")
        elif text.isdigit() and 1 <= int(text) <= THREADS_MAX:
            plan.set("session", "intra_op_threads", int(text), original)
        else:
            plan.drop(original, "runs get one thread each, and instances and workers run beside each other")


READERS: Final[Mapping[str, Callable[[Message, Plan], None]]] = {
    "max_batch_size": _max_batch_size,
    "dynamic_batching": _dynamic_batching,
    "instance_group": _instance_group,
    "version_policy": _version_policy,
    "response_cache": _response_cache,
    "optimization": _optimization,
    "parameters": _parameters,
}
"""Field → the function that reads it, in the order of the report."""


DTYPE_OF: Final = {
    "TYPE_BOOL": "bool", "TYPE_UINT8": "uint8", "TYPE_UINT16": "uint16", "TYPE_UINT32": "uint32",
    "TYPE_UINT64": "uint64", "TYPE_INT8": "int8", "TYPE_INT16": "int16", "TYPE_INT32": "int32", "TYPE_INT64": "int64",
    "TYPE_FP16": "float16", "TYPE_FP32": "float32", "TYPE_FP64": "float64", "TYPE_STRING": "string",
}  # fmt: skip


def differences(config: Message, field_name: str, specs: Sequence[Any]) -> Iterator[Setting]:
    """Report inputs and outputs whose declaration differs from the graph's, which is the one that applies here."""
    actual = {spec.name: spec for spec in specs}
    has_batch = config.whole("max_batch_size") > 0
    declared = config.each(field_name)
    for message in declared:
        name = message.last("name")
        spec = actual.get(name)
        if spec is None:
            yield Setting(f"{field_name} {name!r}", f"the graph has only {', '.join(actual)}", kept=False)
            continue
        dtype = DTYPE_OF.get(message.last("data_type"), message.last("data_type"))
        dims = [None if size < 0 else size for size in message.wholes("dims")]
        sizes = list(spec.shape[1:]) if has_batch else list(spec.shape)
        same = len(dims) == len(sizes) and all(
            one == other or None in (one, other) for one, other in zip(dims, sizes, strict=True)
        )
        if dtype not in ("", spec.dtype) or not same:
            original = f"{field_name} {name!r}: {message.last('data_type')} {message.wholes('dims')}"
            yield Setting(original, f"the graph has {spec.dtype} {shape_text(spec.shape)}", kept=False)
    undeclared = [name for name in actual if declared and name not in {message.last("name") for message in declared}]
    for name in undeclared:
        yield Setting(f"{field_name} {name!r} is not declared", "the graph has it, so it is served", kept=True)

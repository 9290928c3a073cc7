"""model.toml → Policy, or one sentence about what is wrong with it."""

import pytest

from skylane.policy import BadPolicy, Policy, decode, duration_s


def test_an_empty_file_is_the_defaults() -> None:
    assert decode(b"") == Policy()


def test_a_whole_file() -> None:
    policy = decode(
        b"""
        [batching]
        max_batch_rows = 64
        max_queue_delay_ms = 0.5
        instances = 2
        [cache]
        enabled = true
        max_mb = 16
        [session]
        intra_op_threads = 4
        graph_optimization = "extended"
        [versions]
        keep = 2
        pinned = [3]
        latest = 5
        labels = { stable = 4, canary = 5 }
        [monitor]
        journal = true
        rows_per_second = 500
        keep = ["dep_*", "carrier"]
        drop = ["dep_time"]
        hash = ["tailnum"]
        max_mb = 100
        max_age_days = 30
        entity = "tailnum"
        event_time = "sched_dep"
        classes = ["on time", "late"]
        positive = "late"
        segments = ["carrier", "origin"]
        block = "6h"
        thresholds = { dep_delay = 0.2 }
        horizon = "8h"
        """
    )
    assert (policy.batching.max_batch_rows, policy.batching.max_queue_delay_ms, policy.batching.instances) == (
        64,
        0.5,
        2,
    )
    assert (policy.cache.enabled, policy.cache.max_mb) == (True, 16)
    assert (policy.session.intra_op_threads, policy.session.graph_optimization) == (4, "extended")
    assert (policy.versions.keep, policy.versions.pinned, policy.versions.latest) == (2, (3,), 5)
    assert policy.versions.labels == {"stable": 4, "canary": 5}
    monitor = policy.monitor
    assert (monitor.journal, monitor.rows_per_second, monitor.max_mb, monitor.max_age_days) == (True, 500, 100, 30)
    assert (monitor.keep, monitor.drop, monitor.hash) == (("dep_*", "carrier"), ("dep_time",), ("tailnum",))
    assert (monitor.entity, monitor.event_time) == ("tailnum", "sched_dep")
    assert (monitor.classes, monitor.positive) == (("on time", "late"), "late")
    assert (monitor.segments, monitor.block, monitor.horizon) == (("carrier", "origin"), "6h", "8h")
    assert monitor.thresholds == {"dep_delay": 0.2}


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("15m", 900), ("8h", 28_800), ("1d", 86_400), ("14d", 1_209_600)]
)
def test_durations(text: str, seconds: int) -> None:
    assert duration_s(text) == seconds


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        pytest.param("batching", "model.toml: ", id="it is not TOML"),
        pytest.param("\xff", "model.toml: ", id="it is not UTF-8"),
        pytest.param(
            "[batchin]",
            "unknown section or key 'batchin'; did you mean [batching]? (known: [batching], [cache], ",
            id="a section is misspelt",
        ),
        pytest.param(
            "[cache]\nsize_mb = 1",
            "[cache]: unknown key 'size_mb' (known: enabled, max_mb, ttl_s)",
            id="a key is misspelt",
        ),
        pytest.param("max_batch_rows = 3", "did you mean [batching] max_batch_rows?", id="a key without its section"),
        pytest.param(
            "[batching]\nmax_batch_row = 3",
            "; did you mean 'max_batch_rows'? (known: ",
            id="nearly a key",
        ),
        pytest.param(
            "batching = 3", "[batching]: expected a table, received a whole number", id="a section is a number"
        ),
        pytest.param(
            "[batching]\nmax_batch_rows = 0",
            "[batching] max_batch_rows: expected a whole number >= 1",
            id="a batch of no rows",
        ),
        pytest.param(
            "[batching]\nmax_batch_rows = 1.5",
            "[batching] max_batch_rows: expected a whole number, received a number",
            id="one and a half rows",
        ),
        pytest.param(
            '[batching]\nmax_batch_rows = "64"',
            "[batching] max_batch_rows: expected a whole number, received text",
            id="a number in quotes",
        ),
        pytest.param(
            "[batching]\nmax_queue_delay_ms = -1",
            "[batching] max_queue_delay_ms: expected a number >= 0.0",
            id="a delay before now",
        ),
        pytest.param("[batching]\nmax_queue_delay_ms = 60001", "<= 60000", id="a delay of more than a minute"),
        pytest.param(
            "[batching]\nmax_queue_delay_ms = nan",
            "[batching] max_queue_delay_ms: expected a number",
            id="a delay of NaN",
        ),
        pytest.param("[batching]\ninstances = 65", "<= 64", id="too many instances"),
        pytest.param(
            "[batching]\nmax_queue_rows = 10\nmax_request_rows = 11",
            "max_request_rows is above max_queue_rows",
            id="a request that could never be admitted",
        ),
        pytest.param("[cache]\nmax_mb = 0", "[cache] max_mb: expected a number > 0.0", id="a cache of nothing"),
        pytest.param(
            "[cache]\nttl_s = -1", "[cache] ttl_s: expected a number > 0.0", id="answers kept for less than no time"
        ),
        pytest.param("[cache]\nttl_s = nan", "[cache] ttl_s: expected a number", id="answers kept for NaN seconds"),
        pytest.param(
            "[cache]\nenabled = 1",
            "[cache] enabled: expected true or false, received a whole number",
            id="a number for yes",
        ),
        pytest.param(
            '[session]\ngraph_optimization = "most"',
            "[session] graph_optimization: unknown value 'most'",
            id="no such optimization",
        ),
        pytest.param("[session]\nintra_op_threads = 0", ">= 1", id="no threads"),
        pytest.param(
            "[versions]\npinned = [0]", "[versions] pinned[0]: expected a whole number >= 1", id="version 0 is pinned"
        ),
        pytest.param(
            "[versions]\nlatest = 0", "[versions] latest: expected a whole number >= 1", id="version 0 is the latest"
        ),
        pytest.param("[versions]\nkeep = 0", "[versions] keep: expected a whole number >= 1", id="no version is kept"),
        pytest.param(
            "[versions.labels]\nstable = -1",
            "[versions] labels[...]: expected a whole number >= 1",
            id="a label names no version",
        ),
        pytest.param(
            '[monitor]\njournal = "yes"', "[monitor] journal: expected true or false, received text", id="yes as text"
        ),
        pytest.param(
            "[monitor]\nrows_per_second = 0",
            "[monitor] rows_per_second: expected a number > 0.0",
            id="no rows a second",
        ),
        pytest.param('[monitor]\nkeep = "x"', "[monitor] keep: expected a list, received text", id="a column, no list"),
        pytest.param(
            "[monitor]\nhash = [1]", "[monitor] hash[0]: expected text, received a whole number", id="no name"
        ),
        pytest.param("[monitor]\nmax_mb = 0", "[monitor] max_mb: expected a number > 0.0", id="a journal of nothing"),
        pytest.param("[monitor]\nmax_age_days = -1", "[monitor] max_age_days: expected a number > 0.0", id="no age"),
        pytest.param(
            '[monitor]\nblock = "day"',
            "[monitor]: block: expected a whole number and one of s, m, h, d, such as \"8h\"; received 'day'",
            id="a block of no length",
        ),
        pytest.param('[monitor]\nblock = "0d"', "[monitor]: block: expected a whole number", id="a block of nothing"),
        pytest.param(
            '[monitor]\nhorizon = "1.5h"', "[monitor]: horizon: expected a whole number", id="one and a half hours"
        ),
        pytest.param('[monitor]\nentity = ""', "[monitor]: entity: expected a name", id="an entity without a name"),
        pytest.param(
            '[monitor]\nentity = "who"\ndrop = ["w*"]',
            "[monitor]: entity: expected a column that is recorded, received 'who', which drop names",
            id="the entity is dropped",
        ),
        pytest.param(
            '[monitor]\nevent_time = "at"\nhash = ["at"]',
            "[monitor]: event_time: expected a column that is not hashed, received 'at'",
            id="the instant is hashed",
        ),
        pytest.param('[monitor]\nclasses = ["a"]', "[monitor]: classes: expected two or more", id="one class"),
        pytest.param(
            '[monitor]\nclasses = ["a", "b"]\npositive = "c"',
            "[monitor]: positive: expected one of the classes ['a', 'b'], received 'c'",
            id="the positive label is no class",
        ),
        pytest.param(
            "[monitor]\nthresholds = { x = 0 }",
            "[monitor] thresholds[...]: expected a number > 0.0",
            id="a threshold of 0",
        ),
        pytest.param(
            "[monitor]\nrow_per_second = 1",
            "did you mean 'rows_per_second'? (known: journal, ",
            id="nearly a key of it",
        ),
    ],
)
def test_what_cannot_be_used_is_named(toml: str, says: str) -> None:
    with pytest.raises(BadPolicy) as bad:
        decode(toml.encode("latin-1"))
    assert says in str(bad.value)
    assert str(bad.value).startswith("model.toml: ")

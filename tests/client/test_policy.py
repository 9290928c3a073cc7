"""model.toml → Policy, or one sentence about what is wrong with it."""

import pytest

from skylane.policy import BadPolicy, Policy, decode


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
    ],
)
def test_what_cannot_be_used_is_named(toml: str, says: str) -> None:
    with pytest.raises(BadPolicy) as bad:
        decode(toml.encode("latin-1"))
    assert says in str(bad.value)
    assert str(bad.value).startswith("model.toml: ")

"""Accept or refuse, before any work is done. Pure."""

import math

from server.block import Block
from server.engine.cost import CostModel
from server.errors import Overloaded, TooManyRows
from skylane.policy import Batching


def check_size(block: Block, policy: Batching) -> None:
    """Raise TooManyRows if each call of the block is too large to be served at all."""
    if block.rows_each > policy.max_request_rows:
        raise TooManyRows(
            f"the request has {block.rows_each} rows, but this model takes at most {policy.max_request_rows} "
            f"(max_request_rows): send it in parts"
        )


def admit(block: Block, queued_rows: int, policy: Batching) -> int:
    """How many of the block's calls, from the first on, may join a queue in which `queued_rows` wait."""
    room = policy.max_queue_rows - queued_rows
    return len(block.calls) if block.rows <= room else max(0, room // block.rows_each)


def overloaded(queued_rows: int, policy: Batching, cost: CostModel) -> Overloaded:
    """The refusal, with the time that the queue needs to empty as the advice when to come back."""
    batches = math.ceil(queued_rows / policy.max_batch_rows)
    empty_in_s = batches * cost.seconds(policy.max_batch_rows) / policy.instances
    return Overloaded(
        f"the model's queue is full: {queued_rows} rows wait, at most {policy.max_queue_rows} may (max_queue_rows)",
        retry_after_ms=max(1, math.ceil(empty_in_s * 1000)),
    )

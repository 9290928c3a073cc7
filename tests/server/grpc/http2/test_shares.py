"""What one connection may hold and cost: a share of the bytes, of the places, and of what it makes others do."""

import gzip
import random
from dataclasses import replace

import pytest
from grpc import StatusCode
from hypothesis import given
from hypothesis import strategies as st

from skylane.server.codecs.grpc_status import Status
from skylane.server.core.errors import Unauthenticated
from skylane.server.core.token_scope import ANYONE, Grant
from skylane.server.grpc.http2 import frames
from skylane.server.grpc.http2.call_buffer import HANDED_OVER_BYTES, CallBuffer
from skylane.server.grpc.http2.flood_guard import IDLE_FRAMES_FORGIVEN
from skylane.server.grpc.http2.frames import END_HEADERS, Code, ConnectionFault, Kind
from skylane.server.grpc.http2.limits import Budget, Limits, Places, Share
from skylane.server.grpc.http2.messages import (
    UNPACKED_BYTES_FREE,
    UNPACKED_TIMES_MAX,
    Assembler,
    MessageFault,
    message_too_large,
)
from support.h2 import HOT, STREAMED, Client, Ours, message

MIB = 2**20
NOISE = random.Random(1).randbytes(1_000_000)
"""Which nothing makes smaller."""


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(-50, 60)), max_size=60))
def test_whoever_holds_nothing_finds_as_much_as_the_greediest_has(steps: list[tuple[int, int]]) -> None:
    """And all bytes are somewhere."""
    budget = Budget(1000)
    shares = [Share(budget) for _ in range(5)]
    for number, size in steps:
        share = shares[number]
        if size < 0:
            share.give_back(min(-size, share.held))
        elif share.take(size):
            assert share.held <= budget.left
        else:
            assert share.held + size > budget.left - size
        assert budget.left + sum(each.held for each in shares) == 1000
        assert max(each.held for each in shares) <= 500


def test_one_connection_does_not_take_the_room_of_its_neighbours() -> None:
    limits = Limits(partial_bytes=128 * MIB)
    budget = Budget(limits.partial_bytes)
    greedy, neighbour = Ours(limits, budget), Ours(limits, budget)
    client, part = Client(), bytes(16_000)
    for stream_id in range(1, 2001, 2):
        greedy.feed(client.head(stream_id) + client.data(stream_id, b"\0\0\x20\0\0" + part * 20, ends=False))
    assert budget.left >= 64 * MIB
    half = message(bytes(36_000))
    other = Client()
    neighbour.feed(other.head(1) + other.data(1, half[:20_000], ends=False) + other.data(1, half[20_000:]))
    assert len(neighbour.taken()) == 1


# --- What is unpacked ---------------------------------------------------------------------------------------------


@given(st.integers(1, 3000).map(lambda kib: kib * 1024), st.sampled_from([b"\0", b"ab", bytes(range(256))]))
def test_no_message_unpacks_to_more_than_its_bytes_allow(size: int, pattern: bytes) -> None:
    packed = gzip.compress((pattern * size)[:size])
    assembler = Assembler("gzip", 64 * MIB, message_too_large)
    allowed = max(UNPACKED_BYTES_FREE, UNPACKED_TIMES_MAX * len(packed))
    if size > allowed:
        with pytest.raises(MessageFault, match="send it with less compression or none") as caught:
            list(assembler.feed(message(packed, 1)))
        assert caught.value.status.code is StatusCode.RESOURCE_EXHAUSTED
    else:
        assert [len(whole) for whole in assembler.feed(message(packed, 1))] == [size]
        assert assembler.excess == max(size - UNPACKED_TIMES_MAX * len(packed), 0)


def packed_request(client: Client, stream_id: int, content: bytes) -> bytes:
    return client.head(stream_id, HOT, ("grpc-encoding", "gzip")) + client.data(
        stream_id, message(gzip.compress(content), 1)
    )


def test_small_bombs_cost_patience_faster_than_requests_make_up_for_them() -> None:
    ours, client = Ours(Limits(idle_frames=1000)), Client()
    bombs = [packed_request(client, stream_id, bytes(UNPACKED_BYTES_FREE)) for stream_id in range(1, 101, 2)]
    with pytest.raises(ConnectionFault, match="too many frames"):
        ours.feed(b"".join(bombs))


def test_a_table_of_zeros_now_and_then_is_no_bomb() -> None:
    ours, client = Ours(Limits(idle_frames=1000)), Client()
    for stream_id in range(1, 10_001, 2):
        ours.feed(packed_request(client, stream_id, bytes(80 * IDLE_FRAMES_FORGIVEN)))
        ours.taken()
        ours.connection.streams.answer(stream_id, b"")
        ours.feed(frames.window_update(0, 5))


def test_large_messages_are_in_their_connection_s_share_until_they_are_handed_over() -> None:
    ours, client = Ours(), Client()
    content = NOISE
    ours.feed(packed_request(client, 1, content))
    assert ours.budget.left == Limits().partial_bytes - len(content)
    handing_over(ours)
    assert ours.budget.left == Limits().partial_bytes


def test_many_bytes_are_handed_over_before_the_turn_ends() -> None:
    ours, client = Ours(), Client()
    content, stream_id, waiting = NOISE, 1, 0
    while not ours.recorder.payloads:
        ours.feed(packed_request(client, stream_id, content))
        stream_id += 2
        waiting += len(content)
        assert waiting < HANDED_OVER_BYTES + 2 * len(content)
    assert ours.budget.left == Limits().partial_bytes


def test_what_finds_no_room_is_handed_over_at_once() -> None:
    ours, client = Ours(Limits(partial_bytes=3 * MIB, message_bytes=MIB)), Client()
    held = Share(ours.budget)
    assert held.take(MIB)
    ours.feed(packed_request(client, 1, NOISE))
    ours.connection.keep(ours.call_buffer, MIB)
    assert len(ours.recorder.payloads) == 1


def handing_over(ours: Ours) -> None:
    call_buffer: CallBuffer = ours.call_buffer
    call_buffer.hand_over()


# --- Places, and what buys nothing back ---------------------------------------------------------------------------


def statuses(ours: Ours) -> list[dict[str, str]]:
    return [ours.status(frame) for frame in ours.sent() if frame.kind == Kind.HEADERS]


def test_one_connection_has_so_many_calls_passed_on_at_once() -> None:
    ours, client = Ours(Limits(passed_on_each=2), places=Places(10, "full")), Client()
    ours.feed(client.head(1, STREAMED) + client.head(3, STREAMED) + client.head(5, STREAMED))
    (refused,) = statuses(ours)
    assert refused["grpc-status"] == str(StatusCode.RESOURCE_EXHAUSTED.value[0])
    assert "this connection has 2 calls open" in refused["grpc-message"]
    ours.connection.streams.close_response(1, Status(StatusCode.OK, ""), b"")
    ours.feed(client.head(7, STREAMED))
    assert [handler.stream_id for handler in ours.opened] == [1, 3, 7]
    ours.feed(client.request(9))
    assert len(ours.taken()) == 1, "predictions are not counted"


@pytest.mark.parametrize("ended_by", ["reset", "answer", "fault", "the connection's end"])
def test_places_are_shared_by_all_connections_and_given_back(ended_by: str) -> None:
    places, client, others = Places(1, "the server is full"), Client(), Client()
    first, second = Ours(places=places), Ours(places=places)
    first.feed(client.head(1, STREAMED))
    second.feed(others.head(1, STREAMED))
    (refused,) = statuses(second)
    assert refused["grpc-message"] == "the server is full"
    match ended_by:
        case "reset":
            first.feed(frames.reset(1, Code.CANCEL))
        case "answer":
            first.connection.streams.close_response(1, Status(StatusCode.OK, ""), b"")
        case "fault":
            first.feed(frames.frame(Kind.HEADERS, END_HEADERS, 1, b"\x00\x01a\x01b"))
        case _:
            first.connection.lose()
    second.feed(others.head(3, STREAMED))
    assert [handler.stream_id for handler in second.opened] == [3]


ABANDONED = [
    pytest.param(lambda _, stream_id: frames.reset(stream_id, Code.CANCEL), id="reset by the client"),
    pytest.param(
        lambda _, stream_id: frames.frame(Kind.HEADERS, END_HEADERS, stream_id, b"\x00\x01a\x01b"),
        id="reset by us for a second head",
    ),
    pytest.param(
        lambda client, stream_id: client.data(stream_id, b"\x02\0\0\0\0", ends=False), id="refused for its message"
    ),
    pytest.param(
        lambda client, stream_id: client.data(stream_id, b"\0") + client.data(stream_id, b"\0"),
        id="reset by us for DATA behind its end",
    ),
]


@pytest.mark.parametrize("given_up", ABANDONED)
def test_calls_that_are_passed_on_and_given_up_are_a_flood_that_nothing_makes_up_for(given_up: object) -> None:
    assert callable(given_up)
    ours, client = Ours(Limits(abandoned=50, idle_frames=10_000)), Client()
    said = [
        client.head(stream_id, STREAMED) + given_up(client, stream_id) + client.request(stream_id + 2)
        for stream_id in range(1, 401, 4)
    ]
    with pytest.raises(ConnectionFault, match="given up before they were answered"):
        ours.feed(b"".join(said))
    assert len(ours.opened) == 51


def test_calls_that_are_answered_and_then_given_up_are_none() -> None:
    ours, client = Ours(Limits(abandoned=5)), Client()
    for stream_id in range(1, 401, 2):
        ours.feed(client.head(stream_id, STREAMED))
        ours.connection.streams.open_response(stream_id, b"")
        ours.feed(frames.reset(stream_id, Code.CANCEL))


FREE = Client().head(1) + Client().data(1, message(b"x"), ends=False)


@pytest.mark.parametrize(
    ("before", "flood"),
    [
        pytest.param(b"", frames.window_update(0, 1), id="windows of the connection, of which nothing was used"),
        pytest.param(FREE, frames.window_update(1, 1), id="windows of a stream that was sent nothing"),
        pytest.param(
            FREE + frames.reset(1, Code.CANCEL), frames.window_update(1, 1), id="windows of a stream that has ended"
        ),
        pytest.param(Client().head(1), frames.frame(Kind.DATA, frames.PADDED, 1, b"\x03" + bytes(3)), id="padding"),
        pytest.param(
            Client().head(1, STREAMED),
            frames.frame(Kind.DATA, 0, 1, message(b"") * 100),
            id="empty messages of a stream",
        ),
        pytest.param(
            Client().head(1, STREAMED), frames.frame(Kind.DATA, 0, 1, message(b"x") * 100), id="tiny ones of a stream"
        ),
    ],
)
def test_what_brings_nothing_costs_patience(before: bytes, flood: bytes) -> None:
    ours = Ours(Limits(idle_frames=1000))
    ours.feed(before)
    with pytest.raises(ConnectionFault, match="too many frames that bring no request"):
        ours.feed(flood * 1100)


def test_requests_refused_for_too_many_streams_cost_patience() -> None:
    ours, client = Ours(Limits(streams=1, idle_frames=100)), Client()
    with pytest.raises(ConnectionFault, match="too many frames that bring no request"):
        ours.feed(b"".join(client.head(stream_id) for stream_id in range(1, 301, 2)))


# --- Tokens that are revoked --------------------------------------------------------------------------------------


def test_streams_end_with_the_token_that_opened_them() -> None:
    grants = {"good": ANYONE, "revoked": ANYONE, "narrowed": ANYONE}

    def grant_of(token: str | None) -> Grant:
        if token not in grants:
            raise Unauthenticated("no such token")
        return grants[token]

    ours, client = Ours(grant_of=grant_of), Client()
    for stream_id, token in ((1, "good"), (3, "revoked"), (5, "narrowed")):
        ours.feed(client.head(stream_id, STREAMED, ("authorization", token)))
    ours.feed(client.head(7, HOT, ("authorization", "revoked")))
    ours.connection.streams.end_revoked()
    assert not ours.sent()
    del grants["revoked"]
    grants["narrowed"] = replace(ANYONE, models=("other",))
    ours.connection.streams.end_revoked()
    ended = {frame.stream_id: ours.status(frame)["grpc-status"] for frame in ours.sent() if frame.ends}
    assert ended == dict.fromkeys((3, 5, 7), str(StatusCode.UNAUTHENTICATED.value[0]))
    assert [handler.is_cancelled for handler in ours.opened] == [False, True, True]
    ours.feed(client.data(1, message(b"still here"), ends=False))
    assert ours.opened[0].messages == [b"still here"]

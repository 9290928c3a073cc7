"""One connection: bytes in, calls and frames out. What a client may say, in all its ways, and what is refused."""

import gc
import gzip
import weakref
from itertools import pairwise

import pytest
from grpc import StatusCode
from hypothesis import given
from hypothesis import strategies as st

from skylane.server.codecs.grpc_status import Status
from skylane.server.grpc.http2 import frames, response_headers
from skylane.server.grpc.http2.connection import CONNECTION_WINDOW_STEP
from skylane.server.grpc.http2.frames import (
    ACK,
    END_HEADERS,
    END_STREAM,
    HAS_PRIORITY,
    PADDED,
    Code,
    ConnectionFault,
    Kind,
)
from skylane.server.grpc.http2.limits import Limits
from skylane.server.grpc.http2.receiving_stream import ReceivingStream
from support.h2 import HOT, STREAMED, Client, Frame, Ours, RecordedStream, fields_of, message

FINE = Status(StatusCode.OK, "")


def block(*more: tuple[str, str], path: str = HOT) -> bytes:
    """A header block that leaves the table alone."""
    client = Client()
    client.encoder.header_table_size = 0
    return client.encoder.encode(fields_of(path, *more), huffman=False)


def head(flags: int, payload: bytes, stream_id: int = 1) -> bytes:
    return frames.frame(Kind.HEADERS, flags, stream_id, payload)


def data(flags: int, payload: bytes, stream_id: int = 1) -> bytes:
    return frames.frame(Kind.DATA, flags, stream_id, payload)


def more(flags: int, payload: bytes, stream_id: int = 1) -> bytes:
    return frames.frame(Kind.CONTINUATION, flags, stream_id, payload)


def kinds(said: list[Frame]) -> list[str]:
    return [frame.kind.name for frame in said]


def on_stream_3(said: bytes) -> bytes:
    """The same frames, of which all that are on stream 1 are on stream 3."""
    changed, position = bytearray(said), 0
    while position < len(said):
        high, low, _, _, stream_id = frames.read_head(said, position)
        if stream_id & 1:
            changed[position + 5 : position + 9] = frames.pack_u32(3)
        position += frames.HEAD_BYTES + (high << 8 | low)
    return bytes(changed)


HEAD = head(END_HEADERS, block())
BODY = message(b"request")
WHOLE = data(END_STREAM, BODY)
ZIPPED = message(gzip.compress(b"request"), 1)


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(HEAD + WHOLE, id="two frames"),
        pytest.param(HEAD + data(0, BODY) + data(END_STREAM, b""), id="the end in an empty frame"),
        pytest.param(HEAD + b"".join(data(0, BODY[i : i + 1]) for i in range(12)) + data(END_STREAM, b""), id="bytes"),
        pytest.param(HEAD + data(0, BODY[:7]) + data(END_STREAM, BODY[7:]), id="half and half"),
        pytest.param(HEAD + data(0, BODY[:3]) + data(END_STREAM, BODY[3:]), id="parted within its prefix"),
        pytest.param(HEAD + data(0, BODY[:7]) + data(END_STREAM | PADDED, b"\1" + BODY[7:] + b"\0"), id="half padded"),
        pytest.param(HEAD + data(0, b"") + WHOLE, id="an empty frame first"),
        pytest.param(HEAD + data(END_STREAM | PADDED, b"\x03" + BODY + bytes(3)), id="padded"),
        pytest.param(HEAD + data(PADDED, b"\x00" + BODY) + data(END_STREAM | PADDED, b"\x00"), id="padded by nothing"),
        pytest.param(head(END_HEADERS | PADDED, b"\x05" + block() + bytes(5)) + WHOLE, id="a padded head"),
        pytest.param(head(END_HEADERS | HAS_PRIORITY, bytes(5) + block()) + WHOLE, id="a head with a priority"),
        pytest.param(
            head(END_HEADERS | HAS_PRIORITY | PADDED, b"\x02" + bytes(5) + block() + bytes(2)) + WHOLE, id="both"
        ),
        pytest.param(
            head(0, block()[:20]) + more(0, block()[20:21]) + more(END_HEADERS, block()[21:]) + WHOLE, id="continued"
        ),
        pytest.param(head(0, b"") + more(END_HEADERS, block()) + WHOLE, id="continued from nothing"),
        pytest.param(HEAD + data(0, BODY) + head(END_HEADERS | END_STREAM, b"\x00\x01a\x01b"), id="trailers"),
        pytest.param(
            HEAD + data(0, BODY) + head(END_STREAM, b"\x00\x01a") + more(END_HEADERS, b"\x01b"), id="continued trailers"
        ),
        pytest.param(HEAD + frames.frame(Kind.PRIORITY, 0, 1, bytes(5)) + WHOLE, id="PRIORITY in between"),
        pytest.param(HEAD + b"\x00\x00\x01\x42\x00\x00\x00\x00\x01x" + WHOLE, id="a kind that nobody knows"),
        pytest.param(HEAD + frames.frame(Kind.SETTINGS, ACK, 0) + WHOLE, id="an acknowledgement in between"),
        pytest.param(HEAD + frames.goaway(0, Code.NO_ERROR) + WHOLE, id="a client that will go"),
        pytest.param(HEAD.replace(b"\0\0\0\1", b"\x80\0\0\1", 1) + WHOLE, id="the reserved bit of a stream's number"),
        pytest.param(head(END_HEADERS, block(("grpc-encoding", "gzip"))) + data(END_STREAM, ZIPPED), id="gzip"),
        pytest.param(head(END_HEADERS, block(("grpc-encoding", "gzip"))) + WHOLE, id="gzip that is not used"),
    ],
)  # fmt: skip
@given(cuts=st.lists(st.integers(0, 400), max_size=20))
def test_a_request_however_it_comes(said: bytes, cuts: list[int]) -> None:
    """Also twice, so that the second finds its head known; also cut into any pieces."""
    ours = Ours(greeted=False)
    everything = Client.PREFACE + said + on_stream_3(said)
    places = [0, *sorted(cut for cut in cuts if cut < len(everything)), len(everything)]
    for start, end in pairwise(places):
        ours.feed(everything[start:end])
    assert ours.taken() == [(1, b"request"), (3, b"request")]
    assert kinds(ours.sent()) == ["SETTINGS", "WINDOW_UPDATE", "SETTINGS"]
    for stream_id in (1, 3):
        ours.connection.streams.answer(stream_id, b"reply")
    assert [frame.payload for frame in ours.sent() if frame.kind == Kind.DATA] == [message(b"reply")] * 2
    assert not ours.connection.busy


@pytest.mark.parametrize(
    ("behind", "status"),
    [
        pytest.param(data(END_STREAM, BODY[7:-1]), StatusCode.INTERNAL, id="too few bytes"),
        pytest.param(data(END_STREAM, BODY[7:] + b"x"), StatusCode.INTERNAL, id="too many"),
    ],
)
def test_frames_behind_each_other_that_are_no_message(behind: bytes, status: StatusCode) -> None:
    ours = Ours()
    ours.feed(HEAD + data(0, BODY[:7]) + behind + on_stream_3(HEAD + WHOLE))
    assert ours.taken() == [(3, b"request")]
    assert ours.status(ours.sent()[0])["grpc-status"] == str(status.value[0])


@given(st.lists(st.tuples(st.sampled_from([1, 3]), st.integers(1, 20)), max_size=30))
def test_messages_of_two_streams_in_turn(parts: list[tuple[int, int]]) -> None:
    """Parts of any size, which belong to one run as long as the stream is the same."""
    ours, rest = Ours(), {1: message(bytes(range(200))), 3: message(bytes(range(100, 256)))}
    expected = {stream_id: whole[5:] for stream_id, whole in rest.items()}
    said = HEAD + on_stream_3(HEAD)
    for stream_id, size in parts:
        part, rest[stream_id] = rest[stream_id][:size], rest[stream_id][size:]
        said += data(0, part, stream_id)
    ours.feed(said + b"".join(data(END_STREAM, left, stream_id) for stream_id, left in rest.items()))
    assert dict(ours.taken()) == expected


@pytest.mark.parametrize("size", [2**14 - 5, 2**14 - 4, 2**15, 65535 - 5])
def test_a_reply_within_the_windows_leaves_at_once(size: int) -> None:
    """In as many frames as it takes, with its trailers behind it."""
    ours, content = Ours(), bytes(range(256)) * 256
    ours.feed(Client().request(1))
    ours.connection.streams.answer(1, content[:size])
    first, *datas, last = ours.sent()
    assert (first.kind, last.kind, last.flags) == (Kind.HEADERS, Kind.HEADERS, END_HEADERS | END_STREAM)
    assert b"".join(frame.payload for frame in datas) == message(content[:size])
    assert max(len(frame.payload) for frame in datas) <= frames.FRAME_BYTES_MAX
    assert not ours.connection.send_buffer.busy


def test_every_split_of_one_stream_of_bytes() -> None:
    client = Client()
    everything = Client.PREFACE + b"".join(client.request(stream_id, b"x" * stream_id) for stream_id in (1, 3, 5))
    for cut in range(len(everything)):
        ours = Ours(greeted=False)
        ours.feed(everything[:cut])
        ours.feed(everything[cut:])
        assert ours.taken() == [(1, b"x"), (3, b"xxx"), (5, b"xxxxx")]


@pytest.mark.parametrize(
    ("said", "status", "is_reset"),
    [
        pytest.param(head(END_HEADERS | END_STREAM, block()), StatusCode.INTERNAL, False, id="no message"),
        pytest.param(HEAD + data(END_STREAM, b""), StatusCode.INTERNAL, False, id="no message, said by an empty frame"),
        pytest.param(HEAD + data(END_STREAM, BODY[:-1]), StatusCode.INTERNAL, False, id="half a message"),
        pytest.param(HEAD + data(END_STREAM, BODY + BODY), StatusCode.INTERNAL, True, id="two messages"),
        pytest.param(HEAD + data(END_STREAM, BODY + b"\0"), StatusCode.INTERNAL, False, id="a message and a byte"),
        pytest.param(HEAD + data(0, b"\0\xff\0\0\0"), StatusCode.RESOURCE_EXHAUSTED, True, id="too large"),
        pytest.param(
            head(END_HEADERS, block(("grpc-encoding", "br"))) + data(END_STREAM, ZIPPED),
            StatusCode.UNIMPLEMENTED, True,
            id="compressed in a way that we do not know",
        ),
    ],
)  # fmt: skip
def test_a_request_that_is_refused(said: bytes, status: StatusCode, is_reset: bool) -> None:
    ours = Ours()
    ours.feed(said)
    assert not ours.taken()
    answer, *rest = ours.sent()
    assert answer.ends
    assert ours.status(answer)["grpc-status"] == str(status.value[0])
    if not said.endswith((BODY + BODY, ZIPPED)):  # refused while its last frame was looked at
        assert kinds(rest) == (["RST_STREAM"] if is_reset else [])
    assert not ours.connection.busy
    ours.feed(Client().request(3))
    assert ours.taken() == [(3, b"request")], "its neighbours feel nothing"


def test_what_comes_of_a_refused_message_is_ignored() -> None:
    ours = Ours(Limits(idle_frames=1))
    ours.feed(HEAD + data(0, b"\0\xff\0\0\0"))
    refused = ours.sent()
    assert [frame.number for frame in refused if frame.kind == Kind.RST_STREAM] == [Code.NO_ERROR]
    for _ in range(60):  # all that the window had room for may be on its way
        ours.feed(data(0, bytes(frames.FRAME_BYTES_MAX)))
    assert not ours.sent()
    with pytest.raises(ConnectionFault):
        ours.feed(data(0, bytes(frames.FRAME_BYTES_MAX)) * 10)


@pytest.mark.parametrize(
    "ended_by", [pytest.param(b"\0\xff\0\0\0", id="a refusal"), pytest.param(BODY + BODY, id="a second message")]
)
def test_trailers_of_a_stream_that_we_ended(ended_by: bytes) -> None:
    ours = Ours()
    client = Client()
    ours.feed(client.head(1) + data(0, ended_by) + head(END_HEADERS | END_STREAM, client.encoder.encode([("a", "b")])))
    ours.feed(client.head(3, HOT, ("a", "b")) + data(END_STREAM, BODY, 3))
    assert ours.taken() == [(3, b"request")], "the table is still the same on both sides"


def malformed(name: str) -> bytes:
    return Client().encoder.encode([(name, "x"), *fields_of()])


@pytest.mark.parametrize(
    ("said", "code"),
    [
        pytest.param(head(END_HEADERS, malformed("a")), Code.PROTOCOL_ERROR, id="pseudo-headers that come late"),
        pytest.param(HEAD + head(END_HEADERS, b"\x00\x01a\x01b"), Code.PROTOCOL_ERROR, id="trailers that do not end"),
        pytest.param(HEAD + data(0, bytes(5)) * 2**10, Code.NO_ERROR, id="more messages than one"),
    ],
)
def test_a_fault_that_costs_a_stream(said: bytes, code: Code) -> None:
    ours = Ours()
    ours.feed(said)
    assert [frame.number for frame in ours.sent() if frame.kind == Kind.RST_STREAM] == [code]
    assert not ours.taken()
    assert not ours.connection.busy


def test_a_client_that_sends_more_than_its_window() -> None:
    ours = Ours()
    ours.feed(head(END_HEADERS, block(path=STREAMED)))
    for _ in range(2 * ReceivingStream.WINDOW // 2**14):  # nobody takes it
        ours.feed(data(0, message(bytes(2**14 - 5))))
    (reset,) = (frame for frame in ours.sent() if frame.kind == Kind.RST_STREAM)
    assert reset.number == Code.FLOW_CONTROL_ERROR
    assert ours.opened[0].is_cancelled


@pytest.mark.parametrize(
    ("said", "code"),
    [
        pytest.param(data(END_STREAM, BODY), Code.PROTOCOL_ERROR, id="DATA before HEADERS"),
        pytest.param(data(END_STREAM, BODY, 0), Code.PROTOCOL_ERROR, id="DATA on stream 0"),
        pytest.param(head(END_HEADERS, block(), 0), Code.PROTOCOL_ERROR, id="HEADERS on stream 0"),
        pytest.param(head(END_HEADERS, block(), 2), Code.PROTOCOL_ERROR, id="an even stream"),
        pytest.param(head(END_HEADERS, block(), 3) + HEAD, Code.STREAM_CLOSED, id="a stream's number goes back"),
        pytest.param(HEAD + WHOLE + HEAD, Code.STREAM_CLOSED, id="a stream begins twice"),
        pytest.param(head(END_HEADERS, b""), Code.PROTOCOL_ERROR, id="an empty head"),
        pytest.param(head(0, block()) + WHOLE, Code.PROTOCOL_ERROR, id="DATA inside a head"),
        pytest.param(head(0, block()) + more(END_HEADERS, b"", 3), Code.PROTOCOL_ERROR, id="another's head inside"),
        pytest.param(more(END_HEADERS, block()), Code.PROTOCOL_ERROR, id="a continuation of nothing"),
        pytest.param(head(0, block()) + 4 * more(0, bytes(16_384)), Code.ENHANCE_YOUR_CALM, id="an endless head"),
        pytest.param(head(END_HEADERS | PADDED, b"\xff" + block()), Code.PROTOCOL_ERROR, id="padding beyond the frame"),
        pytest.param(head(END_HEADERS | PADDED, b""), Code.FRAME_SIZE_ERROR, id="padding without a length"),
        pytest.param(HEAD + data(PADDED, b"\x01"), Code.PROTOCOL_ERROR, id="all padding, and more"),
        pytest.param(head(END_HEADERS, b"\xff\xff\x7f"), Code.COMPRESSION_ERROR, id="a table entry that is not there"),
        pytest.param(data(0, bytes(16_385)), Code.FRAME_SIZE_ERROR, id="a frame over the limit"),
        pytest.param(frames.reset(1, Code.CANCEL), Code.PROTOCOL_ERROR, id="a reset of what has not begun"),
        pytest.param(frames.reset(0, Code.CANCEL), Code.PROTOCOL_ERROR, id="a reset of stream 0"),
        pytest.param(HEAD + frames.frame(Kind.RST_STREAM, 0, 1, b"x"), Code.FRAME_SIZE_ERROR, id="a short reset"),
        pytest.param(frames.window_update(1, 1), Code.PROTOCOL_ERROR, id="a window of what has not begun"),
        pytest.param(frames.window_update(0, 0), Code.PROTOCOL_ERROR, id="a window that grows by nothing"),
        pytest.param(frames.window_update(0, 2**31 - 1), Code.FLOW_CONTROL_ERROR, id="a window beyond 2^31 - 1"),
        pytest.param(frames.frame(Kind.WINDOW_UPDATE, 0, 0, b"x"), Code.FRAME_SIZE_ERROR, id="a short window"),
        pytest.param(frames.frame(Kind.PING, 0, 0, b"x"), Code.FRAME_SIZE_ERROR, id="a short ping"),
        pytest.param(frames.frame(Kind.PING, 0, 1, bytes(8)), Code.PROTOCOL_ERROR, id="a ping on a stream"),
        pytest.param(frames.frame(Kind.SETTINGS, 0, 0, b"x"), Code.FRAME_SIZE_ERROR, id="half a setting"),
        pytest.param(frames.frame(Kind.SETTINGS, 0, 1), Code.PROTOCOL_ERROR, id="settings of a stream"),
        pytest.param(frames.frame(Kind.SETTINGS, 0, 0, b"\0\4\xff\xff\xff\xff"), Code.FLOW_CONTROL_ERROR, id="huge"),
        pytest.param(frames.frame(Kind.SETTINGS, 0, 0, b"\0\5\0\0\0\1"), Code.PROTOCOL_ERROR, id="tiny frames"),
        pytest.param(frames.frame(Kind.PUSH_PROMISE, 0, 1), Code.PROTOCOL_ERROR, id="a client that pushes"),
    ],
)  # fmt: skip
def test_a_fault_that_costs_the_connection(said: bytes, code: Code) -> None:
    ours = Ours()
    with pytest.raises(ConnectionFault) as caught:
        ours.feed(said)
    assert caught.value.code is code
    ours.connection.say_goodbye(caught.value.code, str(caught.value))
    assert ours.sent()[-1].kind == Kind.GOAWAY


@pytest.mark.parametrize("said", [b"GET / HTTP/1.1\r\nhost: here\r\n\r\n", b"\x16\x03\x01\x02\x00", b"PRJ", b"\0"])
def test_what_is_not_http2(said: bytes) -> None:
    with pytest.raises(ConnectionFault, match="this is not HTTP/2"):
        Ours(greeted=False).feed(said)


# --- Streams over the limit, resets, the end --------------------------------------------------------------------------


def test_streams_over_the_limit_are_refused_and_may_come_again() -> None:
    ours, client = Ours(Limits(streams=2)), Client()
    ours.feed(client.request(1) + client.head(3) + client.request(5))
    assert [(frame.stream_id, frame.number) for frame in ours.sent()] == [(5, Code.REFUSED_STREAM)]
    assert ours.taken() == [(1, b"request")]
    ours.connection.streams.answer(1, b"reply")
    ours.feed(client.request(7) + client.data(3, message(b"late")))
    assert ours.taken() == [(7, b"request"), (3, b"late")]


def test_answers_that_wait_for_the_peer_count_as_streams() -> None:
    ours, client = Ours(Limits(streams=3)), Client()
    ours.feed(frames.settings({frames.Setting.INITIAL_WINDOW_SIZE: 0}))
    for stream_id in (1, 3, 5):
        ours.feed(client.request(stream_id))
        ours.connection.streams.answer(stream_id, b"reply")
    ours.sent()
    ours.feed(client.request(7))
    assert [(frame.stream_id, frame.number) for frame in ours.sent()] == [(7, Code.REFUSED_STREAM)]
    ours.feed(frames.window_update(3, 100) + client.request(9))
    assert ours.taken()[-1] == (9, b"request")


def test_a_peer_with_too_many_bytes_unsent_gets_no_more() -> None:
    ours, client = Ours(Limits(unsent_bytes=1000)), Client()
    ours.feed(frames.settings({frames.Setting.INITIAL_WINDOW_SIZE: 0}) + client.request(1))
    ours.connection.streams.answer(1, bytes(2000))
    ours.feed(client.request(3))
    assert [frame.number for frame in ours.sent() if frame.kind == Kind.RST_STREAM] == [Code.REFUSED_STREAM]
    ours.feed(frames.reset(1, Code.CANCEL) + client.request(5))
    assert ours.taken()[-1] == (5, b"request")


@pytest.mark.parametrize("cut", range(len(HEAD + data(0, BODY[:7]) + data(END_STREAM, BODY[7:])) + 1))
def test_a_reset_at_any_point(cut: int) -> None:
    """After any whole frames; what comes of the stream afterwards is ignored."""
    parts = [HEAD, data(0, BODY[:7]), data(END_STREAM, BODY[7:])]
    count = sum(len(b"".join(parts[: n + 1])) <= cut for n in range(3))
    ours = Ours()
    ours.feed(b"".join(parts[:count]))
    if not count:
        return
    calls = list(ours.call_buffer.calls)
    ours.feed(frames.reset(1, Code.CANCEL))
    assert all(call.cancelled for call in calls)
    assert not ours.connection.busy
    ours.connection.streams.answer(1, b"too late")
    ours.connection.streams.refuse_call(1, response_headers.refusal(FINE))
    ours.feed(b"".join(data(0, b"x") for _ in parts[count:]))
    assert {(frame.kind, frame.number) for frame in ours.sent()} <= {(Kind.RST_STREAM, Code.STREAM_CLOSED)}
    assert ours.budget.left == Limits().partial_bytes, "nothing is kept of it"


def test_a_reset_of_an_answer_that_waits() -> None:
    ours, client = Ours(), Client()
    ours.feed(client.request(1))
    ours.connection.streams.answer(1, bytes(10**6))
    assert sum(len(frame.payload) for frame in ours.sent() if frame.kind == Kind.DATA) == frames.WINDOW_DEFAULT
    ours.feed(frames.reset(1, Code.CANCEL) + frames.window_update(0, 10**6) + frames.window_update(1, 10**6))
    assert not ours.sent()
    assert not ours.connection.busy
    assert ours.connection.send_buffer.unsent == 0


def test_the_end_is_announced_and_then_said() -> None:
    ours, client = Ours(), Client()
    ours.connection.announce_end()
    ours.feed(client.request(1))
    ours.connection.streams.answer(1, b"reply")
    ours.connection.say_goodbye()
    first, *_, last = ours.sent()
    assert (first.kind, last.kind) == (Kind.GOAWAY, Kind.GOAWAY)
    assert first.payload == b"\x7f\xff\xff\xff" + bytes(4)
    assert last.payload == b"\0\0\0\1" + bytes(4)


def test_who_is_lost_has_cancelled_everything() -> None:
    ours, client = Ours(), Client()
    ours.feed(
        client.request(1) + client.head(3) + client.data(3, b"\0\0\0\0\7abc", ends=False) + client.head(5, STREAMED)
    )
    calls = list(ours.call_buffer.calls)
    ours.connection.lose()
    assert [call.cancelled for call in calls] == [True]
    assert ours.opened[0].is_cancelled
    assert ours.budget.left == Limits().partial_bytes


# --- Windows of what the client sends ---------------------------------------------------------------------------------


def test_a_message_longer_than_the_window_gets_room_and_its_end_too() -> None:
    ours, client = Ours(), Client()
    content = bytes(5 * 2**20)
    rest, room = message(content), ReceivingStream.WINDOW
    ours.feed(client.head(1))
    while rest:
        size = min(room, len(rest))
        assert size, "the client may not go on"
        part, rest, room = rest[:size], rest[size:], room - size
        ours.feed(client.data(1, part, ends=False))
        room += sum(frame.number for frame in ours.sent() if frame.kind == Kind.WINDOW_UPDATE)
    assert room == 1, "no more than it needs, and not nothing: there are clients who would not say then that they end"
    ours.feed(client.data(1, b"", ends=True))
    assert ours.taken() == [(1, content)]


@pytest.mark.parametrize("size", [ReceivingStream.WINDOW - 6, ReceivingStream.WINDOW - 5, ReceivingStream.WINDOW - 4])
def test_a_message_as_long_as_the_window_leaves_room_for_its_end(size: int) -> None:
    ours, client = Ours(), Client()
    ours.feed(client.head(1))
    rest, room = message(bytes(size)), ReceivingStream.WINDOW
    while rest:
        part, rest, room = rest[:room], rest[room:], max(room - len(rest), 0)
        ours.feed(client.data(1, part, ends=False))
        room += sum(frame.number for frame in ours.sent() if frame.kind == Kind.WINDOW_UPDATE)
    assert room == 1


def test_the_window_of_the_connection_never_ends() -> None:
    ours, client = Ours(), Client()
    ours.feed(frames.window_update(0, 2**30))
    given_back = 0
    for stream_id in range(1, 2 * 40_000, 2):
        ours.feed(client.request(stream_id, bytes(16_000)))
        ours.connection.streams.answer(stream_id, b"")
        ours.taken()
        given_back += sum(frame.number for frame in ours.sent() if frame.kind == Kind.WINDOW_UPDATE)
    assert 40_000 * 16_005 - given_back < CONNECTION_WINDOW_STEP
    assert given_back


def test_too_many_bytes_of_unfinished_requests() -> None:
    ours, client = Ours(Limits(partial_bytes=200, message_bytes=100)), Client()
    ours.feed(client.head(1) + data(0, message(bytes(90))[:-1]))
    ours.feed(client.head(3) + data(0, message(bytes(90))[:-1], 3))
    answer, reset = ours.sent()
    assert ours.status(answer)["grpc-status"] == str(StatusCode.RESOURCE_EXHAUSTED.value[0])
    assert reset.stream_id == 3
    ours.feed(data(END_STREAM, b"\0"))
    ours.feed(client.head(5) + data(0, message(bytes(90))[:-1], 5) + data(END_STREAM, b"\0", 5))
    assert [stream_id for stream_id, _ in ours.taken()] == [1, 5]


# --- Streams ----------------------------------------------------------------------------------------------------------


def test_a_stream_and_its_handler() -> None:
    ours, client = Ours(), Client()
    told: list[str] = []
    ours.feed(client.head(1, STREAMED, ("a", "b")) + data(0, message(b"one") + message(b"two")[:4]))
    ours.connection.streams.open_response(1, b"")
    ours.connection.streams.send_message(1, b"reply", lambda: told.append("sent"))
    ours.feed(data(END_STREAM, message(b"two")[4:]))
    (handler,) = ours.opened
    assert (handler.headers.path, handler.headers.metadata) == (STREAMED, (("a", "b"),))
    assert (handler.messages, handler.is_half_closed) == ([b"one", b"two"], True)
    ours.connection.streams.close_response(1, FINE, b"")
    assert kinds(ours.sent()) == ["HEADERS", "DATA", "HEADERS"]
    assert told == ["sent"]
    assert not ours.connection.busy


@pytest.mark.parametrize("is_answered", [False, True])
def test_a_fault_in_a_stream_ends_both_sides(is_answered: bool) -> None:
    ours, client = Ours(), Client()
    ours.feed(client.head(1, STREAMED))
    if is_answered:
        ours.connection.streams.open_response(1, b"")
    ours.feed(data(0, b"\0\xff\0\0\0"))
    *opening, closing, reset = ours.sent()
    assert kinds(opening) == ["HEADERS"] * is_answered
    assert closing.ends
    assert ours.status(closing).get(":status") == (None if is_answered else "200"), "said once"
    assert (reset.kind, reset.number) == (Kind.RST_STREAM, Code.NO_ERROR)
    assert ours.opened[0].is_cancelled
    ours.connection.streams.send_message(1, b"too late", lambda: None)
    ours.connection.streams.close_response(1, FINE, b"")
    assert not ours.sent()


@pytest.mark.parametrize(
    "after",
    [
        pytest.param(data(0, message(b"more")), id="DATA"),
        pytest.param(head(END_HEADERS | END_STREAM, b"\x00\x01a\x01b"), id="trailers"),
    ],
)
def test_a_client_that_goes_on_after_its_end(after: bytes) -> None:
    ours, client = Ours(), Client()
    ours.feed(client.head(1, STREAMED, ends=True) + after)
    assert kinds(ours.sent()) == ["RST_STREAM"]
    assert ours.opened[0].is_cancelled


def test_half_a_message_at_the_end_of_a_stream() -> None:
    ours, client = Ours(), Client()
    ours.feed(client.head(1, STREAMED) + data(END_STREAM, BODY[:-1]))
    (answer,) = ours.sent()
    assert "before its message was whole" in ours.status(answer)["grpc-message"]
    assert ours.opened[0].is_cancelled


def test_a_service_that_ends_before_its_client() -> None:
    """The client hears that nobody listens; what was on its way is no flood."""
    ours, client = Ours(Limits(idle_frames=10)), Client()
    ours.feed(client.head(1, STREAMED) + data(0, message(b"one")))
    ours.connection.streams.open_response(1, b"")
    ours.connection.streams.close_response(1, Status(StatusCode.ABORTED, "enough"), b"")
    assert kinds(ours.sent()) == ["HEADERS", "HEADERS", "RST_STREAM"]
    for _ in range(10_000):
        ours.feed(data(0, message(b"x")))
    ours.feed(data(END_STREAM, b""))


@pytest.mark.parametrize("content", [b"", b"x" * 1000])
def test_a_service_that_takes_nothing_stops_its_client(content: bytes) -> None:
    """Messages that it has not taken have a bound, in number as well."""
    ours, client = Ours(Limits(idle_frames=10**6)), Client()
    ours.feed(client.head(1, STREAMED))
    room, part = ReceivingStream.WINDOW, message(content) * 10
    while room >= len(part):
        ours.feed(data(0, part))
        room += sum(frame.number for frame in ours.sent() if frame.kind == Kind.WINDOW_UPDATE) - len(part)
        assert len(ours.opened[0].messages) < 300_000
    taken = len(ours.opened[0].messages)
    for _ in range(taken):
        ours.connection.streams.message_consumed(1, len(content))
    room += sum(frame.number for frame in ours.sent() if frame.kind == Kind.WINDOW_UPDATE)
    assert ReceivingStream.WINDOW // 2 < room <= ReceivingStream.WINDOW
    assert ours.budget.left >= Limits().partial_bytes - len(part)


def test_a_lost_connection_is_freed_without_the_garbage_collector() -> None:
    ours = Ours(open_stream=lambda _connection, stream_id, headers: RecordedStream(stream_id, headers))
    ours.feed(Client().request(1) + Client().head(3, STREAMED))
    ours.taken()
    lost = weakref.ref(ours.connection)
    ours.connection.lose()
    gc.disable()
    try:
        del ours
        assert lost() is None
    finally:
        gc.enable()

"""Who floods or stalls is sent away; who merely works much, or slowly, never is."""

import pytest

from skylane.server.grpc.http2 import frames
from skylane.server.grpc.http2.flood_guard import IDLE_FRAMES_S
from skylane.server.grpc.http2.frames import ACK, END_STREAM, Code, ConnectionFault, Kind, Setting
from skylane.server.grpc.http2.limits import Limits
from support.h2 import SETTINGS_ACK, STREAMED, Client, Ours, message

PING = frames.frame(Kind.PING, 0, 0, bytes(8))
UNFINISHED = frames.frame(Kind.HEADERS, 0, 1, b"\x88")

# --- Floods -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "flood"),
    [
        pytest.param(b"", PING, id="pings"),
        pytest.param(b"", frames.frame(Kind.PING, ACK, 0, bytes(8)), id="answers to pings that nobody sent"),
        pytest.param(b"", frames.settings({Setting.INITIAL_WINDOW_SIZE: 1}), id="settings"),
        pytest.param(b"", SETTINGS_ACK, id="acknowledgements of settings that nobody sent"),
        pytest.param(b"", frames.frame(Kind.PRIORITY, 0, 1, bytes(5)), id="priorities"),
        pytest.param(b"", b"\0\0\0\x42\0\0\0\0\0", id="frames that nobody knows"),
        pytest.param(Client().request(1), frames.reset(1, Code.CANCEL), id="resets of a stream that has gone"),
        pytest.param(Client().head(1), frames.frame(Kind.DATA, 0, 1), id="empty data"),
        pytest.param(Client().head(1, STREAMED), frames.frame(Kind.DATA, 0, 1), id="empty data in a tunnel"),
        pytest.param(Client().request(1), frames.frame(Kind.DATA, 0, 1, b"x"), id="data of a stream that has ended"),
        pytest.param(UNFINISHED, frames.frame(Kind.CONTINUATION, 0, 1), id="a head that goes on with nothing"),
        pytest.param(b"", frames.goaway(0, Code.NO_ERROR), id="goodbyes"),
    ],
)
def test_a_flood_ends_the_connection(before: bytes, flood: bytes) -> None:
    ours = Ours(Limits(idle_frames=1000))
    ours.feed(before)
    with pytest.raises(ConnectionFault, match="too many frames") as caught:
        ours.feed(flood * 1100)
    assert caught.value.code is Code.ENHANCE_YOUR_CALM


def test_opening_and_resetting_without_a_request_is_a_flood() -> None:
    ours, client = Ours(Limits(idle_frames=1000)), Client()
    pairs = b"".join(client.head(number, STREAMED) + frames.reset(number, Code.CANCEL) for number in range(1, 2203, 2))
    with pytest.raises(ConnectionFault, match="too many frames"):
        ours.feed(pairs)
    assert all(handler.is_cancelled for handler in ours.opened[:-1])


# --- Honest traffic, at a rate that no client reaches: all of it in one instant ---------------------------------------


def test_pings_beside_requests() -> None:
    """A client in Go sends one with almost each of its requests, to measure the line."""
    ours, client = Ours(Limits(idle_frames=100)), Client()
    for stream_id in range(1, 20_000, 2):
        ours.feed(client.request(stream_id) + PING + frames.window_update(0, 5) + frames.window_update(stream_id, 5))
        ours.connection.streams.answer(stream_id, b"reply")
    assert len(ours.taken()) == 10_000


def test_a_client_that_cancels_each_of_its_requests() -> None:
    ours, client = Ours(Limits(idle_frames=100)), Client()
    for stream_id in range(1, 20_000, 2):
        ours.feed(client.request(stream_id) + frames.reset(stream_id, Code.CANCEL))
    assert all(call.cancelled for call in ours.call_buffer.calls)
    assert not ours.connection.busy


def test_windows_of_a_large_download_byte_by_byte() -> None:
    ours, client = Ours(Limits(idle_frames=100)), Client()
    ours.feed(client.request(1))
    ours.connection.streams.answer(1, bytes(10**5))
    for _ in range(10**5):
        ours.feed(frames.window_update(0, 1) + frames.window_update(1, 1))
    assert ours.sent()[-1].ends


def test_windows_of_a_stream_of_many_messages() -> None:
    ours, client = Ours(Limits(idle_frames=100)), Client()
    ours.feed(client.head(1, STREAMED))
    ours.connection.streams.open_response(1, b"")
    for _ in range(20_000):
        ours.connection.streams.send_message(1, b"x", lambda: None)
        ours.feed(frames.window_update(0, 6) + frames.window_update(1, 6))
        assert [frame.payload for frame in ours.sent() if frame.kind == Kind.DATA] == [message(b"x")]
    assert not ours.connection.ends


def test_a_stream_of_many_messages_with_pings() -> None:
    ours, client = Ours(Limits(idle_frames=100)), Client()
    ours.feed(client.head(1, STREAMED))
    for _ in range(20_000):
        ours.feed(client.data(1, message(b"x"), ends=False) + PING)
        ours.connection.streams.message_consumed(1, 1)
    assert ours.opened[0].messages == [b"x"] * 20_000
    assert sum(frame.kind == Kind.PING for frame in ours.sent()) == 20_000
    assert not ours.connection.ends


def test_keepalive_for_days() -> None:
    ours = Ours(Limits(idle_frames=10))
    for tick in range(20_000):
        ours.feed(PING, now=tick * IDLE_FRAMES_S / 4)
    assert len(ours.sent()) == 20_000, "each was answered"
    assert not ours.connection.ends


def test_an_update_of_one_window_does_not_look_at_all_streams() -> None:
    """A thousand answers wait for their own windows; what a stranger says of the connection's must stay cheap. Counted
    in frames that came of it, and seen in that this test ends."""
    ours, client = Ours(), Client()
    ours.feed(frames.settings({Setting.INITIAL_WINDOW_SIZE: 1}))
    for stream_id in range(1, 2001, 2):
        ours.feed(client.request(stream_id))
        ours.connection.streams.answer(stream_id, bytes(1000))
    ours.sent()
    ours.feed(frames.window_update(0, 1) * 9_000)
    assert not ours.sent()
    ours.feed(frames.window_update(7, 10))
    assert [len(frame.payload) for frame in ours.sent()] == [10]


def test_settings_cost_a_peer_what_they_cost_us() -> None:
    """Each changes the windows of a thousand answers that wait: 950 a second took a quarter of the reactor's time."""
    ours, client = Ours(), Client()
    ours.feed(frames.settings({Setting.INITIAL_WINDOW_SIZE: 0}))
    for stream_id in range(1, 2001, 2):
        ours.feed(client.request(stream_id))
        ours.connection.streams.answer(stream_id, bytes(1000))
    fifty = b"".join(frames.settings({Setting.INITIAL_WINDOW_SIZE: size}) for size in range(50))
    ours.feed(fifty)
    with pytest.raises(ConnectionFault, match="bring no request"):
        ours.feed(fifty)


def test_all_windows_open_at_last() -> None:
    """The connection's window is shared in turn; whoever waits for it is served when it opens."""
    ours, client = Ours(), Client()
    for stream_id in (1, 3, 5):
        ours.feed(client.request(stream_id))
        ours.connection.streams.answer(stream_id, bytes(10**5))
    ours.sent()
    for stream_id in (1, 3, 5):
        ours.feed(frames.window_update(stream_id, 10**6))
    assert not ours.sent(), "the first took all that the connection had"
    turns = []
    for _ in range(6):
        ours.feed(frames.window_update(0, 1000))
        turns += [frame.stream_id for frame in ours.sent()]
    assert sorted(turns[:3]) == sorted(turns[3:]) == [1, 3, 5]
    ours.feed(frames.window_update(0, 10**6))
    assert {frame.stream_id for frame in ours.sent() if frame.ends} == {1, 3, 5}
    assert not ours.connection.busy


# --- Stalls: checked each second, as the reactor does------------------------------------------------------------------


def stalls_after(ours: Ours, at: float = 0.0) -> float | None:
    """When the connection is first found to have stalled, in seconds, within 200."""
    return next((second - at for second in range(int(at), int(at) + 200) if ours.connection.stalled(second)), None)


@pytest.mark.parametrize(
    ("said", "stalls"),
    [
        pytest.param(b"", False, id="nothing to do"),
        pytest.param(Client().request(1), False, id="a request that we have not answered"),
        pytest.param(Client().head(1), True, id="a head without its message"),
        pytest.param(Client().head(1) + Client().data(1, b"\0\0\0\0\5ab", ends=False), True, id="half a message"),
        pytest.param(Client().head(1) + Client().data(1, message(b"ab"), ends=False), True, id="a request without end"),
        pytest.param(Client().head(1, STREAMED), False, id="a stream that says nothing"),
        pytest.param(Client().head(1, STREAMED, ends=True), False, id="a client that watches"),
        pytest.param(
            Client().head(1, STREAMED) + Client().data(1, b"\0\0\0\0\5ab", ends=False), True, id="half of one, streamed"
        ),
        pytest.param(PING[:-1], True, id="a frame without its end"),
        pytest.param(frames.frame(Kind.HEADERS, 0, 1, b"\x83"), True, id="a header block without its end"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("at", [0.0, 5000.0])
def test_requests_that_stall(said: bytes, stalls: bool, at: float) -> None:
    ours = Ours(Limits(stalled_s=60))
    ours.feed(said, now=at)
    found = stalls_after(ours, at)
    assert (found is not None) is stalls
    assert found is None or 60 < found <= 62


def test_a_frame_whose_bytes_come_one_by_one_has_no_more_time() -> None:
    ours = Ours(Limits(stalled_s=60))
    ours.feed(frames.frame(Kind.PRIORITY, 0, 1, bytes(100))[:50], now=1000)
    for second in range(1000, 1060):
        ours.feed(b"\0" if second % 10 == 0 else b"", now=second)
        assert not ours.connection.stalled(second)
    assert ours.connection.stalled(1061)


def test_frames_that_always_come_in_halves() -> None:
    ours = Ours(Limits(stalled_s=60))
    for second in range(1000, 1200):
        ours.feed(PING[5:] + PING[:5] if second > 1000 else PING[:5], now=second)
        assert not ours.connection.stalled(second)


def test_a_stream_whose_messages_always_come_in_halves() -> None:
    ours, client = Ours(Limits(stalled_s=60)), Client()
    ours.feed(client.head(1, STREAMED))
    parts = message(b"first") + message(b"second")
    for second in range(200):
        ours.feed(client.data(1, parts[7:] + parts[:7] if second else parts[:7], ends=False), now=second)
        ours.connection.streams.message_consumed(1, 5)
        assert not ours.connection.stalled(second)


@pytest.mark.parametrize("at", [0.0, 5000.0])
def test_replies_that_the_peer_gives_no_window(at: float) -> None:
    ours, client = Ours(Limits(stalled_s=60)), Client()
    ours.feed(client.request(1), now=at)
    ours.connection.streams.answer(1, bytes(10**6))
    found = stalls_after(ours, at)
    assert found is not None
    assert 60 < found <= 62


def test_the_time_of_a_reply_that_is_given_up_is_not_another_s() -> None:
    ours, client = Ours(Limits(stalled_s=60)), Client()
    ours.feed(frames.settings({Setting.INITIAL_WINDOW_SIZE: 0}) + client.request(1), now=1000)
    ours.connection.streams.answer(1, bytes(100))
    assert not ours.connection.stalled(1001)
    ours.feed(frames.reset(1, Code.CANCEL), now=1002)
    assert not ours.connection.stalled(1002)
    ours.feed(client.request(3), now=5000)
    ours.connection.streams.answer(3, bytes(100))
    found = stalls_after(ours, 5000)
    assert found is not None
    assert 60 < found <= 62


def test_replies_that_are_held_back_because_the_peer_does_not_read_have_the_time_of_what_it_does_not_read() -> None:
    ours, client = Ours(Limits(stalled_s=60)), Client()
    ours.feed(client.request(1))
    ours.connection.send_buffer.hold(True)
    ours.connection.streams.answer(1, bytes(10**6))
    assert stalls_after(ours, 1000) is None


def test_replies_that_go_out_slowly() -> None:
    ours, client = Ours(Limits(stalled_s=60)), Client()
    ours.feed(frames.settings({Setting.INITIAL_WINDOW_SIZE: 0}) + client.request(1))
    ours.connection.streams.answer(1, bytes(100))
    for now in range(0, 1500, 50):
        ours.feed(frames.window_update(1, 1), now)
        assert not ours.connection.stalled(now)


def test_a_stream_that_its_client_reads_when_it_likes() -> None:
    ours, client = Ours(Limits(stalled_s=60)), Client()
    ours.feed(client.head(1, STREAMED, ends=True))
    ours.connection.streams.open_response(1, b"")
    ours.connection.streams.send_message(1, bytes(10**6), lambda: None)
    assert stalls_after(ours) is None


def test_an_end_that_says_nothing_more_is_no_flood() -> None:
    ours, client = Ours(Limits(idle_frames=1000)), Client()
    for stream_id in range(1, 4001, 2):
        ours.feed(client.head(stream_id) + client.data(stream_id, message(b"x"), ends=False))
        ours.feed(frames.frame(Kind.DATA, END_STREAM, stream_id))
    assert len(ours.taken()) == Limits().streams, "the others were refused, and said the same before they knew"

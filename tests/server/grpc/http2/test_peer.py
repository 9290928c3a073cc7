"""Another HTTP/2 implementation, h2 by python-hyper, at the other end: it raises if we break the protocol or its
windows, and in the end everybody has all that was sent."""

from typing import Any

from grpc import StatusCode
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, ResponseReceived, StreamEnded, StreamReset, TrailersReceived
from h2.settings import SettingCodes
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from skylane.server.codecs.grpc_status import Status
from skylane.server.grpc.http2.frames import Code
from support.h2 import HOT, STREAMED, Ours, fields_of, message


class Conversation(RuleBasedStateMachine):
    """Requests, answers, windows, settings and resets in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.ours = Ours(greeted=False)
        self.peer = H2Connection(H2Configuration(client_side=True))
        self.peer.initiate_connection()
        self.waiting: dict[int, bytes] = {}
        """Stream → what the peer still has to send of its request."""
        self.asked: dict[int, bytes] = {}
        """Stream → message of a request that was sent whole."""
        self.open: list[int] = []
        """Streams that have come and are not answered."""
        self.streamed: dict[int, int] = {}
        """Stream of a tunnel → bytes that were sent in answer."""
        self.expected: dict[int, bytes] = {}
        """Stream → bytes of its answer."""
        self.got: dict[int, bytearray] = {}
        self.unread: dict[int, int] = {}
        """Stream → bytes for which the peer has opened no window yet."""
        self.statuses: dict[int, bytes] = {}
        self.gone: set[int] = set()
        self.exchange()

    # --- Both ways ----------------------------------------------------------------------------------------------------

    def exchange(self) -> None:
        """Everything that either has said reaches the other."""
        while True:
            said = self.peer.data_to_send()
            if said:
                self.ours.feed(said)
            answer = b"".join(self.ours.connection.send_buffer.frames)
            self.ours.connection.send_buffer.frames.clear()
            if not said and not answer:
                break
            for event in self.peer.receive_data(answer):
                self.on(event)
            self.push()
        for stream_id, payload in self.ours.taken():
            assert payload == self.asked[stream_id]
            if stream_id not in self.gone:
                self.open.append(stream_id)

    def on(self, event: Any) -> None:
        assert not isinstance(event, ConnectionTerminated), event
        if isinstance(event, DataReceived):
            self.got[event.stream_id] += event.data
            self.unread[event.stream_id] = self.unread.get(event.stream_id, 0) + event.flow_controlled_length
        elif isinstance(event, ResponseReceived):
            assert dict(event.headers)[b":status"] == b"200"
            self.got[event.stream_id] = bytearray()
        elif isinstance(event, TrailersReceived):
            self.statuses[event.stream_id] = dict(event.headers)[b"grpc-status"]
        elif isinstance(event, StreamReset):
            assert event.error_code == Code.NO_ERROR, "of a tunnel that ended before its client"
            self.waiting.pop(event.stream_id, None)
        elif isinstance(event, StreamEnded):
            assert self.got[event.stream_id] == self.expected[event.stream_id]

    def push(self) -> None:
        """The peer sends what our windows let it."""
        for stream_id, rest in list(self.waiting.items()):
            room = min(self.peer.local_flow_control_window(stream_id), self.peer.max_outbound_frame_size)
            part, rest = rest[:room], rest[room:]
            if part or not rest:
                self.peer.send_data(stream_id, part, end_stream=not rest)
                self.waiting[stream_id] = rest
            if not rest:
                del self.waiting[stream_id]

    # --- What the client does -----------------------------------------------------------------------------------------

    @rule(size=st.sampled_from([0, 1, 100, 16_379, 16_380, 70_000, 1_100_000]), again=st.booleans())
    def ask(self, size: int, again: bool) -> None:
        stream_id = self.peer.get_next_available_stream_id()
        more = [] if again else [("n", str(stream_id))]
        self.peer.send_headers(stream_id, fields_of(HOT, *more))
        self.asked[stream_id] = bytes([stream_id % 251]) * size
        self.waiting[stream_id] = message(self.asked[stream_id])
        self.push()
        self.exchange()

    @rule()
    def open_stream(self) -> None:
        stream_id = self.peer.get_next_available_stream_id()
        self.peer.send_headers(stream_id, fields_of(STREAMED), end_stream=True)
        self.exchange()
        self.streamed[stream_id] = 0
        self.expected[stream_id] = b""
        self.ours.connection.streams.open_response(stream_id, b"")
        self.exchange()

    @precondition(lambda self: self.open or self.streamed)
    @rule(data=st.data())
    def reset(self, data: st.DataObject) -> None:
        stream_id = data.draw(st.sampled_from([*self.open, *self.streamed]))
        if stream_id in self.statuses:
            return
        self.peer.reset_stream(stream_id, Code.CANCEL)
        self.gone.add(stream_id)
        self.open = [number for number in self.open if number != stream_id]
        self.streamed.pop(stream_id, None)
        self.exchange()

    @rule(size=st.sampled_from([0, 1, 1000, 65_535, 2**20]))
    def change_initial_window(self, size: int) -> None:
        self.peer.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: size})
        self.exchange()

    @rule(size=st.sampled_from([2**14, 2**14 + 1, 2**17]))
    def change_frame_size(self, size: int) -> None:
        self.peer.update_settings({SettingCodes.MAX_FRAME_SIZE: size})
        self.exchange()

    @rule(size=st.sampled_from([0, 100, 4096, 65_536]))
    def change_header_table(self, size: int) -> None:
        self.peer.update_settings({SettingCodes.HEADER_TABLE_SIZE: size})
        self.exchange()

    @rule()
    def ping(self) -> None:
        self.peer.ping(b"8 bytes.")
        self.exchange()

    @precondition(lambda self: self.unread)
    @rule(data=st.data(), share=st.sampled_from([1, 2, 7]))
    def read(self, data: st.DataObject, share: int) -> None:
        """The peer's reader takes a part of what has come on one stream."""
        stream_id = data.draw(st.sampled_from(sorted(self.unread)))
        size = -(-self.unread[stream_id] // share)
        self.unread[stream_id] -= size
        if not self.unread[stream_id]:
            del self.unread[stream_id]
        if size:
            self.peer.acknowledge_received_data(size, stream_id)
        self.exchange()

    # --- What the service does ----------------------------------------------------------------------------------------

    @precondition(lambda self: self.open)
    @rule(data=st.data(), size=st.sampled_from([0, 1, 60, 16_379, 16_380, 65_530, 65_531, 200_000]))
    def answer(self, data: st.DataObject, size: int) -> None:
        stream_id = data.draw(st.sampled_from(self.open))
        self.open.remove(stream_id)
        content = bytes([size % 251]) * size
        self.expected[stream_id] = message(content)
        self.ours.connection.streams.answer(stream_id, content)
        self.exchange()

    @precondition(lambda self: self.streamed)
    @rule(data=st.data(), size=st.sampled_from([0, 60, 30_000, 100_000]))
    def send(self, data: st.DataObject, size: int) -> None:
        stream_id = data.draw(st.sampled_from(list(self.streamed)))
        content = bytes([size % 251]) * size
        self.expected[stream_id] += message(content)
        self.ours.connection.streams.send_message(stream_id, content, lambda: None)
        self.exchange()

    @precondition(lambda self: self.streamed)
    @rule(data=st.data())
    def close(self, data: st.DataObject) -> None:
        stream_id = data.draw(st.sampled_from(list(self.streamed)))
        del self.streamed[stream_id]
        self.ours.connection.streams.close_response(stream_id, Status(StatusCode.OK, ""), b"")
        self.exchange()

    # --- Laws ---------------------------------------------------------------------------------------------------------

    @invariant()
    def what_waits_is_counted(self) -> None:
        sent = sum(len(self.got[stream_id]) for stream_id in self.expected if stream_id not in self.gone)
        promised = sum(len(content) for stream_id, content in self.expected.items() if stream_id not in self.gone)
        assert self.ours.connection.send_buffer.unsent == promised - sent

    def teardown(self) -> None:
        """Windows open, and all that was promised comes."""
        while self.unread:
            for stream_id, size in list(self.unread.items()):
                del self.unread[stream_id]
                self.peer.acknowledge_received_data(size, stream_id)
            self.exchange()
        self.peer.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 2**24})
        self.peer.increment_flow_control_window(2**24)
        self.exchange()
        for stream_id, content in self.expected.items():
            if stream_id not in self.gone:
                assert self.got[stream_id] == content


ConversationTest = Conversation.TestCase
ConversationTest.settings = settings(max_examples=20, stateful_step_count=30, deadline=None)

"""What attacks cost: the server's CPU for each byte that was sent, and how long a bystander waits meanwhile.

    python -m skylane.bench.experiments.attacks --rows "rapid reset" PING --raw attacks.json

Each attack sends as fast as the server reads. The bystander, in a process and on a connection of its own, sends 50
requests each second on a schedule. It is measured without an attack first, and what its requests cost the server is
subtracted. See docs/limits.md.
"""

import contextlib
import gzip
import select
import struct
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from hpack import Encoder
from rich.table import Table

from skylane.bench import servers
from skylane.bench.client.connections import Peer
from skylane.bench.client.http2 import Reply
from skylane.bench.client.sending import Log, Order, Sending
from skylane.bench.experiments.cpu_comparison import SERVER, Started, parser, started
from skylane.bench.figures import known_median
from skylane.bench.host.interrupts import sigterm_interrupts
from skylane.bench.lab.measure.figures import Latency
from skylane.bench.lab.measure.measurement import Endpoint, observed
from skylane.bench.lab.output.live import console, plain_table, us_text
from skylane.bench.lab.record import Record, RunRecord, RunStart, save
from skylane.bench.workload.http2 import HEAD, begin, data, request_headers, whole_call
from skylane.bench.workload.payloads import PREDICT, framed
from skylane.bench.workload.wire import PREDICT_STREAM
from skylane.cli.live import bytes_text
from skylane.server.grpc.http2 import frames
from skylane.server.grpc.http2.frames import PADDED, Code, Kind, frame
from skylane.server.grpc.http2.response_headers import field

NOBODY: Final = "nobody: the bystander alone"
RATE_PER_S: Final = 50
"""Requests of the bystander."""
CHUNK_BYTES: Final = 65_536
PROXIED: Final = request_headers("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
"""Of a method that grpcio answers behind our server."""
TRAILERS: Final = field("a", b"b")


@dataclass(frozen=True)
class Attack:
    """What is sent over HTTP/2, on how many connections."""

    name: str
    build: Callable[[int], bytes] | None = None
    """Frames that are sent again and again, given the first of 96 unused streams; None: only `first` is sent."""
    first: bytes = b""
    """Sent on each connection before all else; may use all streams if `build` uses none."""
    connections: int = 1
    again: bool = False
    """Whether another connection takes the place of one that was closed."""
    leaves: bool = False
    """Whether the client closes a connection when the call on stream 1 was answered, or at once without `first`."""
    reads: bool = True


class Measured(Record, frozen=True, kw_only=True):
    """One attack in one round."""

    attack: str
    round: int
    sent_bytes: int
    connections: int
    cpu_s: float
    """Of the server, what the bystander's requests cost included."""
    p50_us: float | None
    """This and the next are the bystander's, from the instant at which each request was due."""
    p99_us: float | None
    lost: int
    """Requests of the bystander without an answer."""
    rss_mib: tuple[float, float]
    """Before, and at most."""


class AttacksRun(RunRecord, frozen=True, kw_only=True):
    """One run. `settings`: model, rounds, seconds."""

    measured: tuple[Measured, ...]


def attacks(call: bytes) -> list[Attack]:
    """All of them. `call`: a valid framed Predict request."""
    floods = [*_calls(call), *_headers(call), *_frames(call)]
    again = [replace(each, name=f"{each.name}, reconnecting", again=True) for each in floods]
    many = [replace(each, name=f"{each.name}, 8 connections", connections=8) for each in again]
    return [*floods, *again, *many, *_held(call)]


def _reset(stream: int, block: bytes = HEAD) -> bytes:
    return begin(stream, block) + frames.reset(stream, Code.CANCEL)


def _insert(name: str, value: str) -> bytes:
    """A field that enters the server's table."""
    return bytes(Encoder().encode([(name, value)], huffman=False))


def _calls(call: bytes) -> list[Attack]:
    whole, many = framed(b""), framed(b"") * 3000
    return [
        Attack("honest: valid Predict", lambda s: whole_call(s, call)),
        Attack("rapid reset: Predict", lambda s: whole_call(s, call) + frames.reset(s, Code.CANCEL)),
        Attack("rapid reset: headers", _reset),
        Attack("rapid reset: proxied", lambda s: _reset(s, PROXIED)),
        Attack(
            "rapid reset: 95 proxied, then a whole call",
            lambda s: b"".join(_reset(s + 2 * i, PROXIED) for i in range(95)) + whole_call(s + 190, whole),
        ),
        Attack("MadeYouReset: trailers without end", lambda s: begin(s, PROXIED) + begin(s, TRAILERS)),
        Attack("MadeYouReset: after data", lambda s: begin(s, PROXIED) + data(s, whole) + begin(s, TRAILERS)),
        Attack("MadeYouReset: window + 0", lambda s: whole_call(s, call) + frames.window_update(s, 0)),
        Attack("RST_STREAM on a closed stream", lambda _: frames.reset(1, Code.CANCEL), first=whole_call(1, call)),
        Attack("empty messages: PredictStream", lambda s: whole_call(s, many, request_headers(PREDICT_STREAM))),
        Attack("empty messages: proxied", lambda s: whole_call(s, many, PROXIED)),
        Attack("no such model", lambda s: whole_call(s, framed(b"\x0a\x03abc"))),
        Attack("no such model, another name each", lambda s: whole_call(s, framed(b"\x0a\x0b%011d" % s))),
    ]


def _headers(call: bytes) -> list[Attack]:
    text, many, indexed = request_headers(kind="x"), TRAILERS * 1800, b"\x90" * 1300
    upper, sizes, unended = b"\x00\x01A\x01b", b"\x20\x3f\xe1\x1f" * 3000, frame(Kind.HEADERS, 0, 1, HEAD)
    more = frame(Kind.CONTINUATION, 0, 1, field("a", b"b" * 100) * 100)
    large = begin(1, HEAD + _insert("a", "b" * 3800), ends=True)
    return [
        Attack("headers: a name in capitals", lambda s: begin(s, HEAD + upper, ends=True)),
        Attack("headers: content-type refused", lambda s: begin(s, text, ends=True)),
        Attack("headers: 1,300 indexed fields", lambda s: begin(s, HEAD + indexed, ends=True)),
        Attack("headers: 1,800 literal fields", lambda s: begin(s, HEAD + many, ends=True)),
        Attack("headers: 6,000 table sizes", lambda s: begin(s, sizes + HEAD, ends=True)),
        Attack("headers: a field of 4 kB × 15", lambda s: begin(s, HEAD + b"\xbe" * 15, ends=True), first=large),
        Attack("headers: 40 into the table", lambda s: begin(s, HEAD + _insert(f"a{s}", "b" * 20) * 40, ends=True)),
        Attack("headers: new x-request-id", lambda s: whole_call(s, call, HEAD + _insert("x-request-id", f"r{s}"))),
        Attack("headers: new grpc-timeout", lambda s: whole_call(s, call, HEAD + _insert("grpc-timeout", f"{s}m"))),
        Attack("CONTINUATION", lambda _: more, first=unended),
        Attack("empty CONTINUATION", lambda _: frame(Kind.CONTINUATION, 0, 1), first=unended),
    ]


def _frames(call: bytes) -> list[Attack]:
    ping, begun, part = frame(Kind.PING, 0, 0, bytes(8)), begin(1), struct.pack(">BI", 0, 4096)
    return [
        Attack("PING", lambda _: ping),
        Attack("PING, never reading", lambda _: ping, reads=False),
        Attack("90 PING, then Predict", lambda s: ping * 90 + whole_call(s, call)),
        Attack("SETTINGS", lambda _: frames.settings({})),
        Attack("PRIORITY", lambda s: frame(Kind.PRIORITY, 0, s, b"\0\0\0\0\1")),
        Attack("WINDOW_UPDATE on a closed stream", lambda _: frames.window_update(1, 1), first=whole_call(1, call)),
        Attack("WINDOW_UPDATE of the connection", lambda _: frames.window_update(0, 1)),
        Attack("unknown frames", lambda _: b"\0\0\0\x77" + bytes(5)),
        Attack("empty DATA", lambda _: frame(Kind.DATA, 0, 1), first=begun),
        Attack("empty DATA, padded", lambda _: frame(Kind.DATA, PADDED, 1, b"\0"), first=begun),
        Attack("DATA of 1 byte", lambda s: begin(s) + data(s, part) + frame(Kind.DATA, 0, s, b"a") * 1000),
    ]


def _held(call: bytes) -> list[Attack]:
    """Connections and streams that come and go or stay open, and little on the wire that is much in memory."""
    packed = gzip.compress(bytes(2**26 - 100))
    zeros = whole_call(1, struct.pack(">BI", 1, len(packed)) + packed, HEAD + field("grpc-encoding", b"gzip"))
    bomb = Attack("64 MiB of zeros in gzip", first=zeros, leaves=True)
    part = struct.pack(">BI", 0, 2**21) + bytes(2**19)
    heads = (PROXIED, request_headers(PREDICT_STREAM))
    proxied, streamed = (b"".join(begin(stream, head) for stream in range(1, 2000, 2)) for head in heads)
    return [
        Attack("connections", again=True, leaves=True),
        Attack("connections, a Predict each", first=whole_call(1, call), again=True, leaves=True),
        bomb,
        replace(bomb, name=f"{bomb.name}, 25 connections, reconnecting", connections=25, again=True),
        Attack("messages that do not end", lambda s: begin(s) + data(s, part)),
        Attack("1,000 idle streams, proxied", first=proxied, connections=5),
        Attack("1,000 idle streams", first=streamed, connections=5),
    ]


def attack_until(attack: Attack, address: str, until: float) -> tuple[int, int]:
    """Attack on one connection at a time. Returns the bytes that were sent and the connections that were made."""
    sent = opened = 0
    while not opened or (attack.again and time.monotonic() < until):
        try:
            peer = Peer(address, PREDICT, None)
        except OSError:
            if time.monotonic() > until:
                break
            time.sleep(0.05)
            continue
        opened += 1
        with contextlib.closing(peer.socket):
            sent += _flood(peer, attack, until)
    return sent, opened


def _flood(peer: Peer, attack: Attack, until: float) -> int:
    """Send until then, or until one side leaves. Returns the bytes that were sent."""
    sent, stream = 0, 3 if attack.first else 1
    peer.in_flight[1] = Reply(0)
    peer.out += attack.first
    with contextlib.suppress(OSError):  # the server has closed the connection
        while (not sent or time.monotonic() < until) and not peer.closing:
            while attack.build is not None and len(peer.out) < CHUNK_BYTES:
                peer.out += attack.build(stream)
                stream += 2 * 96
            readable, writable, _ = select.select([peer] * attack.reads, [peer] * bool(peer.out), [], 0.05)
            if writable:
                unsent = len(peer.out)
                peer.flush()
                sent += unsent - len(peer.out)
            answered = bool(readable and peer.receive())
            if attack.leaves and (answered or not attack.first):
                break
    return sent


def measured(attack: Attack, stand: Started, round_: int) -> Measured:
    """Attack while the bystander sends. Raises GeneratorFailed."""
    (server,), seconds, did = stand.servers.values(), stand.plan.seconds, list[tuple[int, int]]()
    due_us = np.arange(0, seconds * 1e6, 1e6 / RATE_PER_S).astype(np.int64)
    order = Order(
        address=server.address, bodies=[stand.exchange.body], connections=1, streams=1000, due_us=due_us,
        picks=np.zeros(len(due_us), np.int64), seconds=seconds, progress=stand.folder / "progress",
    )  # fmt: skip

    def both() -> Log:
        bystander = Sending(order, stand.folder)
        bystander.wait_begun()
        until = time.monotonic() + seconds
        with ThreadPoolExecutor(attack.connections or 1) as threads:
            did.extend(threads.map(lambda _: attack_until(attack, server.address, until), range(attack.connections)))
        return bystander.finish()

    seen = observed(Endpoint(server.address, "", server.process.pid, counts=False), both)
    usage, latency = seen.usage, Latency.of(seen.log.took_us[seen.log.ok])
    assert usage is not None, "the server's process is known"
    return Measured(
        attack=attack.name, round=round_, sent_bytes=sum(sent for sent, _ in did), cpu_s=round(usage.used_s, 4),
        connections=sum(opened for _, opened in did), lost=int((~seen.log.ok).sum()),
        p50_us=latency.p50_us if latency else None, p99_us=latency.p99_us if latency else None,
        rss_mib=(round(float(usage.rss_mib[0]), 1), round(float(usage.rss_mib.max()), 1)),
    )  # fmt: skip


def table(rows: Sequence[Measured]) -> Table:
    """A row for each attack: medians over the rounds, and the most memory of all."""
    shown = plain_table()
    for name in ("ATTACK", "SENT", "CONNECTIONS", "CPU", "CPU/BYTE", "P50", "P99", "LOST", "MEMORY"):
        shown.add_column(name, justify="left" if name == "ATTACK" else "right", overflow="fold")
    alone_s = {row.round: row.cpu_s for row in rows if row.attack == NOBODY}
    for name in dict.fromkeys(row.attack for row in rows):
        rounds = [row for row in rows if row.attack == name]
        used_s = [(row, row.cpu_s - alone_s[row.round] * (name != NOBODY)) for row in rounds]
        byte_us = known_median(1e6 * cpu_s / row.sent_bytes for row, cpu_s in used_s if row.sent_bytes)
        shown.add_row(
            name, bytes_text(known_median(row.sent_bytes for row in rounds) or 0),
            f"{known_median(row.connections for row in rounds):.0f}", f"{known_median(cpu for _, cpu in used_s):.2f} s",
            "–" if byte_us is None else f"{byte_us:.3f} µs", us_text(known_median(row.p50_us for row in rounds)),
            us_text(known_median(row.p99_us for row in rounds)), str(sum(row.lost for row in rounds)),
            f"{rounds[0].rss_mib[0]:.0f} → {max(row.rss_mib[1] for row in rounds):.0f} MiB",
        )  # fmt: skip
    return shown


@sigterm_interrupts()
def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and write the raw figures. Returns the exit code."""
    command = parser("python -m skylane.bench.experiments.attacks", __doc__.partition("\n")[0])
    command.set_defaults(rounds=1, seconds=2.5)
    command.add_argument("--rows", nargs="+", default=[""], metavar="WORDS", help="attacks with one of these in a name")
    command.add_argument("--raw", type=Path, metavar="FILE", help="for the figures of every round, as JSON")
    options, start, rows = command.parse_args(argv), RunStart(), list[Measured]()
    kind = servers.Kind("server", "grpc", ("-m", "skylane.server", *SERVER, "--log-level", "error"))
    with started(options, [kind]) as stand:
        chosen = [each for each in attacks(stand.exchange.body) if any(word in each.name for word in options.rows)]
        for round_ in range(options.rounds):
            for attack in (Attack(NOBODY, connections=0), *chosen):
                rows.append(measured(attack, stand, round_))
                stand.servers["server"].ask(stand.exchange)  # it still answers, and rightly
                print(f"round {round_ + 1}: {attack.name}: p99 {us_text(rows[-1].p99_us)}", file=sys.stderr, flush=True)
    settings = {"model": options.model, "rounds": options.rounds, "seconds": options.seconds}
    console().print(table(rows))
    if options.raw:
        save(AttacksRun(**start.conditions(), settings=settings, measured=tuple(rows)), options.raw)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What scenarios are measured with: the servers that run, the models that they serve, and the load generators."""

import contextlib
from collections.abc import Iterable
from pathlib import Path

from skylane.bench import servers
from skylane.bench.client.generator import Generator
from skylane.bench.lab.baselines.contestants import (
    BARE_SOCKET,
    IN_PROCESS,
    NO_SERVERS,
    AcrossSocket,
    Contestant,
    Driver,
    InProcess,
    Served,
)
from skylane.bench.lab.baselines.record import NULL
from skylane.bench.lab.measure.measurement import Endpoint
from skylane.bench.servers import Server
from skylane.bench.workload import models
from skylane.bench.workload.models import ModelSet
from skylane.bench.workload.payloads import Exchange, grpc_reply
from skylane.manifest import MODEL_FILE


class Rig:
    """The servers that run, and how to reach each contestant through them."""

    def __init__(
        self,
        folder: Path,
        exchanges: Iterable[tuple[Contestant, int]],
        model_set: ModelSet,
        generator: Generator,
        stack: contextlib.ExitStack,
    ) -> None:
        """Start every server that is needed. They are stopped by the stack, in any event.

        `exchanges`: contestants, and how many rows a request to each has.
        """
        self.folder, self.models, self.generator, self._stack = folder, model_set.by_name, generator, stack
        exchanges = list(exchanges)
        answers = folder / "answers"
        answers.mkdir()
        for contestant, rows in exchanges:
            if contestant.label == NULL:
                self._write_answer(answers / f"{contestant.model}-{rows}", contestant.model, rows)
        places = {"models": model_set.repository, "pipelines": model_set.pipelines, "answers": answers}
        kinds = {contestant.kind for contestant, _ in exchanges} - NO_SERVERS
        self.servers: dict[str, Server] = {
            kind: stack.enter_context(servers.running(servers.KINDS[kind], folder, **places)) for kind in sorted(kinds)
        }
        for contestant, rows in exchanges:
            if contestant.kind in self.servers:
                self.servers[contestant.kind].wait_ready(self.exchange(contestant, rows))

    def exchange(self, contestant: Contestant, rows: int) -> Exchange:
        """A request of so many rows, and its right answer."""
        return self.models[contestant.model].exchange(servers.KINDS[contestant.kind].protocol, rows)

    def endpoint(self, contestant: Contestant, *, watched: bool = True) -> Endpoint:
        """For our own client. `watched`: CPU, memory and statistics of the server are measured too."""
        server = self.servers[contestant.kind]
        pid = server.process.pid if watched else None
        return Endpoint(server.address, contestant.model, pid, counts=watched and server.kind.counts)

    def check(self, contestant: Contestant, rows: int) -> None:
        """Ask once as an ordinary client would. Raises WrongAnswer, ServerFailed."""
        self.servers[contestant.kind].ask(self.exchange(contestant, rows))

    def driver(self, contestant: Contestant, rows: int) -> Driver:
        """What puts it under the load of a generator."""
        model = self.models[contestant.model]
        if contestant.kind == IN_PROCESS:
            return InProcess(contestant.label, models.bare_session(model.path), model.rows(rows))
        if contestant.kind == BARE_SOCKET:
            inputs = model.rows(rows)
            size = sum(answer.nbytes for answer in model.answers(inputs).values())
            socket = AcrossSocket(contestant.label, model.path / MODEL_FILE, inputs, size)
            return self._stack.enter_context(contextlib.closing(socket))
        server, exchange = self.servers[contestant.kind], self.exchange(contestant, rows)
        return Served(contestant.label, server, contestant.model, exchange, self.generator, self.folder)

    def _write_answer(self, stem: Path, model: str, rows: int) -> None:
        """What the server that does nothing knows."""
        exchange = self.models[model].exchange("grpc", rows)
        stem.with_suffix(".request").write_bytes(exchange.body[5:])
        stem.with_suffix(".reply").write_bytes(grpc_reply(model, exchange.expected))

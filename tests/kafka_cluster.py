"""
Apache Kafka nodes in KRaft mode as processes: started, killed and restarted one by one.

DATA/cluster.json          the cluster's id and the ports of its nodes, kept so that clients find it again
DATA/node-1/logs/          the node's records
DATA/node-1/               its server.properties, broker.log, format.log
"""

import json
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tagstream.stream.broker.jars import get_jars
from tagstream.stream.broker.kafka import KafkaJvm, cluster_id, find_java, listeners, server_properties
from tagstream.stream.broker.ports import LOOPBACK, free_ports, is_free
from tagstream.stream.broker.probe import wait_for_records
from tagstream.stream.broker.processes import Process, Processes, end_all, tail
from tagstream.stream.broker.provider import Deadline, Log, ProviderUnavailable, to_stderr
from tests.replacing import replace

# Kafka needs well under a second to close its logs; a node whose quorum has gone before it would wait for minutes.
_GRACE_SECONDS = 3.0
_PORT_ATTEMPTS = 3
_PORT_TAKEN = "Address already in use"
_STARTED = "Kafka Server started"
_POLL_SECONDS = 0.05
_MAX_REPLICAS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One combined controller and broker. `number` counts from 1."""

    number: int
    port: int
    controller_port: int
    folder: Path

    @property
    def address(self) -> str:
        """Where clients connect."""
        return f"{LOOPBACK}:{self.port}"


def node_properties(node: Node, nodes: Sequence[Node], changes: Mapping[str, object] | None = None) -> str:
    """The whole `server.properties` of `node` in a cluster of `nodes`; `changes` are added, or override."""
    replicas = min(len(nodes), _MAX_REPLICAS)
    in_sync = max(1, replicas - 1)
    return server_properties(
        {
            **listeners(node.port, node.controller_port),
            "node.id": node.number,
            "controller.quorum.voters": ",".join(f"{one.number}@{LOOPBACK}:{one.controller_port}" for one in nodes),
            "log.dirs": node.folder / "logs",
            "default.replication.factor": replicas,
            "min.insync.replicas": in_sync,
            "offsets.topic.replication.factor": replicas,
            "transaction.state.log.replication.factor": replicas,
            "transaction.state.log.min.isr": in_sync,
            "share.coordinator.state.topic.replication.factor": replicas,
            "share.coordinator.state.topic.min.isr": in_sync,
            # A node that is gone must be noticed: others take its place.
            "broker.session.timeout.ms": 9_000,
            **(changes or {}),
        }
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The cluster of a data folder: its id and its nodes."""

    folder: Path
    identity: str
    nodes: tuple[Node, ...]

    @classmethod
    def of(cls, folder: Path, count: int) -> "Layout":
        """
        The cluster that `folder` holds, or a new one of `count` nodes.

        Raises:
            ProviderUnavailable: `folder` holds a cluster of another size.
        """
        kept = folder / "cluster.json"
        if not kept.exists():
            return cls(folder=folder, identity=cluster_id(), nodes=_nodes(folder, _new_ports(count)))
        known = json.loads(kept.read_text(encoding="utf-8"))
        ports: list[list[int]] = known["ports"]
        if len(ports) != count:
            msg = f"{folder} holds a cluster of {len(ports)} nodes, {count} were asked for; take another folder"
            raise ProviderUnavailable(msg)
        layout = cls(folder=folder, identity=known["cluster_id"], nodes=_nodes(folder, ports))
        taken = [port for pair in ports for port in pair if not is_free(port)]
        return layout.on_new_ports() if taken else layout

    def on_new_ports(self) -> "Layout":
        """The same cluster on free ports."""
        return replace(self, nodes=_nodes(self.folder, _new_ports(len(self.nodes))))

    def save(self) -> None:
        """Write it into the folder."""
        ports = [[node.port, node.controller_port] for node in self.nodes]
        kept = json.dumps({"cluster_id": self.identity, "ports": ports})
        (self.folder / "cluster.json").write_text(kept, encoding="utf-8")


def _new_ports(count: int) -> list[list[int]]:
    ports = free_ports(2 * count)
    return [list(ports[at : at + 2]) for at in range(0, len(ports), 2)]


def _nodes(folder: Path, ports: Sequence[Sequence[int]]) -> tuple[Node, ...]:
    return tuple(
        Node(number=number, port=port, controller_port=controller, folder=folder / f"node-{number}")
        for number, (port, controller) in enumerate(ports, start=1)
    )


class KafkaCluster:
    """
    Apache Kafka of `nodes` combined controllers and brokers, on loopback.

    Topics are replicated to min(nodes, 3) with one replica fewer in sync, the internal ones too. Nodes are numbered
    from 1. They end with this process, within seconds even when it is killed. Use it as a context manager
    or call `close`. One thread at a time.

    Args:
        nodes: How many; three is the least that goes on without one.
        data_dir: Where records live; kept afterwards and found again by the next cluster with it. None: a temporary
            folder that lives until `close`.
        environ: For JAVA_HOME, PATH and XDG_CACHE_HOME; the nodes get it too.
        start_timeout_seconds: Bound of each `start` and `restart`, a download of the jars apart.
        log: Gets a line when something takes long.
    """

    def __init__(
        self,
        *,
        nodes: int = 1,
        data_dir: Path | None = None,
        environ: Mapping[str, str] = os.environ,
        start_timeout_seconds: float = 90.0,
        log: Log = to_stderr,
    ) -> None:
        """
        Find Java and the jars (downloading them the first time); nothing runs yet.

        Raises:
            ProviderUnavailable: Java or the jars cannot be had, or `data_dir` holds a cluster of another size.
        """
        if nodes < 1:
            msg = f"a cluster of {nodes} nodes was asked for; the least is 1"
            raise ValueError(msg)
        java, jars = find_java(environ), get_jars(environ, log)
        self._start_timeout_seconds = start_timeout_seconds
        self._temporary = data_dir is None
        self.data_dir = Path(tempfile.mkdtemp(prefix="tagstream-kafka-")) if data_dir is None else data_dir.absolute()
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self._layout = Layout.of(self.data_dir, nodes)
        self._jvm = KafkaJvm(java=java, jars=jars, environ=environ, folder=self.data_dir)
        # Records in a temporary folder need no orderly end.
        self._grace_seconds = 0.0 if self._temporary else _GRACE_SECONDS
        remove = self.data_dir if self._temporary else None
        self._processes = Processes(grace_seconds=self._grace_seconds, remove=remove)
        self._running: dict[int, Process] = {}
        self._has_run = False

    @property
    def bootstrap(self) -> str:
        """Addresses of all nodes, whether they run or not. Settled by the first `start`."""
        return ",".join(node.address for node in self._layout.nodes)

    def pid(self, node: int) -> int:
        """The process of a node that runs."""
        return self._process(node).pid

    def is_running(self, node: int) -> bool:
        """Whether a node's process is there: one may end by itself."""
        self._node(node)
        return node in self._running and self._running[node].running()

    def start(self) -> None:
        """
        Start every node that does not run, and return when a record has gone through all of them together.

        Raises:
            ProviderUnavailable: They did not come up within the bound; the message has the end of their logs.
        """
        deadline = Deadline.after(self._start_timeout_seconds)
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            try:
                self._launch(deadline)
                self._wait_ready(deadline)
            except BaseException as error:
                self.stop(grace_seconds=0)
                # Clients know the ports of a cluster that has run; only a new one may look for others.
                if not isinstance(error, _PortTakenError) or self._has_run or attempt == _PORT_ATTEMPTS:
                    raise
                self._layout = self._layout.on_new_ports()
            else:
                self._has_run = True
                return

    def stop(self, *, grace_seconds: float = _GRACE_SECONDS) -> None:
        """End every node in order; records and ports are kept for another `start`."""
        end_all(list(self._running.values()), grace_seconds=grace_seconds)
        self._running.clear()

    def kill(self, node: int) -> None:
        """SIGKILL, as a crash does it; return when the node is gone. Its records and its port are kept."""
        self._process(node).kill()
        del self._running[node]

    def restart(self, node: int) -> None:
        """
        Start a node again on its old port, ending it first if it runs; return when it takes part in the cluster.

        The others must be enough to go on without it; after an outage of the whole cluster, `start` brings it back.

        Raises:
            ProviderUnavailable: It did not come up within the bound; the message has the end of its log.
        """
        deadline = Deadline.after(self._start_timeout_seconds)
        chosen = self._node(node)
        running = self._running.pop(node, None)
        if running is not None:
            end_all([running], grace_seconds=_GRACE_SECONDS)
        while not is_free(chosen.port) or not is_free(chosen.controller_port):
            if deadline.passed():
                msg = f"port {chosen.port} or {chosen.controller_port} of node {node} is held by another process"
                raise ProviderUnavailable(msg)
            time.sleep(_POLL_SECONDS)
        self._running[node] = self._jvm.serve(chosen.folder, self._processes)
        self._wait_ready(deadline)

    def close(self) -> None:
        """End everything, and remove the data folder if it was a temporary one."""
        end_all(list(self._running.values()), grace_seconds=self._grace_seconds)
        self._running.clear()
        self._processes.close()

    def __enter__(self) -> Self:
        """Start it."""
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close it."""
        self.close()

    # A cluster with other listeners overrides these three; the tests have one with TLS, users and ACLs.

    def properties(self, node: Node, nodes: Sequence[Node]) -> str:
        """The `server.properties` of a node."""
        return node_properties(node, nodes)

    def probe_address(self, node: Node) -> str:
        """Where a client that may do everything connects."""
        return node.address

    def probe_options(self) -> dict[str, Any]:
        """The further arguments of that client, beside addresses and bounds."""
        return {}

    def _node(self, number: int) -> Node:
        nodes = self._layout.nodes
        if not 1 <= number <= len(nodes):
            msg = f"there is no node {number}: this cluster has nodes 1 to {len(nodes)}"
            raise ValueError(msg)
        return nodes[number - 1]

    def _process(self, number: int) -> Process:
        self._node(number)
        if number not in self._running:
            msg = f"node {number} does not run: start() or restart({number}) first"
            raise ValueError(msg)
        return self._running[number]

    def _launch(self, deadline: Deadline) -> None:
        layout = self._layout
        layout.save()
        for node in layout.nodes:
            node.folder.mkdir(exist_ok=True)
            properties = self.properties(node, layout.nodes)
            (node.folder / "server.properties").write_text(properties, encoding="ascii")
        self._jvm.format([node.folder for node in layout.nodes], layout.identity, self._processes, deadline)
        for node in layout.nodes:
            if node.number not in self._running:
                self._running[node.number] = self._jvm.serve(node.folder, self._processes)

    def _wait_ready(self, deadline: Deadline) -> None:
        running = ",".join(self.probe_address(self._node(number)) for number in sorted(self._running))
        try:
            self._wait_started(deadline)
            wait_for_records(
                running,
                nodes=len(self._running),
                idempotent=True,
                deadline=deadline,
                check=self._check_running,
                options=self.probe_options(),
            )
        except _PortTakenError:
            raise
        except ProviderUnavailable as error:
            tails = "\n".join(f"node {number}: {tail(process)}" for number, process in self._running.items())
            bound = f"the bound is {self._start_timeout_seconds:.0f} s"
            msg = f"Apache Kafka did not get ready ({bound}): {error}\n{tails}"
            raise ProviderUnavailable(msg) from error

    def _wait_started(self, deadline: Deadline) -> None:
        """Read the nodes' own logs: the others may still count a restarted node as it was before."""
        while not all(_STARTED in process.output() for process in self._running.values()):
            self._check_running()
            if deadline.passed():
                msg = "a node has not said that it started"
                raise ProviderUnavailable(msg)
            time.sleep(_POLL_SECONDS)

    def _check_running(self) -> None:
        for number, process in self._running.items():
            if not process.running():
                if _PORT_TAKEN in process.output():
                    msg = f"a port of node {number} was taken by another process"
                    raise _PortTakenError(msg)
                msg = f"node {number} ended with exit code {process.exit_code}"
                raise ProviderUnavailable(msg)


class _PortTakenError(ProviderUnavailable):
    """Another process took the port between the look for a free one and the bind."""

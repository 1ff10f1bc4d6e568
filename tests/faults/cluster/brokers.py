"""The cluster that workers stand on in a fault run: brokers that can be struck, behind a network that can be struck.

Workers reach the brokers through the gates of a `Network`, the harness past them. A fault of a broker or of the network
is undone after a while, in a thread of its own, so that the run goes on looking.
"""

import contextlib
import os
import resource
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from kafka.admin import KafkaAdminClient

from tagstream.stream.broker.ports import LOOPBACK, free_ports
from tests.faults.cluster.proxy import Network, Weather
from tests.kafka_cluster import KafkaCluster, Node, node_properties
from tests.waiting import HANG_SECONDS, HangError, until

OFFSETS_TOPIC = "__consumer_offsets"
# The least that a Kafka file grows beyond in a moment: from here on every write to a log fails, as on a full disk.
FULL_BYTES = 4096
HALT_SECONDS = 30.0


class _ProxiedCluster(KafkaCluster):
    """Gives each node one more listener, which advertises the address of its gate."""

    def __init__(self, network: Network, inner: Sequence[int], *, nodes: int, data_dir: Path | None) -> None:
        super().__init__(nodes=nodes, data_dir=data_dir, start_timeout_seconds=HANG_SECONDS)
        self._network = network
        self._inner = inner

    def properties(self, node: Node, nodes: Sequence[Node]) -> str:
        inner, gate = self._inner[node.number - 1], self._network.ports[node.number - 1]
        controller = f"CONTROLLER://{LOOPBACK}:{node.controller_port}"
        changes = {
            "listeners": f"PLAINTEXT://{node.address},{controller},PROXIED://{LOOPBACK}:{inner}",
            "advertised.listeners": f"PLAINTEXT://{node.address},PROXIED://{LOOPBACK}:{gate}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,PROXIED:PLAINTEXT",
        }
        return node_properties(node, nodes, changes)


class StruckCluster:
    """
    A cluster of `nodes` and the network before it. Use as a context manager, from one thread.

    Args:
        nodes: How many brokers; three is the least that goes on without one.
        folder: Where the records are kept; a temporary one unless given.
    """

    def __init__(self, *, nodes: int = 3, folder: Path | None = None) -> None:
        """Choose the ports, without starting a process."""
        self.nodes = nodes
        self._inner = free_ports(nodes)
        self._network = Network(self._inner, free_ports(nodes))
        self.kafka = _ProxiedCluster(self._network, self._inner, nodes=nodes, data_dir=folder)
        self._workshop = ThreadPoolExecutor(1, thread_name_prefix="mending")
        self._mending: Future[None] | None = None
        self._hurry = threading.Event()

    @property
    def bootstrap(self) -> str:
        """Addresses for the harness, past the network."""
        return self.kafka.bootstrap

    @property
    def proxied(self) -> str:
        """Addresses for the workers, through it."""
        return ",".join(f"{LOOPBACK}:{port}" for port in self._network.ports)

    def __enter__(self) -> Self:
        """Start everything."""
        self._network.__enter__()
        try:
            self.kafka.__enter__()
        except BaseException:
            self._network.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End everything."""
        self._hurry.set()
        self._workshop.shutdown(wait=True)
        try:
            self.kafka.__exit__(kind, error, trace)
        finally:
            self._network.__exit__(kind, error, trace)

    @property
    def broken(self) -> bool:
        """Whether a fault is still to be mended; raises the error of a mending that failed."""
        if self._mending is not None and self._mending.done():
            self._mending.result()
            self._mending = None
        return self._mending is not None

    def mend(self) -> None:
        """Undo the last fault now, and wait until it is undone."""
        self._hurry.set()
        if self._mending is not None:
            self._mending.result()
            self._mending = None

    # --- the network -------------------------------------------------------------------------------------------------

    def turn(self, weather: Weather, *, seconds: float) -> None:
        """Change the weather for a while."""
        self._network.turn(weather)
        self._later(seconds, lambda: self._network.turn(Weather.FAIR))

    def reset(self) -> None:
        """Close all connections of the workers, once."""
        self._network.reset()

    # --- the brokers -------------------------------------------------------------------------------------------------

    def kill(self, node: int, *, seconds: float) -> None:
        """SIGKILL one broker; it comes back on its records."""
        self.kafka.kill(node)
        self._later(seconds, lambda: self.kafka.restart(node))

    def restart(self, node: int) -> None:
        """Stop one broker in order, which hands its partitions over, and start it again."""
        self._later(0.0, lambda: self.kafka.restart(node))

    def freeze(self, node: int, *, seconds: float) -> None:
        """SIGSTOP one broker: its connections stay open and it sends no answers."""
        pid = self.kafka.pid(node)
        os.kill(pid, signal.SIGSTOP)
        self._later(seconds, lambda: os.kill(pid, signal.SIGCONT))

    def fill_disk(self, node: int, *, seconds: float) -> None:
        """
        Let every write of one broker that makes a file larger fail; it comes back with room.

        A limit on the size of its files stands for the full disk: no mount is needed, the broker sees an error of the same kind.
        """
        pid = self.kafka.pid(node)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (FULL_BYTES, resource.RLIM_INFINITY))

        def make_room() -> None:
            # A broker whose last log folder has failed halts; one without a write in the meantime still runs.
            with contextlib.suppress(HangError):
                until(lambda: not self.kafka.is_running(node), f"node {node} has halted", seconds=HALT_SECONDS)
            self.kafka.restart(node)

        self._later(seconds, make_room)

    def outage(self, *, seconds: float) -> None:
        """SIGKILL all brokers; they come back on their records."""
        for node in range(1, self.nodes + 1):
            self.kafka.kill(node)
        self._later(seconds, self.kafka.start)

    def coordinator(self, group: str) -> int:
        """The node that coordinates a group: the leader of the group's partition of the offsets topic."""
        leaders = self._leaders(OFFSETS_TOPIC)
        return leaders[abs(java_hash(group)) % len(leaders)]

    def leader(self, topic: str) -> int:
        """The node that leads the first partition of a topic."""
        return self._leaders(topic)[0]

    def _leaders(self, topic: str) -> dict[int, int]:
        admin = KafkaAdminClient(bootstrap_servers=self.bootstrap.split(","))
        try:
            described = admin.describe_topics([topic])[0]["partitions"]
        finally:
            admin.close()
        return {partition["partition_index"]: int(partition["leader_id"]) for partition in described}

    def _later(self, seconds: float, undo: Callable[[], None]) -> None:
        assert self._mending is None, "one fault of network or brokers at a time"

        def work() -> None:
            self._hurry.wait(seconds)
            undo()

        self._mending = self._workshop.submit(work)


def java_hash(text: str) -> int:
    """
    Java's `String.hashCode` of an ASCII text.

    >>> java_hash("tagstream-night-shift")
    -900964134
    """
    value = 0
    for character in text:
        value = (31 * value + ord(character)) & 0xFFFFFFFF
    return value - (1 << 32) if value >> 31 else value

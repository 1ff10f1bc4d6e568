"""The configuration of one Kafka node, and of the JVM it runs in. Pure: text in, text out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stream.broker.ports import LOOPBACK

_MAX_REPLICAS = 3

# Chosen for a start in seconds on a busy laptop, several at once, not for peak throughput.
JVM_FLAGS = (
    "-Xmx512m",
    "-Xms128m",
    # The first compiler only: a broker that lives for a minute is never paid back for the second one's work.
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    "-XX:-UsePerfData",
    # A broker out of memory ends, loudly, rather than lingering half alive.
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.awt.headless=true",
)


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


def server_properties(node: Node, nodes: Sequence[Node], changes: Mapping[str, object] | None = None) -> str:
    """The whole `server.properties` of `node` in a cluster of `nodes`; `changes` are added, or override."""
    voters = ",".join(f"{other.number}@{LOOPBACK}:{other.controller_port}" for other in nodes)
    values: dict[str, object] = {
        "process.roles": "broker,controller",
        "node.id": node.number,
        # Static voters: the ports stand here and not in the log, so a cluster can come back on other ones.
        "controller.quorum.voters": voters,
        "listeners": f"PLAINTEXT://{node.address},CONTROLLER://{LOOPBACK}:{node.controller_port}",
        "advertised.listeners": f"PLAINTEXT://{node.address}",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": node.folder / "logs",
        **cluster_settings(len(nodes)),
        **(changes or {}),
    }
    return "".join(f"{key}={_escaped(str(value))}\n" for key, value in values.items())


def cluster_settings(nodes: int) -> dict[str, object]:
    """The settings of every node in a cluster of `nodes`, as a process or in a container."""
    replicas = min(nodes, _MAX_REPLICAS)
    in_sync = max(1, replicas - 1)
    return {
        "auto.create.topics.enable": "false",
        "default.replication.factor": replicas,
        "min.insync.replicas": in_sync,
        "offsets.topic.num.partitions": 10,
        "offsets.topic.replication.factor": replicas,
        "transaction.state.log.num.partitions": 5,
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.num.partitions": 2,
        "share.coordinator.state.topic.replication.factor": replicas,
        "share.coordinator.state.topic.min.isr": in_sync,
        "group.initial.rebalance.delay.ms": 0,
        # Lets a test notice a dead member in a second.
        "group.min.session.timeout.ms": 1000,
        # Retention goes by a record's own time: a sample event from last year must not be deleted under a test.
        "log.retention.ms": -1,
        # 128 MB of the heap by default.
        "log.cleaner.dedupe.buffer.size": 8 * 1024 * 1024,
        "num.network.threads": 2,
        "num.io.threads": 4,
        "background.threads": 2,
    }


def _escaped(value: str) -> str:
    """A value as Java's properties format wants it: Latin-1 at most, the backslash doubled."""
    doubled = value.replace("\\", "\\\\")
    units = doubled.encode("utf-16-be")
    pairs = (int.from_bytes(units[at : at + 2]) for at in range(0, len(units), 2))
    return "".join(chr(unit) if unit < 0x7F else f"\\u{unit:04x}" for unit in pairs)  # noqa: PLR2004 - the end of ASCII

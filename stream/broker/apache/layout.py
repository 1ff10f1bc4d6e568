"""The cluster of a data folder: its id and the ports of its nodes, kept so that clients find it again.

DATA/cluster.json
DATA/node-1/logs/          the node's records
DATA/node-1/               its server.properties, broker.log, format.log
"""

import base64
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from stream.broker.apache.properties import Node
from stream.broker.ports import free_ports, is_free
from stream.broker.rung import RungUnavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A cluster's id and nodes."""

    folder: Path
    cluster_id: str
    nodes: tuple[Node, ...]

    @classmethod
    def of(cls, folder: Path, count: int) -> "Layout":
        """
        The cluster that `folder` holds, or a new one of `count` nodes.

        Raises:
            RungUnavailable: `folder` holds a cluster of another size.
        """
        kept = folder / "cluster.json"
        if not kept.exists():
            return cls(folder=folder, cluster_id=new_cluster_id(), nodes=_nodes(folder, _new_ports(count)))
        known = json.loads(kept.read_text(encoding="utf-8"))
        ports: list[list[int]] = known["ports"]
        if len(ports) != count:
            msg = f"{folder} holds a cluster of {len(ports)} nodes, {count} were asked for; take another folder"
            raise RungUnavailable(msg)
        layout = cls(folder=folder, cluster_id=known["cluster_id"], nodes=_nodes(folder, ports))
        taken = [port for pair in ports for port in pair if not is_free(port)]
        return layout.on_new_ports() if taken else layout

    def on_new_ports(self) -> "Layout":
        """The same cluster on free ports."""
        return replace(self, nodes=_nodes(self.folder, _new_ports(len(self.nodes))))

    def save(self) -> None:
        """Write it into the folder."""
        ports = [[node.port, node.controller_port] for node in self.nodes]
        kept = json.dumps({"cluster_id": self.cluster_id, "ports": ports})
        (self.folder / "cluster.json").write_text(kept, encoding="utf-8")


def new_cluster_id() -> str:
    """An id as Kafka wants it; never a fixed one, or two clusters that meet on a port would take each other for one."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()


def _new_ports(count: int) -> list[list[int]]:
    ports = free_ports(2 * count)
    return [list(ports[at : at + 2]) for at in range(0, len(ports), 2)]


def _nodes(folder: Path, ports: Sequence[Sequence[int]]) -> tuple[Node, ...]:
    return tuple(
        Node(number=number, port=port, controller_port=controller, folder=folder / f"node-{number}")
        for number, (port, controller) in enumerate(ports, start=1)
    )
